"""Verification that the numbers in the summary come from this config, these data and this code."""

from pathlib import Path
from typing import Any

from globals_heads.compare.summary import summary_lines
from globals_heads.facts import RunFolder
from globals_heads.files import UserError
from globals_heads.manifest import CODE, read_manifest, sources
from globals_heads.provenance import dataset_name, file_digest
from globals_heads.settings import RunKey, Settings


def verify(study: Settings, results: Path) -> dict[str, list[str]]:
    """Return for every run of the study what does not agree; nothing where all does.

    Parameters
    ----------
    study
        The settings that the numbers should come from.
    results
        The folder of the study's results.

    Raises
    ------
    UserError
        If there is no summary.
    """
    data = results / "data" / dataset_name(study.data)
    summary = results / "summary.csv"
    try:
        header, *rows = summary.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{summary} cannot be read ({error}); make it with `snakemake --profile local`."
        ) from error
    expected_header, *expected = summary_lines(
        study.grid, results / "runs", data / "yardsticks.csv"
    )
    found: dict[str, list[str]] = {}
    for key, line in zip(study.runs, expected, strict=True):
        problems = [] if line in rows else ["its row in the summary is not what its facts say"]
        folder = RunFolder(results / "runs" / key.name)
        if not folder.is_finished:
            problems.append("it is not finished")
        else:
            problems += _differences(study, key, folder, data / "packed.h5")
        found[key.name] = problems
    strangers = set(rows) - set(expected)
    if header != expected_header:
        found["summary.csv"] = ["its columns are not those of this code"]
    elif len(rows) != len(expected) and strangers:
        place = header.split(",").index("run")
        names = sorted("".join(row.split(",")[place : place + 1]) for row in strangers)
        found["summary.csv"] = [f"it has rows of other runs: {', '.join(names)}"]
    return found


def _differences(study: Settings, key: RunKey, folder: RunFolder, packed: Path) -> list[str]:
    wanted = study.run_settings(key)
    problems = []
    try:
        used = folder.read_settings()
        problems += _changed(used.model_dump(), wanted.model_dump())
        for step in CODE:
            manifest = read_manifest(folder, step)
            # Against cfg.yaml: what differs between it and the config has been named above.
            for what, now in sources(step, used, packed).items():
                if manifest["made_from"].get(what) != now:
                    problems.append(f"{step}: made from other {what} than now")
            for name, before in manifest["outputs"].items():
                if file_digest(folder.path / name) != before:
                    problems.append(f"{name} was changed after the step {step}")
    except (UserError, OSError) as error:
        problems.append(str(error))
    return problems


def _changed(used: dict[str, Any], wanted: dict[str, Any], place: str = "") -> list[str]:
    """Return in words which settings differ."""
    problems = []
    for name in dict.fromkeys([*used, *wanted]):
        before, now = used.get(name), wanted.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            problems += _changed(before, now, f"{place}{name}.")
        elif before != now:
            problems.append(f"trained with {place}{name} {before}, the config says {now}")
    return problems
