"""Verification that the numbers in the summary come from this config, these data and this code."""

from pathlib import Path
from typing import Any

from globals_heads.compare.summary import summary_lines
from globals_heads.data.token_file import read_origin
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.manifest import STEPS_OF_A_RUN, read_manifest, sources
from globals_heads.packed import open_packed
from globals_heads.provenance import dataset_name, file_digest
from globals_heads.settings import RunKey, Settings

# What concerns all runs at once.
DATA = "data"


def verify(study: Settings, results: Path) -> dict[str, list[str]]:
    """Return what does not agree: of every run, of the summary, and of the data of all runs.

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
    expected_header, *expected = summary_lines(study.grid, results, data / "baselines.csv")
    packed = data / "packed.h5"
    packed_digest = file_digest(packed) if packed.is_file() else "none"
    found: dict[str, list[str]] = {}
    for key, line in zip(study.runs, expected, strict=True):
        problems = [] if line in rows else ["its row in the summary is not what its facts say"]
        folder = RunFolder.of(results, key.name)
        if not folder.is_finished:
            problems.append("it is not finished")
        else:
            problems += _differences(study, key, folder, packed_digest)
        found[key.name] = problems
    strangers = set(rows) - set(expected)
    of_table = []
    if header != expected_header:
        of_table.append("its columns are not those of this code")
    elif len(rows) > len(expected) and strangers:
        place = header.split(",").index("run")
        names = sorted("".join(row.split(",")[place : place + 1]) for row in strangers)
        of_table.append(f"it has rows of other runs: {', '.join(names)}")
    elif rows != expected and set(rows) == set(expected):
        of_table.append("it has rows twice or in another order")
    return found | {"summary.csv": of_table, DATA: _data_problems(study, data)}


def _data_problems(study: Settings, data: Path) -> list[str]:
    """Return what of the data set does not come from the config and the code."""
    problems = []
    try:
        info = open_packed(data / "packed.h5").info
        used: dict[str, Any] = {
            "pack": info.pack.model_dump(),
            "object_types": list(info.object_types),
        }
        wanted: dict[str, Any] = {
            "pack": study.pack.model_dump(),
            "object_types": list(study.object_types.values()),
        }
        if study.data is None:
            used["simulate"], used["num_events"] = read_origin(data / "events.h5")
            wanted |= {"simulate": study.simulate.model_dump(), "num_events": study.num_events}
        problems += _changed(used, wanted, "made")
        problems += _manifest_problems(
            data / "manifest_baselines.json",
            data,
            sources("baselines", study.globals_only_network, file_digest(data / "packed.h5")),
            "baselines",
        )
    except (UserError, OSError) as error:
        problems.append(str(error))
    return problems


def _differences(study: Settings, key: RunKey, folder: RunFolder, packed: str) -> list[str]:
    wanted = study.run_settings(key)
    problems = []
    try:
        used = folder.read_settings()
        problems += _changed(used.model_dump(), wanted.model_dump(), "trained")
        for step in STEPS_OF_A_RUN:
            # Against cfg.yaml: what differs between it and the config has been named above.
            made_from = sources(step, used, packed)
            problems += _manifest_problems(folder.manifest(step), folder.path, made_from, step)
    except (UserError, OSError) as error:
        problems.append(str(error))
    return problems


def _manifest_problems(path: Path, folder: Path, made_from: dict[str, str], step: str) -> list[str]:
    """Return how the manifest of a step differs from what the step would be made from now."""
    manifest = read_manifest(path)
    problems = [
        f"{step}: made from other {what} than now"
        for what, now in made_from.items()
        if manifest["made_from"].get(what) != now
    ]
    for name, before in manifest["outputs"].items():
        if file_digest(folder / name) != before:
            problems.append(f"{name} was changed after the step {step}")
    return problems


def _changed(used: dict[str, Any], wanted: dict[str, Any], verb: str, place: str = "") -> list[str]:
    """Return in words which settings differ."""
    problems = []
    for name in dict.fromkeys([*used, *wanted]):
        before, now = used.get(name), wanted.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            problems += _changed(before, now, verb, f"{place}{name}.")
        elif before != now:
            problems.append(f"{verb} with {place}{name} {before}, the config says {now}")
    return problems
