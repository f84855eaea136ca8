"""Manifests: what a step of a run was made from, where and when, as JSON beside its facts."""

import json
import platform
import resource
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from globals_heads.errors import UserError, brief
from globals_heads.facts import RunFolder
from globals_heads.files import write_text
from globals_heads.provenance import code_digest, digest, file_digest
from globals_heads.settings import RunSettings

# Module of the package whose sources decide what a step makes.
CODE = {
    "train": "train.train",
    "evaluate": "evaluate.evaluate",
    "baselines": "evaluate.baselines",
}
STEPS_OF_A_RUN = ("train", "evaluate")
LIBRARIES = ("globals-heads", "torch", "numpy", "vector-quantize-pytorch")


def sources(step: str, settings: RunSettings, data: str) -> dict[str, str]:
    """Return digests of all that decides what `step` makes: settings, packed data and code.

    Parameters
    ----------
    step
        A key of `CODE`.
    settings
        Those of the run, or of the baselines' network.
    data
        The digest of the packed file.
    """
    return {
        "settings": digest(settings.model_dump()),
        "packed data": data,
        "code": code_digest(CODE[step]),
    }


def write_manifest(
    path: Path,
    folder: Path,
    made_from: dict[str, str],
    outputs: Iterable[Path],
    started: datetime,
    threads: int,
) -> None:
    """Write the manifest of a step that has just been done.

    Parameters
    ----------
    path
        The file to make.
    folder
        The folder of the run or the data set.
    made_from
        As from `sources`, before the step began.
    outputs
        Its files in the folder.
    started
        When this attempt began; a resumed training has had earlier ones.
    threads
        CPU threads.
    """
    content = {
        "step": path.stem.removeprefix("manifest_"),
        "made_from": made_from,
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
    """Return what a manifest says.

    Raises
    ------
    UserError
        If it is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made_from, outputs = content["made_from"], content["outputs"]
        for entries in (made_from, outputs):
            if not all(isinstance(value, str) for pair in entries.items() for value in pair):
                raise ValueError("digests should be texts")
    except Exception as error:  # JSON can hold anything in any place
        raise UserError(
            f"{path} is no manifest that can be read ({brief(error)}); "
            "delete it and run snakemake again."
        ) from error
    return content


def is_finished(folder: RunFolder, settings: RunSettings, made_from: dict[str, str]) -> bool:
    """Return whether a run was trained and evaluated with these settings.

    Parameters
    ----------
    folder
        The run; without its manifests nothing is known.
    settings
        Of the run.
    made_from
        What else its manifests must say, as in `sources`.
    """
    wanted = {"settings": digest(settings.model_dump())} | made_from
    try:
        found = [read_manifest(folder.manifest(step))["made_from"] for step in STEPS_OF_A_RUN]
    except UserError:
        return False
    return folder.is_finished and all(wanted.items() <= each.items() for each in found)


def peak_memory_mib() -> float:
    """Return the most memory that this process has had so far."""
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
