"""Where a training stands: all that its next step depends on, besides settings and data."""

import copy
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from globals_heads.train.model import TokenAutoencoder


@dataclass
class Sums:
    """Running sums over the batches of a split; tensors, so that nothing waits for a number."""

    tokens: Tensor | float = 0.0  # mean squared error times the number of tokens
    globals: Tensor | float = 0.0  # mean squared error times the number of events
    commit: Tensor | float = 0.0
    num_tokens: int = 0
    num_events: int = 0
    codes: list[Tensor] = field(default_factory=list)


def _no_history() -> dict[str, list[dict[str, float]]]:
    return {"train": [], "val": []}


@dataclass
class TrainingState:
    """A training between two steps; `state` and `restore` carry it over to another process.

    Attributes
    ----------
    model, optimizer
        What is trained, and by what. The codebook is part of the model.
    shuffle
        The generator of the order of events, as it was before it drew the present epoch's order.
    epoch, step
        The present epoch, counted from 1, and how many of its steps have been taken.
    sums, grad_norms
        What these steps have measured.
    history
        The facts of each finished epoch for the splits train and val.
    best_epoch, best_loss, best_weights
        The epoch of the lowest validation loss so far, 0 if none was finite.
    started
        When the present epoch would have started had it never stopped, on `time.perf_counter`.
    """

    model: TokenAutoencoder
    optimizer: torch.optim.Optimizer
    shuffle: np.random.Generator
    epoch: int = 1
    step: int = 0
    sums: Sums = field(default_factory=Sums)
    grad_norms: list[Tensor] = field(default_factory=list)
    history: dict[str, list[dict[str, float]]] = field(default_factory=_no_history)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.best_weights = copy.deepcopy(self.model.state_dict())
        self.started = time.perf_counter()

    @property
    def position(self) -> str:
        """How far the training has come, in words."""
        return f"{self.epoch - 1} epochs and {self.step} steps"

    @property
    def diverged(self) -> bool:
        """Whether the loss of the last finished epoch is not finite."""
        return any(
            not math.isfinite(epochs[-1]["loss"]) for epochs in self.history.values() if epochs
        )

    def finish_epoch(
        self,
        train_facts: dict[str, float],
        val_facts: dict[str, float],
        shuffle: np.random.Generator,
    ) -> None:
        """Note the facts of the present epoch and its weights if they are the best; go on.

        Parameters
        ----------
        train_facts, val_facts
            The epoch's facts.
        shuffle
            The generator after it drew this epoch's order.
        """
        self.history["train"].append(train_facts)
        self.history["val"].append(val_facts)
        if not self.diverged and val_facts["loss"] < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, val_facts["loss"]
            self.best_weights = copy.deepcopy(self.model.state_dict())
        self.epoch, self.step = self.epoch + 1, 0
        self.sums, self.grad_norms = Sums(), []
        self.shuffle = shuffle
        self.started = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """Return all of it as tensors and plain types."""
        # One tensor each instead of one per step: an epoch may have thousands.
        codes, norms = self.sums.codes, self.grad_norms
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "shuffle": json.dumps(self.shuffle.bit_generator.state),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "sums": vars(self.sums) | {"codes": [torch.cat(codes)] if codes else []},
            "grad_norms": torch.stack(norms) if norms else torch.empty(0),
            "elapsed_s": time.perf_counter() - self.started,
            **{name: getattr(self, name) for name in _AS_IT_IS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Set all of it to what `state` returned, in this process or another one.

        Raises
        ------
        Exception
            Of many types, if `state` does not fit this training.
        """
        self._check(state)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.shuffle.bit_generator.state = json.loads(state["shuffle"])
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        self.sums = Sums(**{name: self._on_device(v) for name, v in state["sums"].items()})
        self.grad_norms = list(self._on_device(state["grad_norms"]))
        self.started = time.perf_counter() - state["elapsed_s"]
        for name in _AS_IT_IS:
            setattr(self, name, state[name])

    def _check(self, state: dict[str, Any]) -> None:
        """Raise `ValueError` for what would be taken as it is, and be noticed late or never.

        Tensors of a wrong size, for instance, make the fused optimiser write beside its memory.
        """
        epoch, step, best_epoch = (state[name] for name in ("epoch", "step", "best_epoch"))
        if not all(type(number) is int for number in (epoch, step, best_epoch)):
            raise ValueError("epochs and steps are no integers")
        if not (epoch >= 1 and 0 <= step == len(state["grad_norms"]) and 0 <= best_epoch < epoch):
            raise ValueError(f"epoch {epoch}, step {step}, best epoch {best_epoch}")
        if type(state["best_loss"]) is not float:
            raise ValueError(f"the best loss is {state['best_loss']!r}")
        for split in _no_history():
            facts = state["history"][split]
            if [row["epoch"] for row in facts] != list(range(1, epoch)):
                raise ValueError(f"the history of {split} is not that of {epoch - 1} epochs")
            if not all(type(value) in (int, float) for row in facts for value in row.values()):
                raise ValueError(f"the history of {split} holds what is no number")
        weights = self.model.state_dict()
        for name in ("model", "best_weights"):
            _same_tensors(name, state[name], weights)
        parameters = list(self.model.parameters())
        moments = state["optimizer"]["state"]
        for i, moment in moments.items():
            expected = {key: parameters[i] for key in ("exp_avg", "exp_avg_sq")}
            _same_tensors("optimizer", {key: moment[key] for key in expected}, expected)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _on_device(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._on_device(each) for each in value]
        return value.to(self._device) if isinstance(value, Tensor) else value


def _same_tensors(name: str, found: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` unless there are the same tensors, by name, shape and type."""
    if found.keys() != expected.keys() or any(
        (found[key].shape, found[key].dtype) != (value.shape, value.dtype)
        for key, value in expected.items()
    ):
        raise ValueError(f"{name} holds other tensors than this training has")


_AS_IT_IS = ("epoch", "step", "history", "best_epoch", "best_loss", "best_weights")
