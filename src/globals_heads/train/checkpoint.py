"""Exact resume: the checkpoint of one training, and when it is written.

A training that goes on from its checkpoint ends with the same weights and facts, bit for bit, as
one that never stopped.
"""

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from globals_heads.errors import UserError, brief
from globals_heads.files import atomic_path, remove_leftovers
from globals_heads.train.signals import StopRequest
from globals_heads.train.training_state import TrainingState

SCHEMA_VERSION = 1


def checkpoint_key(inputs: dict[str, str], threads: int) -> dict[str, str]:
    """Return what must be the same for a training to go on to the same bits.

    Parameters
    ----------
    inputs
        Digests of settings, packed data and code: `provenance.input_digests`.
    threads
        CPU threads.
    """
    return inputs | {
        "torch version": str(torch.__version__),
        "number of threads": str(threads),
        # With the setting train.device this decides the device.
        "presence of a GPU": str(torch.cuda.is_available()),
        "checkpoint version": str(SCHEMA_VERSION),
    }


class Checkpoint:
    """The checkpoint of one training: one file, and the one before it in case that is damaged.

    Parameters
    ----------
    path
        The file. No rule of the workflow may declare it: Snakemake deletes what a rule declares
        before it tries the rule again.
    key
        As from `checkpoint_key`; a checkpoint with another one is never used.
    minutes
        Time after which to save within an epoch; the end of an epoch is always saved.
    stop
        Whether the training is to stop.
    """

    def __init__(self, path: Path, key: dict[str, str], minutes: float, stop: StopRequest) -> None:
        self.path = path
        self.previous = _previous(path)
        self.key = key
        self.interval_s = 60 * minutes
        self.stop = stop
        self.saved_at = time.monotonic()
        remove_leftovers(path)

    def resume(self, progress: TrainingState) -> None:
        """Set `progress` to the newest checkpoint that fits; say which one does not and why.

        Raises
        ------
        UserError
            If the content contradicts the key, as no training writes it.
        """
        for path in (self.path, self.previous):
            state = self._read(path)
            if state is None:
                continue
            try:
                progress.restore(state)
                position = progress.position
            except Exception as error:
                raise UserError(
                    f"{path} does not hold what its key promises ({brief(error)}); delete it "
                    "and run the same command again."
                ) from error
            print(f"resumed from {path.name}, after {position}", flush=True)
            return

    def _read(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        if not path.is_file():
            raise UserError(f"{path} is no file; delete it and run the same command again.")
        try:
            content = io.BytesIO(path.read_bytes())
            # torch takes what it finds; the checksums of the archive tell a damaged file.
            with zipfile.ZipFile(content) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"wrong checksum of {damaged}")
            content.seek(0)
            # weights_only: a file from elsewhere must not be able to run code.
            saved = torch.load(content, map_location="cpu", weights_only=True)
            differing = [name for name, value in self.key.items() if saved["key"][name] != value]
            state: dict[str, Any] = saved["progress"]
        except Exception as error:
            print(f"{path.name} is damaged and not used ({brief(error)})")
            return None
        if differing:
            print(f"{path.name} is of another training and not used: other {', '.join(differing)}")
            return None
        return state

    def tick(self, progress: TrainingState) -> None:
        """Save when it is time to.

        Raises
        ------
        Stopped
            After saving, if the training is to stop.
        """
        self.stop.raise_if_asked(f"after {progress.position}", lambda: self.save(progress))
        if time.monotonic() - self.saved_at >= self.interval_s:
            self.save(progress)

    def save(self, progress: TrainingState) -> None:
        """Write the checkpoint; a kill at any moment leaves one that can be used."""
        # Through memory: torch answers a full disk with an error of its own, not with an OSError.
        buffer = io.BytesIO()
        torch.save({"key": self.key, "progress": progress.state()}, buffer)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
            if self.path.exists():
                self.path.replace(self.previous)
        self.saved_at = time.monotonic()


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint that is no longer needed, and the one before it."""
    _previous(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_stem(f"{path.stem}.previous")
