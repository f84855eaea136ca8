"""Results: what all runs measured, as numbers per cell and seed, ready for paired differences.

They come from the summary, the settings of the runs and their errors per test event. This module
knows no claim.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
from globals_heads.numbers import LOGARITHMS
from globals_heads.settings import RunSettings
from globals_heads.tables import read_summary

TOKENS, TOTAL = LOGARITHMS["rec_tokens"], LOGARITHMS["val_loss"]
GLOBALS = "probe_rec_globals"
# What tables and figures call a metric.
LABELS = {
    "rec_tokens": "rec_tokens (T)",
    "probe_rec_globals": "globals error of the ridge probe (G)",
    "reco_objects_rec_globals": "globals error of the reconstructed objects (L)",
    "rec_globals": "globals error of the trained head (H)",
    "skill": "skill (S)",
    "perplexity": "perplexity",
}
# Metric: its error per event in events_test.npz, whose mean over events is the metric.
EVENT_MEANS = {
    "rec_globals": "head_error",
    "probe_rec_globals": "probe_error",
    "reco_objects_rec_globals": "reco_objects_error",
}
# Columns that the summary must have.
NEEDED = (
    "epochs",
    "best_epoch",
    "val_loss",
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
        """The cell's name in tables."""
        name = f"{self.latent_space}/beta_{self.globals_beta}"
        return f"{self.variant}: {name}" if self.variant else name

    @property
    def words(self) -> str:
        """The cell's name in sentences, such as "vq, weight 1"."""
        words = f"{self.latent_space}, weight {self.globals_beta}"
        return f"{self.variant}: {words}" if self.variant else words


class LostRun(NamedTuple):
    """A run without a result, and why."""

    cell: Cell
    seed: int
    why: str


class EventErrors(NamedTuple):
    """A run's errors per test event, and the metrics that follow from them.

    Attributes
    ----------
    metrics
        The metrics, computed from the errors per event.
    influences
        Influence of each event on each metric, shape (N,).
    digest
        Equal for identical errors only.
    """

    metrics: dict[str, float]
    influences: dict[str, Array]
    digest: str


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
        Of each finished run: its errors per event.
    met_is_readable
        Whether the one-parameter fit clearly beats the training mean. The skill is a fraction of
        this gain, so without it there is no skill.
    source
        What the data were packed from.
    """

    statuses: Mapping[Cell, tuple[str | None, ...]]
    numbers: Mapping[str, Mapping[Cell, Array]]
    influences: Mapping[str, Mapping[Cell, Array]]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, RunSettings] = field(default_factory=dict)
    errors: Mapping[str, EventErrors] = field(default_factory=dict)
    met_is_readable: bool = True
    source: str = ""

    def cells(self, variant: str = "") -> list[Cell]:
        """Return the cells of a variant, the plain grid by default, in the summary's order."""
        return [cell for cell in self.statuses if cell.variant == variant]

    @property
    def num_seeds(self) -> int:
        """Number of seeds of the plain grid, finished or not."""
        return max(sum(s is not None for s in self.statuses[cell]) for cell in self.cells())

    def contrast(self, metric: str, weights: Mapping[Cell, float]) -> Estimate:
        """Return the weighted sum of a metric over cells, paired by seed and by test event.

        A seed counts only if all of the cells have it; `lost_runs` names the others.
        """
        cells, factors = list(weights), np.array(list(weights.values()))
        paired = factors @ np.stack([self.numbers[metric][cell] for cell in cells])
        use = np.isfinite(paired)
        influence = None
        if metric in self.influences and use.any():
            influences = [self.influences[metric][cell][use].mean(axis=0) for cell in cells]
            influence = factors @ np.stack(influences)
        return estimate(paired[use], influence)

    def mean(self, metric: str, cell: Cell) -> float:
        """Return the mean of a cell's metric over seeds; NaN if no seed has it.

        It is the geometric mean of a metric in `LOGARITHMS`.
        """
        if metric in LOGARITHMS:
            return math.exp(self.mean(LOGARITHMS[metric], cell))
        return self.contrast(metric, {cell: 1.0}).mean

    def lower_limit(self, metric: str, cell: Cell) -> float:
        """Return a cell's lower limit: over seeds, else over test events, else the mean."""
        value = self.contrast(metric, {cell: 1.0})
        low = value.known_interval().low
        return value.mean if math.isnan(low) else low

    def lost_runs(self, metric: str, cells: Iterable[Cell]) -> list[LostRun]:
        """Return the runs without this metric."""
        found = []
        for cell in cells:
            for seed, status in enumerate(self.statuses[cell]):
                if status not in (None, "ok"):
                    found.append(LostRun(cell, seed, status))
                elif status and not np.isfinite(self.numbers[metric][cell][seed]):
                    found.append(LostRun(cell, seed, f"without {metric}"))
        return found


