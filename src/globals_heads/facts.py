"""Facts: what a run measured, as CSV files that carry their own key columns.

Only facts pass from training and evaluation to comparison.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from globals_heads.arrays import Array
from globals_heads.files import atomic_path, write_text
from globals_heads.settings import RunKey, RunSettings, run_path
from globals_heads.validation import read_validated

EPOCH_COLUMNS = (
    "epoch",
    "loss",
    "rec_tokens",
    "rec_globals",
    "commit",
    "perplexity",
    "active_codes",
    "lr",
    "grad_norm",
    "clipped_fraction",
    "epoch_time_s",
    "throughput",
    "peak_memory_mib",
)


class Metric(NamedTuple):
    """One row of the long format; `group` names the part of the split that was measured."""

    split: str
    metric: str
    group: str
    value: float
    unit: str


class RunFolder:
    """The files of one run, by their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "cfg.yaml"
        self.model = path / "model.pt"
        self.checkpoint = path / "checkpoint.pt"
        self.status_file = path / "status.json"
        self.figures = path / "figures"
        self.downstream = path / "facts" / "downstream_test.npz"

    @classmethod
    def of(cls, results: Path, run: str) -> "RunFolder":
        """Return the folder of the run named `run` below the study's folder `results`.

        The plain grid lies in runs/, each variant in a folder runs_NAME/ beside it.
        """
        return cls(results / run_path(run))

    def metrics(self, split: str) -> Path:
        """Return the facts file of `split`: train and val by epoch, test for the best epoch."""
        return self.path / "facts" / f"metrics_{split}.csv"

    def events(self, split: str) -> Path:
        """Return the file of errors per event of `split`."""
        return self.path / "facts" / f"events_{split}.npz"

    def manifest(self, step: str) -> Path:
        """Return the file that says what `step` was made from."""
        return self.path / "facts" / f"manifest_{step}.json"

    @property
    def is_trained(self) -> bool:
        """Whether the run was trained."""
        files = [self.settings, self.model, self.metrics("train"), self.metrics("val")]
        return all(path.is_file() for path in files)

    @property
    def is_finished(self) -> bool:
        """Whether the run was trained and evaluated."""
        return self.is_trained and self.metrics("test").is_file() and self.events("test").is_file()

    def read_settings(self) -> RunSettings:
        """Return what cfg.yaml says, or raise `UserError`."""
        return read_validated(RunSettings, self.settings)


def write_epochs(path: Path, key: RunKey, epochs: Iterable[Mapping[str, float]]) -> None:
    """Write one row per epoch with the columns `EPOCH_COLUMNS`; what an epoch lacks is empty."""
    rows = [[epoch.get(column, math.nan) for column in EPOCH_COLUMNS] for epoch in epochs]
    _write(path, key, EPOCH_COLUMNS, rows)


def write_metrics(path: Path, key: RunKey | None, metrics: Iterable[Metric]) -> None:
    """Write metrics in the long format; `key` is None for facts of a data set."""
    _write(path, key, Metric._fields, metrics)


def write_arrays(path: Path, **arrays: Array) -> None:
    """Write numbers per test event as a .npz file; the same numbers give the same bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _write(
    path: Path, key: RunKey | None, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    keys = key.columns if key else {}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*keys, *columns])
    for row in rows:
        writer.writerow([*keys.values(), *map(format_value, row)])
    write_text(path, stream.getvalue())


def format_value(value: Any) -> str:
    """Return the one spelling of a value in a CSV file: nine digits, nothing for NaN."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return str(value)
