"""What the latent spaces cost the next phase: a classifier of tttt against the rest, compared.

The outputs of the classifiers per test event become the area under the ROC curve (AUC) and the
background rejection of each run and input, with the influence of each test event, so that their
differences to the original events have the intervals of the study.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.compare.results import Cell, Results
from globals_heads.compare.statistics import Estimate
from globals_heads.errors import UserError, brief
from globals_heads.facts import RunFolder

ORIGINAL, RECONSTRUCTED, ENCODED = "original", "reconstructed", "encoded"
QUANTITIES = ("auc", "rejection")
SIGNAL_EFFICIENCY = 0.5
# Half the width of signal efficiency over which the slope of the ROC curve is taken.
SLOPE_WIDTH = 0.05
# AUC of tttt against the rest that others published or noted for the public four-top data.
PUBLISHED = {
    "binned tokens": 0.725,
    "raw objects": 0.804,
    "boosted tree on the CSV files": 0.836,
    "identity embedding": 0.842,
    "best model": 0.850,
}


class Measured(NamedTuple):
    """Numbers of one run by metric, and the influence of each test event on them, shape (N,)."""

    metrics: dict[str, float]
    influences: dict[str, Array]


def metric(kind: str, quantity: str, *, difference: bool = False) -> str:
    """Return the name of a number: of an input, or of its difference to the original events."""
    return f"downstream_{kind}_{quantity}{'_difference' if difference else ''}"


METRICS = (
    *(metric(ORIGINAL, quantity) for quantity in QUANTITIES),
    *(
        metric(kind, quantity, difference=difference)
        for kind in (RECONSTRUCTED, ENCODED)
        for quantity in QUANTITIES
        for difference in (False, True)
    ),
)


def auc(scores: Array, is_signal: NDArray[np.bool_]) -> tuple[float, Array]:
    """Return the area under the ROC curve and each event's influence on it, shape (N,).

    It is the fraction of pairs of a signal and a background event that are in the right order; the
    influences are the components of DeLong et al. 1988 (doi 10.2307/2531595).
    """
    signal, others = scores[is_signal], scores[~is_signal]
    below, above = _fraction_below(signal, others), 1 - _fraction_below(others, signal)
    value = float(below.mean())
    influence = np.empty(len(scores))
    influence[is_signal] = (below - value) * (len(scores) / len(signal))
    influence[~is_signal] = (above - value) * (len(scores) / len(others))
    return value, influence


def _fraction_below(values: Array, of: Array) -> Array:
    """Return the fraction of the numbers `of` below each value; equal ones count as half."""
    ordered = np.sort(of)
    left, right = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    fraction: Array = (left + right) / (2 * len(of))
    return fraction


def rejection(scores: Array, is_signal: NDArray[np.bool_]) -> tuple[float, Array]:
    """Return the background rejection and each event's influence on it, shape (N,).

    It is 1 over the fraction of background events that pass the threshold which half of the signal
    events pass. Without any such event, one is assumed: the number is then a lower limit.
    """
    signal, others = scores[is_signal], scores[~is_signal]

    def background(efficiency: float) -> float:
        return float(np.mean(others >= np.quantile(signal, 1 - efficiency)))

    threshold = np.quantile(signal, 1 - SIGNAL_EFFICIENCY)
    passing = max(background(SIGNAL_EFFICIENCY), 1 / len(others))
    low, high = (background(SIGNAL_EFFICIENCY + width) for width in (-SLOPE_WIDTH, SLOPE_WIDTH))
    slope = (high - low) / (2 * SLOPE_WIDTH)
    influence = np.empty(len(scores))
    # A signal event above the threshold moves it up, and less background passes.
    moved = (signal >= threshold) - np.mean(signal >= threshold)
    influence[is_signal] = -slope * moved * (len(scores) / len(signal))
    passed = others >= threshold
    influence[~is_signal] = (passed - passed.mean()) * (len(scores) / len(others))
    return 1 / passing, -influence / passing**2


def with_downstream(results: Results, results_folder: Path, baselines_folder: Path) -> Results:
    """Return the results with the numbers of the classifiers as further metrics.

    Raises
    ------
    UserError
        If a file is damaged, or was made from other test events than the original's.
    """
    measured: dict[str, Measured] = {}
    for run in results.errors:
        cfg = results.settings[run]
        path = baselines_folder / f"downstream/seed_{cfg.seed}.npz"
        original = read_scores(path, (ORIGINAL, "is_signal"))
        path = RunFolder.of(results_folder, run).downstream
        scores = read_scores(path, (RECONSTRUCTED, ENCODED)) | original
        if len({len(each) for each in scores.values()}) > 1:
            raise UserError(
                f"{path} has another number of test events than {baselines_folder}/downstream; "
                "delete it and run snakemake again."
            )
        measured[run] = measure(scores)
    keys = [*Cell._fields, "seed"]
    runs = {tuple(row[key] for key in keys): row["run"] for row in results.table.to_dict("records")}
    numbers, influences = dict(results.numbers), dict(results.influences)
    num_events = next((len(each.influences[METRICS[0]]) for each in measured.values()), 0)
    nothing = Measured(
        dict.fromkeys(METRICS, math.nan), dict.fromkeys(METRICS, np.full(num_events, math.nan))
    )
    by_cell = {
        cell: [measured.get(str(runs.get((*cell, i))), nothing) for i in range(len(statuses))]
        for cell, statuses in results.statuses.items()
    }
    for name in METRICS:
        numbers[name] = {
            cell: np.array([each.metrics[name] for each in seeds])
            for cell, seeds in by_cell.items()
        }
        influences[name] = {
            cell: np.array([each.influences[name] for each in seeds])
            for cell, seeds in by_cell.items()
        }
    return replace(results, numbers=numbers, influences=influences)


def measure(scores: Mapping[str, Array]) -> Measured:
    """Return all numbers of a run from the classifiers' outputs, and `is_signal`."""
    is_signal = scores["is_signal"].astype(bool)
    metrics, influences = {}, {}
    for quantity, function in (("auc", auc), ("rejection", rejection)):
        values = {
            kind: function(scores[kind], is_signal) for kind in (ORIGINAL, RECONSTRUCTED, ENCODED)
        }
        known, influence_of_known = values[ORIGINAL]
        for kind, (value, influence) in values.items():
            metrics[metric(kind, quantity)] = value
            influences[metric(kind, quantity)] = influence
            if kind != ORIGINAL:
                name = metric(kind, quantity, difference=True)
                metrics[name], influences[name] = value - known, influence - influence_of_known
    return Measured(metrics, influences)


