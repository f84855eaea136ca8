"""Read facts and the summary as tables, and say which facts are columns of the summary."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from globals_heads.errors import UserError, brief
from globals_heads.facts import EPOCH_COLUMNS, Metric
from globals_heads.settings import RunKey

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
            if table[name].dtype.kind not in "iufb":  # with thousands of runs, seconds count
                table[name] = pd.to_numeric(table[name])
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as a table of facts ({brief(error)}); "
            "delete it and run snakemake again."
        ) from error
    if "variant" in table:
        table["variant"] = table["variant"].fillna("")  # of the plain grid
    owners = set(table["run"].unique()) if "run" in table else set()
    if key is not None and owners != {key.name}:
        found = ", ".join(sorted(map(str, owners))) or "no run"
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
    twice = table.duplicated(["run", "variant"]) | table.duplicated([*KEY_COLUMNS[1:]])
    unknown = ~table["status"].isin(STATUSES)
    if twice.any() or unknown.any():
        row = table[twice | unknown].iloc[0]
        raise UserError(
            f"{path} names {row['run']} twice, or its status {row['status']} is none of "
            f"{', '.join(sorted(STATUSES))}; delete it and run snakemake again."
        )
    return table
