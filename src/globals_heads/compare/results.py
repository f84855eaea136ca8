"""Results: what all runs measured, as numbers per cell and seed, ready for paired differences.

Everything is read from the summary, the settings of the runs and their errors per test event;
nothing here knows a claim.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from globals_heads.arrays import Array
from globals_heads.compare.statistics import (
    Estimate,
    estimate,
    mean_influence,
    ratio_influence,
    skill_influence,
)
from globals_heads.errors import UserError, brief
from globals_heads.facts import RunFolder
from globals_heads.settings import RunSettings
from globals_heads.tables import read_summary

# Metric: its error per event in events_test.npz, whose mean over events is the metric.
EVENT_MEANS = {
    "rec_globals": "head_error",
    "probe_rec_globals": "probe_error",
    "reco_objects_rec_globals": "reco_objects_error",
}


# Columns of the summary that everything rests on.
NEEDED = (
    "epochs",
    "best_epoch",
    "rec_tokens",
    "probe_rec_globals",
    "linear_fit_rec_globals",
    "perplexity",
    "throughput",
)


class Cell(NamedTuple):
    """A cell of the grid; a variant is the same grid trained in another way, such as a control."""

    latent_space: str
    globals_beta: str
    variant: str = ""

    @property
    def name(self) -> str:
        """What tables call it."""
        name = f"{self.latent_space}/beta_{self.globals_beta}"
        return f"{self.variant}: {name}" if self.variant else name


@dataclass(frozen=True)
class Results:
    """What all runs measured.

    Attributes
    ----------
    statuses
        Of each cell: the status of each seed's run, None where its variant has no such seed.
    numbers
        Of each metric and cell: one number per seed, NaN where there is none, shape (n,).
    influences
        Of some metrics and their cells: influence of each test event, shape (n, N).
    table
        The summary, one row per run.
    settings
        Of each run: its cfg.yaml.
    errors
        Of each finished run: what its errors per event amount to.
    met_is_readable
        Whether the one-parameter fit is shown to beat the training mean; otherwise there is no
        skill, which is a part of what that fit gains.
    """

    statuses: Mapping[Cell, tuple[str | None, ...]]
    numbers: Mapping[str, Mapping[Cell, Array]]
    influences: Mapping[str, Mapping[Cell, Array]]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, RunSettings] = field(default_factory=dict)
    errors: Mapping[str, "EventErrors"] = field(default_factory=dict)
    met_is_readable: bool = True

    def cells(self, variant: str = "") -> list[Cell]:
        """Return the cells of a variant, the plain grid by default, in the summary's order."""
        return [cell for cell in self.statuses if cell.variant == variant]

    @property
    def num_seeds(self) -> int:
        """Number of seeds of the plain grid, finished or not."""
        return max(sum(s is not None for s in self.statuses[cell]) for cell in self.cells())

    def contrast(self, metric: str, weights: Mapping[Cell, float]) -> Estimate:
        """Return the weighted sum of a metric over cells, paired by seed and by test event.

        Seeds that any of the cells lacks are left out; `holes` names them.
        """
        cells, factors = list(weights), np.array(list(weights.values()))
        paired = factors @ np.stack([self.numbers[metric][cell] for cell in cells])
        use = np.isfinite(paired)
        influence = None
        if metric in self.influences and use.any():
            influences = [self.influences[metric][cell][use].mean(axis=0) for cell in cells]
            influence = factors @ np.stack(influences)
        return estimate(paired[use], influence)

    def lost_runs(self, metric: str, cells: Iterable[Cell]) -> list[str]:
        """Return in words which runs of `cells` have no number for `metric`, and why."""
        found = []
        for cell in cells:
            for seed, status in enumerate(self.statuses[cell]):
                if status not in (None, "ok"):
                    found.append(f"{cell.name}/seed_{seed} {status}")
                elif status and not np.isfinite(self.numbers[metric][cell][seed]):
                    found.append(f"{cell.name}/seed_{seed} has no {metric}")
        return found


class EventErrors(NamedTuple):
    """A run's errors per test event, and what they amount to.

    Attributes
    ----------
    metrics
        The metrics that follow from them.
    influences
        Influence of each event on each metric, shape (N,).
    digest
        The same for identical errors only.
    """

    metrics: dict[str, float]
    influences: dict[str, Array]
    digest: str


