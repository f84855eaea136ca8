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
    grid: Grid,
    results_folder: Path,
    baselines_csv: Path,
    output: Path,
    leave_out: Collection[str],
) -> None:
    """Write the summary of all runs of `grid`.

    Parameters
    ----------
    grid
        The axes of the study, with its variants.
    results_folder
        The folder of the study's results.
    baselines_csv
        Facts of the data set.
    output
        The CSV file to make; rows in the order of the run numbers, timings in the last columns.
    leave_out
        Runs that count as missing, since they are of other settings or data.
    """
    lines = summary_lines(grid.runs, results_folder, baselines_csv, leave_out)
    write_text(output, "\n".join(lines) + "\n")


def summary_lines(
    runs: Sequence[RunKey], results_folder: Path, baselines_csv: Path, leave_out: Collection[str]
) -> list[str]:
    """Return the header of the summary and the line of each run; parameters as in `collect`."""
    baselines = read_metrics(baselines_csv)
    rows = [
        {"number": number}
        | summarise(
            key,
            RunFolder.of(results_folder, key.name),
            baselines,
            counts=key.name not in leave_out,
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
    counts: bool,
) -> dict[str, Any]:
    """Return one row of the summary.

    `status` is missing if the run does not count or lacks a file, diverged if its training ended
    with a loss that is not finite, else ok. A diverged run gets no metrics, so it cannot win a
    comparison.
    """
    status, epochs, val_loss = "missing", 0, np.nan
    clipped = epoch_time = throughput = memory = np.nan
    measured: dict[tuple[str, str], float] = {}
    if counts and folder.is_finished:
        train, val = (read_epochs(folder.metrics(split), key) for split in ("train", "val"))
        epochs = len(train)
        clipped, memory = train["clipped_fraction"].mean(), train["peak_memory_mib"].max()
        epoch_time, throughput = train["epoch_time_s"].median(), train["throughput"].median()
        status = "diverged"
        if np.isfinite([*train["loss"], *val["loss"]]).all():
            status, measured = "ok", read_metrics(folder.metrics("test"), key)
            best = measured.get(("best_epoch", "all"), np.nan)
            val_loss = val.set_index("epoch")["loss"].get(best, np.nan)
    return {
        **key.columns,
        "status": status,
        "epochs": epochs,
        "val_loss": val_loss,
        **{column: measured.get(source, np.nan) for column, source in TEST_COLUMNS.items()},
        "clipped_fraction": clipped,
        **{column: baselines.get(source, np.nan) for column, source in BASELINE_COLUMNS.items()},
        "epoch_time_s": epoch_time,
        "throughput": throughput,
        "peak_memory_mib": memory,
    }
