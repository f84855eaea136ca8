"""Figures of the variants: what another latent_dim, or another training, makes of the grid."""

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from globals_heads.arrays import Array
from globals_heads.compare.results import Cell, Results, read_results
from globals_heads.plot.style import (
    COLORS,
    LINES,
    MARKERS,
    Line,
    cell_handles,
    dodge,
    draw_intervals,
    draw_seeds,
    intervals_text,
    legend,
    log_scale,
    marker_of,
    save,
)
from globals_heads.settings import Grid, PlotSettings

# Metric, averaged over seeds: how it is called.
TOKENS, GLOBALS = "ln_rec_tokens", "probe_rec_globals"
LABELS = {
    TOKENS: "T = rec_tokens (MSE of normalised features)",
    GLOBALS: "G: ridge probe (NMSE of MET components)",
}


def plot_latent_dim(
    grid: Grid, summary: Path, results: Path, linear_fit: Path, output: Path, settings: PlotSettings
) -> None:
    """Draw T and G against latent_dim, one line per cell, for variants that change it alone.

    Parameters
    ----------
    grid
        The axes, with the variants.
    summary, results, linear_fit
        See `read_results`.
    output
        The .svg to make.
    settings
        How it looks.
    """
    evidence = read_results(results, linear_fit.parent)
    names = ["", *(name for name, variant in grid.variants.items() if variant.only_latent_dim)]
    plain = {cell._replace(variant="") for cell in evidence.statuses if cell.variant in names[1:]}
    cells = [
        cell
        for cell in evidence.statuses
        if cell.variant in names and cell._replace(variant="") in plain
    ]
    numbers = pd.DataFrame(row for metric in LABELS for row in rows_of(evidence, metric, cells))
    shown = axes_of(grid, cells)
    figure, panels = plt.subplots(1, len(LABELS), figsize=(10, 4.8))
    lines = list(dict.fromkeys(cell._replace(variant="") for cell in cells))
    for axes, (metric, label) in zip(panels, LABELS.items(), strict=True):
        for i, (space, beta, _) in enumerate(lines):
            of_line = (numbers["latent_space"] == space) & (numbers["globals_beta"] == beta)
            part = numbers[of_line & (numbers["metric"] == metric)].sort_values("latent_dim")
            # Lines side by side, on an axis that doubles.
            x = part["latent_dim"] * 2 ** dodge(i, len(lines), 0.25)
            draw_line(
                axes, x.to_numpy(), part, evidence, COLORS[space], marker_of(shown, beta), "-"
            )
        dims = sorted(numbers["latent_dim"].dropna().unique())
        if dims:
            axes.set_xscale("log", base=2)
        axes.set_xticks(dims, [f"{dim:.0f}" for dim in dims])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="latent_dim", ylabel=label)
        if metric == TOKENS or not dims:
            log_scale(axes, "y")
    figure.suptitle(f"test split; {intervals_text(numbers['n'])}")
    legend(figure, cell_handles(shown), runs_of(evidence, cells), 6)
    save(figure, numbers, output, settings)


def plot_variants(
    grid: Grid, summary: Path, results: Path, linear_fit: Path, output: Path, settings: PlotSettings
) -> None:
    """Draw T, G and the price of the largest globals_beta, of the plain grid and its variants.

    Parameters are those of `plot_latent_dim`. The price is ln T at the largest globals_beta minus
    ln T at the smallest, paired by seed and test event.
    """
    evidence = read_results(results, linear_fit.parent)
    spaces = list(dict.fromkeys(c.latent_space for c in evidence.statuses if c.variant))
    cells = [cell for cell in evidence.statuses if cell.latent_space in spaces]
    numbers = pd.DataFrame(row for metric in LABELS for row in rows_of(evidence, metric, cells))
    betas = sorted(numbers["globals_beta"].unique(), key=float)
    names = ["", *grid.variants]
    looks = {name: (MARKERS[i % 13], LINES[i % 4]) for i, name in enumerate(names)}
    figure, panels = plt.subplots(
        len(spaces),
        3,
        figsize=(13, 1.2 + 3.6 * len(spaces)),
        width_ratios=[1, 1, 0.8],
        squeeze=False,
    )
    prices = []
    for row, space in zip(panels, spaces, strict=True):
        shown = [
            name
            for name in names
            if any(c.variant == name for c in cells if c.latent_space == space)
        ]
        for axes, (metric, label) in zip(row[:2], LABELS.items(), strict=True):
            for i, name in enumerate(shown):
                of_line = (numbers["latent_space"] == space) & (numbers["variant"] == name)
                part = numbers[of_line & (numbers["metric"] == metric)]
                x = part["globals_beta"].map(betas.index) + dodge(i, len(shown), 0.3)
                draw_line(axes, x.to_numpy(), part, evidence, COLORS[space], *looks[name])
            axes.set_xticks(range(len(betas)), betas)
            axes.set(xlabel="globals_beta", ylabel=label, title=f"latent_space {space}")
        log_scale(row[0], "y")
        prices += draw_prices(row[2], evidence, space, {name: looks[name] for name in shown})
    figure.suptitle(f"test split; {intervals_text(numbers['n'])}")
    handles = [
        Line2D([], [], color="black", marker=marker, linestyle=line, label=name or "plain grid")
        for name, (marker, line) in looks.items()
    ]
    legend(figure, handles, runs_of(evidence, cells), 5)
    save(figure, pd.concat([numbers, pd.DataFrame(prices)]), output, settings)