def read_results(summary: Path, results: Path, linear_fit: Path) -> Results:
    """Return what all runs measured.

    Parameters
    ----------
    summary
        results/summary.csv.
    results
        The folder of the study's results.
    linear_fit
        The data set's events_test.npz: errors of the one-parameter fit and the training mean.

    Raises
    ------
    UserError
        If a file is damaged, or runs were measured on different test events.
    """
    table = read_summary(summary, NEEDED)
    known = _read_arrays(linear_fit, ["linear_fit_error", "training_mean_error"])
    baseline = known["linear_fit_error"]
    gain = known["training_mean_error"] - baseline
    # All runs have the same baselines, so only other test events can take this gain away.
    is_readable = estimate(np.array([gain.mean()]), mean_influence(gain)).event_interval().low > 0
    finished = table.loc[table["status"] == "ok", "run"]
    trained = table.loc[table["status"] != "missing", "run"]
    settings = {run: RunFolder.of(results, run).read_settings() for run in trained}
    errors: dict[str, EventErrors] = {}
    num_tokens = None
    for run in finished:
        path = RunFolder.of(results, run).events("test")
        arrays = _read_arrays(path, ["sse_tokens", "num_tokens", *EVENT_MEANS.values()])
        num_tokens = arrays["num_tokens"] if num_tokens is None else num_tokens
        if len(baseline) != len(num_tokens) or not np.array_equal(num_tokens, arrays["num_tokens"]):
            raise UserError(
                f"{path} was measured on other test events than {linear_fit} or the other runs; "
                "delete it and run snakemake again."
            )
        errors[run] = _event_errors(arrays, baseline)
    codes = {run: num_codes(cfg) for run, cfg in settings.items()}
    derived = table.assign(
        ln_rec_tokens=np.log(table["rec_tokens"]),
        skill=(1 - table["probe_rec_globals"]) / (1 - table["linear_fit_rec_globals"])
        if is_readable
        else math.nan,
        linear_fit_gain=table["linear_fit_rec_globals"] - table["probe_rec_globals"],
        code_use=table["perplexity"] / table["run"].map(codes),
        ln_throughput=np.log(table["throughput"]),
        epochs_after_best=table["epochs"] - table["best_epoch"],
    )
    return replace(_arranged(derived, settings, errors), met_is_readable=is_readable)


def _arranged(
    table: pd.DataFrame, settings: dict[str, RunSettings], errors: dict[str, EventErrors]
) -> Results:
    """Arrange runs by cell and seed."""
    num_seeds = int(table["seed"].max()) + 1
    seeds = table.groupby("variant")["seed"].agg(set)
    columns = ["latent_space", "globals_beta", "variant"]
    rows = {
        (Cell(*key), seed): i
        for i, (*key, seed) in enumerate(table[[*columns, "seed"]].itertuples(index=False))
    }
    cells = list(dict.fromkeys(cell for cell, _ in rows))
    places = {cell: [rows.get((cell, seed)) for seed in range(num_seeds)] for cell in cells}
    # A seed that other cells of the variant have and this one lacks is a hole.
    statuses = {
        cell: tuple(
            str(table["status"].iloc[place])
            if place is not None
            else ("missing" if seed in seeds[cell.variant] else None)
            for seed, place in enumerate(places[cell])
        )
        for cell in cells
    }
    numbers: dict[str, dict[Cell, Array]] = {}
    for metric in table.select_dtypes("number").columns:
        column = table[metric].to_numpy(dtype=float)
        column = np.where(table["status"] == "ok", column, math.nan)
        numbers[metric] = {
            cell: np.array([math.nan if i is None else column[i] for i in places[cell]])
            for cell in cells
        }
    influences: dict[str, dict[Cell, Array]] = {}
    for metric in next(iter(errors.values())).influences if errors else ():
        num_events = len(next(iter(errors.values())).influences[metric])
        nothing = np.full(num_events, math.nan)
        influences[metric] = {
            cell: np.array(
                [
                    errors[run].influences[metric]
                    if i is not None and (run := table["run"].iloc[i]) in errors
                    else nothing
                    for i in places[cell]
                ]
            )
            for cell in cells
        }
    return Results(statuses, numbers, influences, table, settings, errors)


def _event_errors(arrays: dict[str, Array], baseline: Array) -> EventErrors:
    sse, num_tokens = arrays["sse_tokens"], arrays["num_tokens"]
    tokens = float(sse.sum() / num_tokens.sum())
    influence = ratio_influence(sse, num_tokens)
    probe = arrays["probe_error"]
    digest = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays)))
    return EventErrors(
        metrics={"rec_tokens": tokens, "linear_fit_rec_globals": float(baseline.mean())}
        | {metric: float(arrays[name].mean()) for metric, name in EVENT_MEANS.items()},
        influences={
            "rec_tokens": influence,
            "ln_rec_tokens": influence / tokens if tokens > 0 else influence * math.nan,
            "skill": skill_influence(probe, baseline),
            "linear_fit_gain": mean_influence(baseline - probe),
        }
        | {metric: mean_influence(arrays[name]) for metric, name in EVENT_MEANS.items()},
        digest=digest.hexdigest(),
    )


def _read_arrays(path: Path, names: list[str]) -> dict[str, Array]:
    try:
        with np.load(path) as content:
            arrays = {name: np.asarray(content[name], dtype=float) for name in names}
        shapes = {array.shape for array in arrays.values()}
        if len(shapes) > 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"shapes {sorted(shapes)}")
        if any(np.isnan(array).any() or not array.size for array in arrays.values()):
            raise ValueError("NaN, or no event at all")
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own
        raise UserError(
            f"{path} does not hold one number per test event of {', '.join(names)} "
            f"({brief(error)}); delete it and run snakemake again."
        ) from error
    return arrays


def num_codes(settings: RunSettings) -> float:
    """Return the number of codes of a discrete latent space, NaN for a continuous one."""
    bottleneck = settings.bottleneck
    if "levels" in bottleneck:
        return float(math.prod(bottleneck["levels"]))
    return float(bottleneck.get("codebook_size", math.nan))
