"""Figures of the variants: the grid with another latent_dim, or trained in another way."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from globals_heads.arrays import Array
from globals_heads.compare.results import GLOBALS, LABELS, TOKENS, Cell, Results
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.style import (
    COLORS,
    LINES,
    MARKERS,
    Drawing,
    Line,
    cell_handles,
    cells_of,
    dodge,
    draw_means,
    draw_seeds,
    intervals_text,
    legend,
    log_scale,
    size,
)
from globals_heads.settings import Grid

# Metric: label of its axis.
AXES = {
    TOKENS: f"{LABELS['rec_tokens']}\nMSE of normalised features",
    GLOBALS: f"{LABELS[GLOBALS]}\nNMSE of MET components",
}


def latent_dim(inputs: Inputs) -> Drawing:
    """Draw token and globals error against latent_dim, one line per cell.

    Variants that change more than latent_dim are left out.
    """
    grid, measured = inputs.axes, inputs.measured()
    names = [name for name, variant in grid.variants.items() if variant.only_latent_dim]
    plain = {cell._replace(variant="") for cell in measured.statuses if cell.variant in names}
    cells = [
        cell
        for cell in measured.statuses
        if cell.variant in ["", *names] and cell._replace(variant="") in plain
    ]
    numbers = numbers_of(measured, cells)
    shown = axes_of(grid, cells)
    looks = {cell.key: cell for cell in cells_of(shown)}
    keys = list(dict.fromkeys((cell.latent_space, cell.globals_beta) for cell in cells))
    figure, panels = plt.subplots(1, len(AXES), figsize=size(10, 4.8))
    for axes, (metric, label) in zip(panels, AXES.items(), strict=True):
        for i, key in enumerate(keys):
            part = looks[key].of(numbers[numbers["metric"] == metric]).sort_values("latent_dim")
            # Lines side by side, on an axis that doubles.
            x = (part["latent_dim"] * 2 ** dodge(i, len(keys), 0.25)).to_numpy()
            draw_line(axes, x, part, measured, looks[key].color, looks[key].marker, "-")
        dims = sorted(numbers["latent_dim"].dropna().unique())
        if dims:
            axes.set_xscale("log", base=2)
        axes.set_xticks(dims, [f"{dim:.0f}" for dim in dims])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="latent_dim", ylabel=label)
        if metric == TOKENS or not dims:
            log_scale(axes, "y")
    figure.suptitle(f"test split; {intervals_text(numbers['n'])}")
    legend(figure, cell_handles(shown), runs_of(measured, cells), 6)
    return figure, numbers


def variants(inputs: Inputs) -> Drawing:
    """Draw token error, globals error and the price of the globals head for all variants.

    The price is ln rec_tokens at the largest globals_beta minus that at the smallest, paired by
    seed and test event.
    """
    measured = inputs.measured()
    spaces = list(dict.fromkeys(c.latent_space for c in measured.statuses if c.variant))
    cells = [cell for cell in measured.statuses if cell.latent_space in spaces]
    numbers = numbers_of(measured, cells)
    betas = sorted(numbers["globals_beta"].unique(), key=float)
    looks = {
        name: (MARKERS[i % 13], LINES[i % 4]) for i, name in enumerate(["", *inputs.axes.variants])
    }
    figure, panels = plt.subplots(
        len(spaces),
        3,
        figsize=size(13, 1.2 + 3.6 * len(spaces)),
        width_ratios=[1, 1, 0.8],
        squeeze=False,
    )
    prices = []
    for row, space in zip(panels, spaces, strict=True):
        of_space = numbers[numbers["latent_space"] == space]
        shown = {name: look for name, look in looks.items() if name in set(of_space["variant"])}
        for axes, (metric, label) in zip(row[:2], AXES.items(), strict=True):
            for i, (name, look) in enumerate(shown.items()):
                part = of_space[(of_space["variant"] == name) & (of_space["metric"] == metric)]
                x = (part["globals_beta"].map(betas.index) + dodge(i, len(shown), 0.3)).to_numpy()
                draw_line(axes, x, part, measured, COLORS[space], *look)
            axes.set_xticks(range(len(betas)), betas)
            axes.set(xlabel="globals_beta", ylabel=label, title=f"latent_space {space}")
        log_scale(row[0], "y")
        prices += draw_prices(row[2], measured, space, shown)
    figure.suptitle(f"test split; {intervals_text(numbers['n'])}")
    handles = [
        Line2D([], [], color="black", marker=marker, linestyle=line, label=name or "plain grid")
        for name, (marker, line) in looks.items()
    ]
    legend(figure, handles, runs_of(measured, cells), 5)
    return figure, pd.concat([numbers, pd.DataFrame(prices)])


def draw_prices(
    axes: Axes, measured: Results, space: str, looks: dict[str, tuple[str, Line]]
) -> list[dict[str, Any]]:
    """Draw what the largest globals_beta costs in ln rec_tokens; return one row per variant."""
    rows: list[dict[str, Any]] = []
    for x, (name, (marker, _)) in enumerate(looks.items()):
        cells = [cell for cell in measured.cells(name) if cell.latent_space == space]
        betas = sorted(cells, key=lambda cell: float(cell.globals_beta))
        if len(betas) < 2:
            continue
        tokens = measured.numbers[TOKENS]
        price = measured.contrast(TOKENS, {betas[-1]: 1.0, betas[0]: -1.0})
        draw_seeds(axes, x, tokens[betas[-1]] - tokens[betas[0]], COLORS[space], marker)
        row: dict[str, Any] = {"metric": "price", "latent_space": space, "variant": name}
        row |= {"n": price.num_seeds, "mean": price.mean, **price.interval()._asdict()}
        draw_means(axes, np.array([x]), pd.DataFrame([row]), COLORS[space])
        rows.append(row)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(looks)), [name or "plain" for name in looks])
    axes.tick_params(axis="x", labelsize="small", rotation=30)
    axes.set(xlim=(-0.5, len(looks) - 0.5), title="price of the largest globals_beta")
    axes.set_ylabel("ln rec_tokens (T): at the largest\nminus at the smallest globals_beta")
    return rows


def draw_line(
    axes: Axes,
    x: Array,
    part: pd.DataFrame,
    measured: Results,
    color: str,
    marker: str,
    line: Line,
) -> None:
    """Draw the means of some cells as a line, their seeds as points, their intervals as bars."""
    draw_means(axes, x, part, color, line, lw=0.9)
    keys = part[["metric", *Cell._fields]].to_numpy(dtype=str)
    for at, (metric, *cell) in zip(x, keys, strict=True):
        values = measured.numbers[metric][Cell(*cell)]
        draw_seeds(axes, at, np.exp(values) if metric == TOKENS else values, color, marker)


def numbers_of(measured: Results, cells: list[Cell]) -> pd.DataFrame:
    """Return n, mean, low and high of both metrics in `cells`; of ln rec_tokens as exponentials.

    `latent_dim` is that of the runs; it is NaN in a cell without runs.
    """
    rows = []
    for metric in AXES:
        for cell in cells:
            value = measured.contrast(metric, {cell: 1.0})
            numbers = {"mean": value.mean, **value.interval()._asdict()}
            if metric == TOKENS:
                numbers = {name: math.exp(number) for name, number in numbers.items()}
            dims = measured.numbers["latent_dim"][cell]
            known = dims[np.isfinite(dims)]
            rows.append(
                {"metric": metric, **cell._asdict()}
                | {"latent_dim": known[0] if len(known) else math.nan}
                | {"n": value.num_seeds, **numbers}
            )
    return pd.DataFrame(rows)


def axes_of(grid: Grid, cells: list[Cell]) -> Grid:
    """Return the axes of `cells`; a weight of `grid` keeps its place, and so its marker."""
    betas = dict.fromkeys([*grid.globals_beta, *(float(cell.globals_beta) for cell in cells)])
    spaces = dict.fromkeys(cell.latent_space for cell in cells)
    return Grid.model_validate({"latent_space": list(spaces), "globals_beta": list(betas)})


def runs_of(measured: Results, cells: list[Cell]) -> pd.DataFrame:
    """Return the rows of the summary that belong to `cells`."""
    columns = list(Cell._fields)
    chosen = [Cell(*row) in cells for row in measured.table[columns].itertuples(index=False)]
    return measured.table[chosen]