def draw_prices(
    axes: Axes, evidence: Results, space: str, looks: dict[str, tuple[str, Line]]
) -> list[dict[str, Any]]:
    """Draw what the largest globals_beta costs in ln T, per variant, and return the numbers."""
    rows: list[dict[str, Any]] = []
    for x, (name, (marker, _)) in enumerate(looks.items()):
        cells = [cell for cell in evidence.cells(name) if cell.latent_space == space]
        betas = sorted(cells, key=lambda cell: float(cell.globals_beta))
        weights = {betas[-1]: 1.0, betas[0]: -1.0}
        if len(betas) < 2:
            continue
        tokens = evidence.numbers[TOKENS]
        price = evidence.contrast(TOKENS, weights)
        draw_seeds(axes, x, tokens[betas[-1]] - tokens[betas[0]], COLORS[space], marker)
        row: dict[str, Any] = {"metric": "price", "latent_space": space, "variant": name}
        row |= {"n": price.num_seeds, "mean": price.mean, **price.interval()._asdict()}
        draw_intervals(axes, np.array([x]), pd.DataFrame([row]), COLORS[space])
        rows.append(row)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(looks)), [name or "plain" for name in looks])
    axes.tick_params(axis="x", labelsize="small", rotation=20)
    axes.set(xlim=(-0.5, len(looks) - 0.5), title="price of the largest globals_beta")
    axes.set_ylabel("ln T(largest) - ln T(smallest globals_beta)")
    return rows


def draw_line(
    axes: Axes,
    x: Array,
    part: pd.DataFrame,
    evidence: Results,
    color: str,
    marker: str,
    line: Line,
) -> None:
    """Draw the means of some cells as a line, their seeds as points, their intervals as bars."""
    axes.plot(x, part["mean"], line, color=color, linewidth=0.9)
    draw_intervals(axes, x, part, color)
    keys = part[["metric", *Cell._fields]].to_numpy(dtype=str)
    for at, (metric, *cell) in zip(x, keys, strict=True):
        values = evidence.numbers[metric][Cell(*cell)]
        draw_seeds(axes, at, np.exp(values) if metric == TOKENS else values, color, marker)


def rows_of(evidence: Results, metric: str, cells: list[Cell]) -> list[dict[str, Any]]:
    """Return n, mean, low and high of `metric` in `cells`; of T the exponentials of those of ln T.

    `latent_dim` is that of the runs, NaN in a cell without any.
    """
    rows = []
    for cell in cells:
        value = evidence.contrast(metric, {cell: 1.0})
        numbers = {"mean": value.mean, **value.interval()._asdict()}
        if metric == TOKENS:
            numbers = {name: math.exp(number) for name, number in numbers.items()}
        dims = evidence.numbers["latent_dim"][cell]
        known = dims[np.isfinite(dims)]
        rows.append(
            {"metric": metric, **cell._asdict()}
            | {"latent_dim": known[0] if len(known) else math.nan, "n": value.num_seeds, **numbers}
        )
    return rows


def axes_of(grid: Grid, cells: list[Cell]) -> Grid:
    """Return the axes of `cells`; a weight of `grid` keeps its place, and so its marker."""
    betas = dict.fromkeys([*grid.globals_beta, *(float(cell.globals_beta) for cell in cells)])
    spaces = dict.fromkeys(cell.latent_space for cell in cells)
    return Grid.model_validate({"latent_space": list(spaces), "globals_beta": list(betas)})


def runs_of(evidence: Results, cells: list[Cell]) -> pd.DataFrame:
    """Return the rows of the summary that belong to `cells`."""
    columns = list(Cell._fields)
    chosen = [Cell(*row) in cells for row in evidence.table[columns].itertuples(index=False)]
    return evidence.table[chosen]
