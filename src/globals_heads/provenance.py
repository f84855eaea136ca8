"""Where results come from: digests of code, settings and data, and the manifest of each step.

The workflow passes the code digest of a step to its rule, so that an edit of the code makes the
step's results again. A manifest says what a step read and wrote; `verify` compares it with the
files.
"""

import ast
import hashlib
import json
import platform
import re
import resource
import sys
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from globals_heads.errors import UserError, brief
from globals_heads.facts import RunFolder
from globals_heads.files import write_text
from globals_heads.settings import RunKey, RunSettings, Settings
from globals_heads.validation import data_files

PACKAGE = Path(__file__).parent

_EVENTS = ("data.events", "data.token_file", "data.units")
_NETWORK = (
    "train.batches",
    "train.bottlenecks",
    "train.code_use",
    "train.loss",
    "train.model",
    "train.model_file",
    "train.train",
)
_LEARNED = (*_NETWORK, "facts", "kinematics", "packed")
_MEASURED = (*_LEARNED, "evaluate.evaluate", "evaluate.metrics", "evaluate.physics")
_RESULTS = ("compare.results", "compare.statistics", "facts", "numbers", "tables")
# The modules that decide what each step makes. An edit of one of them makes the step's results
# again. tests/unit/test_provenance.py finds a module that is missing here.
MODULES = {
    "simulate": (
        *_EVENTS,
        "data.detector",
        "data.pythia",
        "data.sample",
        "data.scratch",
        "data.towers",
        "data.tracks",
        "kinematics",
    ),
    "read": (
        *_EVENTS,
        "data.csv_events",
        "data.delphes",
        "data.formats",
        "data.ragged",
        "data.read",
        "data.scratch",
    ),
    "pack": (*_EVENTS, "data.pack", "kinematics", "packed"),
    "train": _LEARNED,
    "evaluate": _MEASURED,
    "baselines": (*_MEASURED, "evaluate.baselines"),
    "best": ("export.best", "export.model_card", "facts", "numbers", "tables"),
    "downstream": (*_LEARNED, "downstream.classifier", "downstream.classify"),
    "collect": ("compare.summary", "facts", "tables"),
    "compare": (
        *_RESULTS,
        "compare.answers",
        "compare.checks",
        "compare.comparison",
        "compare.decision_matrix",
        "compare.downstream",
        "compare.latex",
        "compare.page",
        "compare.questions",
        "compare.sentences",
        "compare.verdict",
        "compare.words",
    ),
    "plot": (
        *_RESULTS,
        "compare.downstream",
        "plot.downstream",
        "plot.epochs",
        "plot.figures",
        "plot.grid",
        "plot.inputs",
        "plot.overview",
        "plot.physics",
        "plot.style",
        "plot.variants",
    ),
}
# These modules change no result: they hold types, messages, settings (which reach a step as
# parameters) and the ways in which files are written and steps are stopped and resumed.
NEUTRAL = (
    "arrays",
    "data.checks",
    "errors",
    "files",
    "provenance",
    "settings",
    "status",
    "study",
    "terminal",
    "train.checkpoint",
    "train.signals",
    "validation",
)
# The arguments of these calls are only read by people.
MESSAGES = ("UserError", "ValueError", "print")

STEPS_OF_A_RUN = ("train", "evaluate")
LIBRARIES = ("globals-heads", "torch", "numpy")


def code_digest(step: str) -> str:
    """Return a digest of the modules that decide what `step` makes, a key of `MODULES`.

    Comments, docstrings, formatting and messages do not count.
    """
    return digest([_code(module) for module in sorted(MODULES[step])])


@cache  # a plan of Snakemake needs the code of most modules several times
def _code(module: str) -> str:
    """Return the code of a module without comments, docstrings, formatting and messages.

    A template beside it, which has the module's name, counts as it is.
    """
    source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in MESSAGES:
            node.args = []
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    template = source.with_suffix(".jinja")
    return ast.dump(tree) + (template.read_text(encoding="utf-8") if template.exists() else "")


def digest(value: Any) -> str:
    """Return a short digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return a short digest of a file's content; a touch or a move does not change it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


@cache
def _data_digest(path: Path, size: int, changed_ns: int) -> str:
    """Return the digest of a user's file; a plan asks for it several times."""
    return file_digest(path)


