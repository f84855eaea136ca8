"""Check finished results: no file was changed by hand, and the summary is what the facts say.

Logs, results/best and the outputs of the stage downstream have no manifest and are not checked.
What no longer fits the config, the data or the code is for `snakemake -n` to say.
"""

from pathlib import Path

from globals_heads.compare.summary import summary_lines
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.provenance import STEPS_OF_A_RUN, digest, file_digest, read_manifest
from globals_heads.settings import RunKey, RunSettings
from globals_heads.study import read_study
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
    problems = []
    try:
        study = read_study(results)
        if study is None:
            raise UserError(
                f"{results / 'study.yaml'} is missing; run snakemake with the study's settings and "
                f"-f {results / 'by_number'}."
            )
        named = {key.name: study.run_settings(key) for key in study.runs}
        settings = [named.get(key.name) for key in keys if key.name not in missing]
    except UserError as error:
        problems, settings = [str(error)], [None] * len(runs)
    for run, wanted in zip(runs, settings, strict=True):
        problems += _problems_of_run(run, wanted)
    for manifest in (results / "manifest_compare.json", *results.glob("**/figures/*.json")):
        try:
            problems += _changed_outputs(manifest, manifest.parent)
        except UserError as error:
            problems.append(str(error))
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


def _problems_of_run(run: RunFolder, wanted: RunSettings | None) -> list[str]:
    """Return a sentence for each file of a run that was changed, and for settings not `wanted`."""
    try:
        problems, settings = [], run.read_settings()
        trained = read_manifest(run.manifest("train"))
        if trained["inputs"]["settings"] != digest(settings.model_dump()):
            problems.append(_changed(run.settings, "train"))
        elif wanted and settings != wanted:
            problems.append(
                f"{run.path} has other settings than study.yaml; run snakemake with those you mean."
            )
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
        return str(read_manifest(manifest)["inputs"].get("packed data", ""))
    except UserError:  # those who check the step name it
        return ""


def _changed_outputs(manifest: Path, folder: Path) -> list[str]:
    """Return a sentence for each output that is not what its step has written."""
    step = "plot" if folder.name == "figures" else manifest.stem.removeprefix("manifest_")
    return [
        _changed(folder / name, step)
        for name, before in read_manifest(manifest)["outputs"].items()
        if not (folder / name).is_file() or file_digest(folder / name) != before
    ]


def _changed(path: Path, step: str) -> str:
    return f"{path} was changed after the step {step}; {REMEDY}."
