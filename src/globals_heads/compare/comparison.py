"""The comparison: one row per metric and cell, with its difference to the reference cell."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from globals_heads.compare import downstream
from globals_heads.compare.results import Cell, Results
from globals_heads.compare.statistics import Estimate
from globals_heads.settings import CompareSettings, format_beta

# Metrics that the summary lacks are left out. Timings are not compared, so that reruns give the
# same bytes.
METRICS = (
    "val_loss",
    "ln_val_loss",
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
    *downstream.METRICS,
)

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
  body {{ font: 14px system-ui, sans-serif; margin: 0 }}
  table {{ border-collapse: separate; border-spacing: 0 }}
  th, td {{ padding: 4px 10px; border-bottom: 1px solid #ddd; text-align: right }}
  th {{ position: sticky; top: 0; background: #f3f4f6; overflow-wrap: anywhere; min-width: 8em }}
  td {{ white-space: nowrap }}
  tr:hover td {{ background: #f3f4f6 }}
</style>
{table}
</html>
"""


def comparison(results: Results, settings: CompareSettings) -> pd.DataFrame:
    """Return one row per metric and cell.

    Every interval is two-sided, 95 %, over seeds and test events; `event_low` and `event_high`
    bound these very runs on other test events. Differences are paired by seed, to the reference
    cell of the same variant, or of the plain grid if the variant has none.
    """
    plain = reference_cell(settings)
    variants = dict.fromkeys(cell.variant for cell in results.statuses)
    rows = []
    for metric, variant in product(METRICS, variants):
        if metric in results.numbers:
            own = plain._replace(variant=variant)
            reference = own if own in results.statuses else plain
            rows += [_row(results, metric, cell, reference) for cell in results.cells(variant)]
    return pd.DataFrame(rows)


def reference_cell(settings: CompareSettings) -> Cell:
    """Return the reference cell of the plain grid."""
    return Cell(settings.reference.latent_space, format_beta(settings.reference.globals_beta))


def html_table(title: str, table: pd.DataFrame) -> str:
    """Return a table as one HTML page that needs no other file, numbers with four digits.

    The report of Snakemake shows HTML, but only hands out CSV.
    """

    def four_digits(value: float) -> str:
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"

    content = table.to_html(index=False, border=0, na_rep="", float_format=four_digits)
    return PAGE.format(title=title, table=content)


def _row(results: Results, metric: str, cell: Cell, reference: Cell) -> dict[str, Any]:
    difference = Estimate(np.nan, np.nan, np.nan, 0)
    if reference in results.statuses and cell != reference:
        difference = results.contrast(metric, {cell: 1.0, reference: -1.0})
    keys = {"metric": metric, **cell._asdict()}
    value = results.contrast(metric, {cell: 1.0})
    return keys | _columns("mean", value, "") | _columns("difference", difference, "difference_")


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