def read_scores(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Return the named outputs of classifiers, or raise `UserError`."""
    try:
        with np.load(path) as content:
            scores = {name: np.asarray(content[name], dtype=float) for name in names}
        if any(each.ndim != 1 or not np.isfinite(each).all() for each in scores.values()):
            raise ValueError("not one finite number per test event")
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own
        raise UserError(
            f"{path} cannot be read as outputs of a classifier ({brief(error)}); delete it and run "
            "snakemake again."
        ) from error
    return scores


def run_table(results: Results) -> pd.DataFrame:
    """Return one row per run: its place in the grid, and all numbers of the classifiers."""
    rows = []
    for cell, statuses in results.statuses.items():
        for seed, status in enumerate(statuses):
            if status is not None:
                numbers = {name: results.numbers[name][cell][seed] for name in METRICS}
                rows.append(cell._asdict() | {"seed": seed, "status": status} | numbers)
    return pd.DataFrame(rows)


def verdict_rows(results: Results, beta: str, *, generated: bool) -> dict[str, Any]:
    """Return what the verdict says of the next phase: one row per latent space.

    Parameters
    ----------
    results
        With the metrics of `with_downstream`.
    beta
        The globals_beta whose cells are shown.
    generated
        Whether the study made its events; the result is then a demonstration.
    """
    rows = []
    for cell in results.cells():
        if cell.globals_beta != beta:
            continue
        estimates = {name: results.contrast(name, {cell: 1.0}) for name in METRICS}
        rows.append(
            {
                "cell": cell.name,
                "latent_space": cell.latent_space,
                "globals_beta": beta,
                "numbers": {name: _numbers(value) for name, value in estimates.items()},
            }
        )
    return {
        "question": "What does a latent space cost a classifier of tttt against the rest?",
        "globals_beta": beta,
        "is_demonstration": generated,
        "note": "A demonstration: the events were made here, and their processes are told apart by "
        "how they were made."
        if generated
        else "Published AUC on the public four-top data: "
        + ", ".join(f"{name} {value:.3f}" for name, value in PUBLISHED.items())
        + ".",
        "rows": rows,
    }


def _numbers(value: Estimate) -> dict[str, Any]:
    return {
        "num_seeds": value.num_seeds,
        "mean": value.mean,
        "interval": value.interval(),
        "event_interval": value.event_interval(),
    }
