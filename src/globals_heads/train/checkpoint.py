"""Exact resume: the state of a training, and the checkpoint file that keeps it.

A training that goes on from its checkpoint ends with the same weights and facts, bit for bit, as
one that never stopped. This module decides when and how the state is saved, never a number.
"""

import copy
import io
import math
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from globals_heads.errors import brief
from globals_heads.files import atomic_path, remove_leftovers
from globals_heads.train.loss import Sums
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.signals import Stopped, StopRequest

SCHEMA_VERSION = 2
# A kill without warning costs at most this much work; the end of an epoch is always saved. One save
# takes less than a tenth of a second for the default model, so saving this often costs nothing.
SAVE_INTERVAL_S = 300.0


def _no_history() -> dict[str, list[dict[str, float]]]:
    return {"train": [], "val": []}


@dataclass
class TrainingState:
    """A training between two steps: all that the next step needs, besides settings and data.

    Attributes
    ----------
    model, optimizer
        The trained weights and their optimiser. The codebook is part of the model.
    sums
        Loss components and code counts of the present epoch's steps.
    grad_norms
        Gradient norm of each of the epoch's steps, shape (steps per epoch,).
    epoch, step
        The present epoch, counted from 1, and how many of its steps have been taken.
    history
        The facts of each finished epoch for the splits train and val.
    best_epoch, best_loss, best_weights
        The epoch of the lowest validation loss so far, 0 if none was finite.
    epoch_started
        Start of the present epoch on `time.perf_counter`; interruptions do not count.
    """

    model: TokenAutoencoder
    optimizer: torch.optim.Optimizer
    sums: Sums
    grad_norms: Tensor
    epoch: int = 1
    step: int = 0
    history: dict[str, list[dict[str, float]]] = field(default_factory=_no_history)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(init=False)
    epoch_started: float = field(init=False)

    def __post_init__(self) -> None:
        self.best_weights = copy.deepcopy(self.model.state_dict())
        self.epoch_started = time.perf_counter()

    @property
    def position(self) -> str:
        """How far the training has come, in words."""
        return f"{self.epoch - 1} epochs and {self.step} steps"

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain types."""
        on_gpu = self.grad_norms.is_cuda
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if on_gpu else [],
            "sums": vars(self.sums),
            "elapsed_s": time.perf_counter() - self.epoch_started,
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the state to what `state_dict` of the same training returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        device = self.grad_norms.device
        self.sums = Sums(**{name: value.to(device) for name, value in state["sums"].items()})
        self.epoch_started = time.perf_counter() - state["elapsed_s"]
        for name in _PLAIN_FIELDS:
            setattr(self, name, state[name])
        self.grad_norms = self.grad_norms.to(device)


_PLAIN_FIELDS = (
    "epoch",
    "step",
    "grad_norms",
    "history",
    "best_epoch",
    "best_loss",
    "best_weights",
)


def checkpoint_key(inputs: dict[str, str], threads: int) -> dict[str, str]:
    """Return what must be equal for a training to go on to the same bits.

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
    """The checkpoint file of one training.

    Parameters
    ----------
    path
        The file. No rule of the workflow may declare it: Snakemake deletes declared files before
        it tries a rule again.
    key
        As from `checkpoint_key`; a checkpoint with another key is never used.
    stop
        Whether the training is to stop.
    """

    def __init__(self, path: Path, key: dict[str, str], stop: StopRequest) -> None:
        self.path = path
        self.key = key
        self.stop = stop
        self.saved_at = time.monotonic()
        remove_leftovers(path)

    def resume(self, state: TrainingState) -> None:
        """Set `state` to the checkpoint if this training made it; say why if it is not used."""
        if not self.path.exists():
            return
        try:
            content = io.BytesIO(self.path.read_bytes())
            # torch reads changed numbers silently; the checksums of the archive show them.
            with zipfile.ZipFile(content) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"wrong checksum of {damaged}")
            content.seek(0)
            # weights_only: a file from elsewhere must not be able to run code.
            saved = torch.load(content, map_location="cpu", weights_only=True)
            differing = [name for name, value in self.key.items() if saved["key"][name] != value]
        except Exception as error:
            print(f"{self.path.name} is damaged and not used ({brief(error)})")
            return
        if differing:
            others = ", ".join(differing)
            print(f"{self.path.name} is not used; another training made it (different {others})")
            return
        state.load_state_dict(saved["state"])
        print(f"resumed from {self.path.name}, after {state.position}", flush=True)

    def save_if_due(self, state: TrainingState) -> None:
        """Save if a stop was requested, or `SAVE_INTERVAL_S` after the last save.

        Raises
        ------
        Stopped
            After saving, if a stop was requested.
        """
        reason = self.stop.reason
        if reason or time.monotonic() - self.saved_at >= SAVE_INTERVAL_S:
            self.save(state)
        if reason:
            raise Stopped(reason, f"after {state.position}")

    def save(self, state: TrainingState) -> None:
        """Write the checkpoint; a kill at any moment leaves one that can be used."""
        # Through memory: on a full disk torch raises an error of its own instead of an OSError.
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": state.state_dict()}, buffer)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        self.saved_at = time.monotonic()
