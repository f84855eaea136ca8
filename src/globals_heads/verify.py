"""Check finished results: no file was changed by hand, and the summary is what the facts say.

What no longer fits the config, the data or the code is for `snakemake -n` to say.
"""

from pathlib import Path

from globals_heads.compare.summary import summary_lines
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.provenance import STEPS_OF_A_RUN, digest, file_digest, read_manifest
from globals_heads.settings import RunKey
from globals_heads.tables import read_summary
from globals_heads.validation import validated

REMEDY = "delete it and run snakemake again"


def verify(results: Path) -> tuple[int, list[str]]:
    """Return the number of finished runs in the summary, and a sentence for each problem.

    Parameters
    ----------
    results
        The folder of the study's results.

    Raises
    ------
    UserError
        If the summary is missing or damaged.
    """
    summary = results / "summary.csv"
    table = read_summary(summary)
    columns = list(RunKey.model_fields)
    keys = [
        validated(RunKey, dict(zip(columns, row, strict=True)), str(summary))
        for row in table[columns].itertuples(index=False)
    ]
    missing = set(table.loc[table["status"] == "missing", "run"])
    runs = [RunFolder.of(results, key.name) for key in keys if key.name not in missing]
    problems = [problem for run in runs for problem in _problems_of_run(run)]
    try:
        manifests = sorted(results.glob("data/*/manifest_baselines.json"))
        problems += [problem for path in manifests for problem in _problems_of_data(path)]
        folders = {_packed_data(path): path.parent for path in manifests}
        used = {data for run in runs if (data := _packed_data(run.manifest("train")))}
        found = used & set(folders)
        if len(used) != 1 or not found:
            raise UserError(
                f"The {len(runs)} finished runs in {results} were trained on {len(used)} data "
                f"sets, of which {len(found)} have baselines in {results / 'data'}, so the summary "
                "cannot be checked; run snakemake again."
            )
        baselines = folders[found.pop()] / "baselines.csv"
        expected = summary_lines(keys, results, baselines, missing)
    except UserError as error:
        return len(runs), [*problems, str(error)]
    lines = summary.read_text(encoding="utf-8").splitlines()
    if lines != expected:
        names = zip(["all runs", *table["run"]], lines, expected, strict=False)
        differing = [name for name, line, wanted in names if line != wanted]
        problems.append(
            f"{summary} does not say what the facts of {', '.join(differing) or 'all runs'} say; "
            f"{REMEDY}."
        )
    return len(runs), problems


def _problems_of_run(run: RunFolder) -> list[str]:
    """Return a sentence for each file of a run that was changed after its step."""
    try:
        problems = []
        trained = read_manifest(run.manifest("train"))
        if trained["inputs"]["settings"] != digest(run.read_settings().model_dump()):
            problems.append(_changed(run.settings, "train"))
        for step in STEPS_OF_A_RUN:
            problems += _changed_outputs(run.manifest(step), run.path)
    except UserError as error:
        return [str(error)]
    return problems


def _problems_of_data(manifest: Path) -> list[str]:
    """Return a sentence for each file of a data set that was changed after its step."""
    packed = manifest.with_name("packed.h5")
    problems = _changed_outputs(manifest, manifest.parent)
    # Packed data may be deleted once all runs are finished.
    if packed.exists() and file_digest(packed) != _packed_data(manifest):
        problems.append(_changed(packed, "pack"))
    return problems


def _packed_data(manifest: Path) -> str:
    """Return the digest of the packed data of a step; empty if its manifest is damaged."""
    try:
        return str(read_manifest(manifest)["inputs"]["packed data"])
    except UserError:  # those who check the step name it
        return ""


def _changed_outputs(manifest: Path, folder: Path) -> list[str]:
    """Return a sentence for each output that is not what its step has written."""
    return [
        _changed(folder / name, manifest.stem.removeprefix("manifest_"))
        for name, before in read_manifest(manifest)["outputs"].items()
        if not (folder / name).is_file() or file_digest(folder / name) != before
    ]


def _changed(path: Path, step: str) -> str:
    return f"{path} was changed after the step {step}; {REMEDY}."