def source_name(study: Settings) -> str:
    """Return the folder of the events below results/data, named by what decides the events.

    These are the settings of the simulation, or the content of the user's files, the names of
    several files (which may say the process), and the settings of their reader.
    """
    if study.data is None:
        made_from: Any = [study.num_events, study.simulate.model_dump()]
        stem = "generated"
    else:
        files = data_files(study.data)
        stats = [file.stat() for file in files]
        digests = [
            _data_digest(file, stat.st_size, stat.st_mtime_ns)
            for file, stat in zip(files, stats, strict=True)
        ]
        changed = study.read.model_dump(exclude_defaults=True)
        several = len(files) > 1
        made_from = [[file.name for file in files if several], digests, changed]
        named = files[0].absolute().parent.name if several else files[0].stem
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", named)
    return f"{stem}-{digest([made_from, study.object_types])[:8]}"


def dataset_name(study: Settings) -> str:
    """Return the folder of the packed data: the source, and settings of pack unlike the default."""
    changed = study.pack.model_dump(exclude_defaults=True)
    return "-".join([source_name(study), *changed.values()])


def input_digests(step: str, settings: RunSettings, packed_digest: str) -> dict[str, str]:
    """Return digests of everything that decides what `step` makes: settings, data and code.

    Parameters
    ----------
    step
        train, evaluate or baselines.
    settings
        The settings of the run, or of the network for the globals alone.
    packed_digest
        The digest of the packed file.
    """
    return {
        "settings": digest(settings.model_dump()),
        "packed data": packed_digest,
        "code": code_digest(step),
    }


def write_manifest(
    path: Path,
    folder: Path,
    inputs: dict[str, str],
    outputs: Iterable[Path],
    started: datetime,
    threads: int,
) -> None:
    """Write the manifest of a step that has just finished.

    Parameters
    ----------
    path
        The file to make.
    folder
        The folder of the run or the data set.
    inputs
        The result of `input_digests`, taken before the step began.
    outputs
        The files that the step made in `folder`.
    started
        When this attempt began; a resumed training has had earlier ones.
    threads
        CPU threads.
    """
    content = {
        "step": path.stem.removeprefix("manifest_"),
        "inputs": inputs,
        "outputs": {str(each.relative_to(folder)): file_digest(each) for each in outputs},
        "threads": threads,
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
        "machine": {"host": platform.node(), "system": platform.platform()},
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of a manifest.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        inputs, outputs = content["inputs"], content["outputs"]
        digests = [inputs["settings"], inputs["code"], *inputs.values(), *outputs.values()]
        if not all(isinstance(value, str) for value in digests):
            raise ValueError("digests should be texts")
    except Exception as error:  # JSON can hold anything in any place
        raise UserError(
            f"{path} cannot be read as a manifest ({brief(error)}); "
            "delete it and run snakemake again."
        ) from error
    return content


def finished_runs(
    study: Settings, results: Path, steps: Collection[str] = STEPS_OF_A_RUN
) -> list[RunKey]:
    """Return the finished runs that belong to `study`.

    A run that was trained with other settings or other data does not belong to it.

    Parameters
    ----------
    study
        The study that is asked for.
    results
        The folder of its results.
    steps
        The steps that must be finished; train alone for the trained runs.
    """
    folder = results / "data" / dataset_name(study)
    wanted: dict[str, str] = {}
    if (folder / "packed.h5").exists():
        wanted["packed data"] = file_digest(folder / "packed.h5")
    elif not (folder / "baselines.csv").exists():
        return []  # these data have never been packed, so no run was made from them
    return [
        key
        for key in study.runs
        if _is_finished(RunFolder.of(results, key.name), study.run_settings(key), wanted, steps)
    ]


def _is_finished(
    folder: RunFolder, settings: RunSettings, wanted: dict[str, str], steps: Collection[str]
) -> bool:
    """Return whether `steps` of a run were made with `settings` and the inputs `wanted`."""
    wanted = {"settings": digest(settings.model_dump())} | wanted
    try:
        found = [read_manifest(folder.manifest(step))["inputs"] for step in steps]
    except UserError:
        return False
    complete = folder.is_finished if "evaluate" in steps else folder.is_trained
    return complete and all(wanted.items() <= inputs.items() for inputs in found)


def peak_memory_mib() -> float:
    """Return the largest amount of memory that this process has used so far, in MiB."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # On Linux, ru_maxrss also covers the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10
