"""The comparison: one row per metric and cell, with its difference to the reference cell."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from globals_heads.compare.results import Cell, Results, read_results
from globals_heads.compare.statistics import Estimate, holm
from globals_heads.files import write_text
from globals_heads.settings import CompareSettings, format_beta
from globals_heads.tables import read_facts

# Those that the summary lacks are left out; timings are, too, so that reruns give the same bytes.
METRICS = (
    "val_loss",
    "rec_tokens",
    "ln_rec_tokens",
    "rec_globals",
    "probe_rec_globals",
    "reco_objects_rec_globals",
    "skill",
    "pt_relative_sigma68",
    "token_dr_median",
    "met_component_rms_gev",
    "probe_met_component_rms_gev",
    "probe_met_dphi_sigma68_rad",
    "perplexity",
)


def compare(
    summary: Path, results: Path, linear_fit: Path, output: Path, settings: CompareSettings
) -> None:
    """Write results/comparison.csv.

    Parameters
    ----------
    summary, results, linear_fit
        See `read_results`.
    output
        The CSV file to make.
    settings
        The reference cell.
    """
    evidence, reference = read_results(summary, results, linear_fit), settings.reference
    plain = Cell(reference.latent_space, format_beta(reference.globals_beta))
    if plain not in evidence.statuses:
        print(
            f"The reference cell {plain.name} (compare.reference) is not in this grid, so the "
            "columns of differences are empty."
        )
    table = comparison(evidence, settings)
    write_text(output, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def comparison(evidence: Results, settings: CompareSettings) -> pd.DataFrame:
    """Return one row per metric and cell.

    Every interval is the two-sided one of 95 % over seeds and test events; `event_low` and
    `event_high` bound these very runs on other test events. Differences are paired by seed, to the
    reference cell of the same variant, or of the plain grid if the variant has none. `p_holm` is
    adjusted over all cells of the variant in one metric; decisions are taken from intervals, in the
    verdict.
    """
    reference = settings.reference
    variants = dict.fromkeys(cell.variant for cell in evidence.statuses)
    blocks = []
    known = [metric for metric in METRICS if metric in evidence.numbers]
    for metric, variant in product(known, variants):
        of = Cell(reference.latent_space, format_beta(reference.globals_beta), variant)
        of = of if of in evidence.statuses else of._replace(variant="")
        rows = [_row(evidence, metric, cell, of) for cell in evidence.cells(variant)]
        block = pd.DataFrame(rows)
        blocks.append(block.assign(p_holm=holm(block["p_value"].to_numpy(dtype=float))))
    return pd.concat(blocks)


def read_cells(path: Path, metric: str) -> pd.DataFrame:
    """Return n, mean, low and high of `metric` in the plain grid, by latent space and weight."""
    numbers = ["n", "mean", "low", "high"]
    table = read_facts(path, columns=[*Cell._fields, "metric", *numbers])
    table = table[(table["metric"] == metric) & (table["variant"] == "")]
    return table.set_index(["latent_space", "globals_beta"])[numbers]


def _row(evidence: Results, metric: str, cell: Cell, reference: Cell) -> dict[str, Any]:
    value = evidence.contrast(metric, {cell: 1.0})
    compared = reference in evidence.statuses and cell != reference
    weights = {cell: 1.0, reference: -1.0}
    difference = evidence.contrast(metric, weights) if compared else _NOTHING
    keys = {"metric": metric, **cell._asdict()}
    return (
        keys
        | _columns("mean", value, "")
        | _columns("difference", difference, "difference_")
        | {"p_value": difference.p_value()}
    )


_NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


def _columns(name: str, value: Estimate, prefix: str) -> dict[str, Any]:
    low, high = value.interval()
    event_low, event_high = value.event_interval()
    return {
        f"{prefix}n": value.num_seeds,
        name: value.mean,
        f"{prefix}low": low,
        f"{prefix}high": high,
        f"{prefix}event_low": event_low,
        f"{prefix}event_high": event_high,
    }
