"""The summary: one row per run, gathered from facts alone."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from globals_heads.errors import UserError, brief
from globals_heads.facts import EPOCH_COLUMNS, Metric, RunFolder
from globals_heads.files import write_text
from globals_heads.settings import Grid, RunKey

KEY_COLUMNS = ("run", "latent_space", "globals_beta", "seed", "variant")
# All other columns hold numbers.
TEXT_COLUMNS = {"run", "latent_space", "globals_beta", "variant"}
TEXT_COLUMNS |= {"split", "metric", "group", "unit", "status"}
STATUSES = {"ok", "diverged", "missing"}

# Column of the summary: (metric, group) in metrics_test.csv.
TEST_COLUMNS = {
    "best_epoch": ("best_epoch", "all"),
    "rec_tokens": ("rec_tokens", "all"),
    "tokens_nmse": ("tokens_nmse", "all"),
    "rec_globals": ("rec_globals", "head"),
    "probe_rec_globals": ("rec_globals", "probe"),
    "reco_objects_rec_globals": ("rec_globals", "reco_objects"),
    "met_component_rms_gev": ("met_component_rms", "head"),
    "probe_met_component_rms_gev": ("met_component_rms", "probe"),
    "reco_objects_met_component_rms_gev": ("met_component_rms", "reco_objects"),
    "met_dphi_sigma68_rad": ("met_dphi_sigma68", "head"),
    "probe_met_dphi_sigma68_rad": ("met_dphi_sigma68", "probe"),
    "energy_sigma68_gev": ("token_sigma68", "energy"),
    "pt_sigma68_gev": ("token_sigma68", "pt"),
    "pt_relative_sigma68": ("token_sigma68", "pt_relative"),
    "eta_sigma68": ("token_sigma68", "eta"),
    "phi_sigma68_rad": ("token_sigma68", "phi"),
    "token_dr_median": ("token_dr_median", "all"),
    "ht_sigma68_gev": ("event_sigma68", "ht"),
    "commit": ("commit", "all"),
    "perplexity": ("perplexity", "all"),
    "active_codes": ("active_codes", "all"),
    "bits_per_token": ("bits_per_token", "all"),
    "latent_dim": ("latent_dim", "all"),
    "num_parameters": ("num_parameters", "all"),
}
# The same for the baselines, which are equal in every row.
BASELINE_COLUMNS = {
    f"{name}_{column}": (metric, name)
    for name in ("globals_only_network", "linear_fit", "minus_sum_pt", "training_mean")
    for column, metric in (
        ("rec_globals", "rec_globals"),
        ("met_component_rms_gev", "met_component_rms"),
    )
}


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


def read_facts(
    path: Path, key: RunKey | None = None, columns: Collection[str] = ()
) -> pd.DataFrame:
    """Return a facts file as a table, the key columns as text.

    Parameters
    ----------
    path
        The CSV file.
    key
        The run that all of it must belong to; None for tables of many runs or of none.
    columns
        Columns that must be there.

    Raises
    ------
    UserError
        If the file is damaged, or belongs to another run than `key`.
    """
    text = dict.fromkeys(TEXT_COLUMNS, str)
    try:
        # Only an empty field is missing; pandas would take texts such as None for it, too.
        table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])
        if lacking := [name for name in columns if name not in table]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        for name in set(columns) - TEXT_COLUMNS:
            table[name] = pd.to_numeric(table[name])
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is no table of facts that can be read ({brief(error)}); "
            "delete it and run snakemake again."
        ) from error
    if "variant" in table:
        table["variant"] = table["variant"].fillna("")  # of the plain grid
    owners = set(map(str, table["run"])) if "run" in table else set()
    if key is not None and owners != {key.name}:
        found = ", ".join(sorted(owners)) or "no run"
        raise UserError(
            f"{path} holds facts of {found}, but only {key.name} belongs there; "
            "delete it and run snakemake again."
        )
    return table


def read_epochs(path: Path, key: RunKey) -> pd.DataFrame:
    """Return facts by epoch as a table, or raise `UserError` unless each epoch is there once."""
    table = read_facts(path, key, EPOCH_COLUMNS)
    if list(table["epoch"]) != list(range(1, len(table) + 1)):
        raise UserError(
            f"{path} does not hold the epochs 1 to {len(table)}, each once and in this order; "
            "delete it and run snakemake again."
        )
    return table


def read_metrics(path: Path, key: RunKey | None = None) -> dict[tuple[str, str], float]:
    """Return facts in the long format as {(metric, group): value}."""
    table = read_facts(path, key, Metric._fields)
    twice = table.duplicated(["split", "metric", "group"])
    if twice.any():
        first = table[twice].iloc[0]
        raise UserError(
            f"{path} holds {first['metric']} of {first['group']} twice; "
            "delete it and run snakemake again."
        )
    return dict(zip(zip(table["metric"], table["group"], strict=True), table["value"], strict=True))


def read_summary(path: Path, columns: Collection[str] = ()) -> pd.DataFrame:
    """Return results/summary.csv as a table, the key columns as text.

    Raises
    ------
    UserError
        If it lacks one of `columns`, names a run twice, or has a status that there is not.
    """
    table = read_facts(path, columns=[*KEY_COLUMNS, "status", *columns])
    twice, unknown = table.duplicated(["run", "variant"]), ~table["status"].isin(STATUSES)
    if twice.any() or unknown.any():
        row = table[twice | unknown].iloc[0]
        raise UserError(
            f"{path} names {row['run']} twice, or its status {row['status']} is none of "
            f"{', '.join(sorted(STATUSES))}; delete it and run snakemake again."
        )
    return table


def read_grid_rows(path: Path, grid: Grid) -> pd.DataFrame:
    """Return the summary's rows of the plain grid, by the names of their runs.

    Raises
    ------
    UserError
        If the summary is damaged, or has no row of one of the grid's runs.
    """
    table = read_summary(path, [*TEST_COLUMNS, *BASELINE_COLUMNS])
    table = table[table["variant"] == ""].set_index("run", drop=False)
    lacking = [key.name for key in grid.plain.runs if key.name not in table.index]
    if lacking:
        raise UserError(
            f"{path} has no row of {lacking[0]}; delete it and run snakemake again, or give the "
            "--grid that it was made with."
        )
    return table


def read_runs(grid: Grid, table: pd.DataFrame, results: Path, split: str) -> pd.DataFrame:
    """Return the facts of all runs of `grid` that the summary `table` does not call missing.

    Without any, the table has no rows and the columns that figures look at.
    """
    columns = Metric._fields if split == "test" else EPOCH_COLUMNS
    keys = [key for key in grid.runs if table["status"][key.name] != "missing"]
    if not keys:
        return pd.DataFrame(columns=[*grid.runs[0].columns, *columns])
    return pd.concat(
        [read_facts(RunFolder.of(results, key.name).metrics(split), key, columns) for key in keys],
        ignore_index=True,
    )
