"""The summary: one row per run, gathered from facts alone."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from globals_heads.facts import RunFolder
from globals_heads.files import write_text
from globals_heads.settings import Grid, RunKey
from globals_heads.tables import BASELINE_COLUMNS, TEST_COLUMNS, read_epochs, read_metrics


def collect(
    grid: Grid, results: Path, baselines: Path, output: Path, leave_out: Collection[str] = ()
) -> None:
    """Write the summary of all runs of `grid`.

    Parameters
    ----------
    grid
        The axes of the study, with its variants.
    results
        The folder of the study's results.
    baselines
        Facts of the data set.
    output
        The CSV file to make; rows in the order of the run numbers, timings in the last columns.
    leave_out
        Runs that count as missing, since they are of other settings or data.
    """
    write_text(output, "\n".join(summary_lines(grid.runs, results, baselines, leave_out)) + "\n")


def summary_lines(
    runs: Sequence[RunKey], results: Path, baselines: Path, leave_out: Collection[str] = ()
) -> list[str]:
    """Return the header of the summary and the line of each run; parameters as in `collect`."""
    reference = read_metrics(baselines)
    rows = [
        {"number": number}
        | summarise(
            key, RunFolder.of(results, key.name), reference, counts=key.name not in leave_out
        )
        for number, key in enumerate(runs)
    ]
    table = pd.DataFrame(rows)
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n").splitlines()


def summarise(
    key: RunKey,
    folder: RunFolder,
    baselines: dict[tuple[str, str], float],
    *,
    counts: bool = True,
) -> dict[str, Any]:
    """Return one row of the summary.

    `status` is ok; missing when the run does not count or its files are not all there; diverged
    when its training ended with a loss that is not finite. A diverged run keeps its key, and no
    metric of it is shown, so that it can never win a comparison.
    """
    row: dict[str, Any] = {**key.columns, "status": "missing"}
    files = {split: folder.metrics(split) for split in ("train", "val", "test")}
    tables: dict[str, pd.DataFrame] = {}
    measured: dict[tuple[str, str], float] = {}
    if counts and folder.is_finished:
        tables = {split: read_epochs(files[split], key) for split in ("train", "val")}
        losses = np.concatenate([table["loss"] for table in tables.values()])
        row["status"] = "ok" if np.isfinite(losses).all() else "diverged"
        if row["status"] == "ok":
            measured = read_metrics(files["test"], key)
    row["epochs"] = len(tables["train"]) if tables else 0
    best = measured.get(("best_epoch", "all"), np.nan)
    row["val_loss"] = (
        tables["val"].set_index("epoch")["loss"].get(best, np.nan) if measured else np.nan
    )
    row |= {column: measured.get(source, np.nan) for column, source in TEST_COLUMNS.items()}
    row["clipped_fraction"] = tables["train"]["clipped_fraction"].mean() if tables else np.nan
    row |= {column: baselines.get(source, np.nan) for column, source in BASELINE_COLUMNS.items()}
    row["epoch_time_s"] = tables["train"]["epoch_time_s"].median() if tables else np.nan
    row["throughput"] = tables["train"]["throughput"].median() if tables else np.nan
    row["peak_memory_mib"] = tables["train"]["peak_memory_mib"].max() if tables else np.nan
    return row