def in_words(lost: Sequence[LostRun], most: int) -> str:
    """Return `lost` as "diverged: vq, weight 10 (seed 3)", at most `most` cells by name."""
    seeds: dict[tuple[str, Cell], list[str]] = {}
    for run in dict.fromkeys(lost):
        seeds.setdefault((run.why, run.cell), []).append(str(run.seed))
    named: dict[str, list[str]] = {}
    for (why, cell), numbers in list(seeds.items())[:most]:
        which = {1: f"seed {numbers[0]}", 2: f"seeds {' and '.join(numbers)}"}
        few = which.get(len(numbers), f"{len(numbers)} seeds")
        named.setdefault(why, []).append(f"{cell.words} ({few})")
    texts = [f"{why}: {', '.join(cells)}" for why, cells in named.items()]
    more = len(seeds) - most
    return "; ".join([*texts, f"and {more} more"] if more > 0 else texts)


def read_results(results_folder: Path, baselines_folder: Path) -> Results:
    """Return what all runs measured.

    Parameters
    ----------
    results_folder
        The folder of the study's results, which holds summary.csv and the runs.
    baselines_folder
        The folder of the data set, whose events_test.npz holds the errors of the one-parameter fit
        and of the training mean.

    Raises
    ------
    UserError
        If a file is damaged, or runs were measured on different test events.
    """
    table = read_summary(results_folder / "summary.csv", NEEDED)
    path = baselines_folder / "events_test.npz"
    known = _read_arrays(path, ["linear_fit_error", "training_mean_error"])
    with np.load(path) as content:
        source = str(content.get("source", ""))
    linear_fit = known["linear_fit_error"]
    gain = known["training_mean_error"] - linear_fit
    # All runs have the same baselines, so only other test events can take this gain away.
    is_readable = estimate(np.array([gain.mean()]), mean_influence(gain)).event_interval().low > 0
    trained = table.loc[table["status"] != "missing", "run"]
    settings = {run: RunFolder.of(results_folder, run).read_settings() for run in trained}
    errors: dict[str, EventErrors] = {}
    num_tokens = None
    for run in table.loc[table["status"] == "ok", "run"]:
        path = RunFolder.of(results_folder, run).events("test")
        arrays = _read_arrays(path, ["sse_tokens", "num_tokens", *EVENT_MEANS.values()])
        num_tokens = arrays["num_tokens"] if num_tokens is None else num_tokens
        same = np.array_equal(num_tokens, arrays["num_tokens"])
        if len(linear_fit) != len(num_tokens) or not same:
            raise UserError(
                f"{path} was measured on other test events than the other runs or the baselines in "
                f"{baselines_folder}; delete it and run snakemake again."
            )
        errors[run] = _event_errors(arrays, linear_fit)
    codes = {run: num_codes(cfg) for run, cfg in settings.items()}
    derived = table.assign(
        ln_rec_tokens=np.log(table["rec_tokens"]),
        ln_val_loss=np.log(table["val_loss"]),
        skill=(1 - table["probe_rec_globals"]) / (1 - table["linear_fit_rec_globals"])
        if is_readable
        else math.nan,
        linear_fit_gain=table["linear_fit_rec_globals"] - table["probe_rec_globals"],
        code_use=table["perplexity"] / table["run"].map(codes),
        ln_throughput=np.log(table["throughput"]),
        epochs_after_best=table["epochs"] - table["best_epoch"],
    )
    return Results(*_arranged(derived, errors), table, settings, errors, is_readable, source)


def _arranged(
    table: pd.DataFrame, errors: Mapping[str, EventErrors]
) -> tuple[
    dict[Cell, tuple[str | None, ...]], dict[str, dict[Cell, Array]], dict[str, dict[Cell, Array]]
]:
    """Return the statuses, numbers and influences of `Results`: the runs by cell and seed."""
    keys = [*Cell._fields, "seed"]
    cells = list(dict.fromkeys(map(Cell._make, table[keys[:-1]].itertuples(index=False))))
    seeds = range(int(table["seed"].max()) + 1)
    # A row for every seed of every cell, without any value where there is no such run.
    places = pd.MultiIndex.from_tuples([(*cell, seed) for cell in cells for seed in seeds])
    runs = table.set_index(keys).reindex(places)

    def by_cell(column: "pd.Series[Any]") -> dict[Cell, Array]:
        return dict(zip(cells, column.to_numpy().reshape(len(cells), len(seeds)), strict=True))

    # A seed that other cells of the variant have, and this one lacks, is a missing run.
    seeds_of = table.groupby("variant")["seed"].agg(set)
    statuses = {
        cell: tuple(
            str(status)
            if not pd.isna(status)
            else ("missing" if seed in seeds_of[cell.variant] else None)
            for seed, status in enumerate(found)
        )
        for cell, found in by_cell(runs["status"]).items()
    }
    measured = runs.select_dtypes("number").astype(float).where(runs["status"] == "ok")
    numbers = {str(metric): by_cell(measured[metric]) for metric in measured}
    influences: dict[str, dict[Cell, Array]] = {}
    for metric, influence in (next(iter(errors.values())).influences if errors else {}).items():
        nothing = np.full(len(influence), math.nan)
        influences[metric] = {
            cell: np.array(
                [errors[run].influences[metric] if run in errors else nothing for run in found]
            )
            for cell, found in by_cell(runs["run"]).items()
        }
    return statuses, numbers, influences


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
