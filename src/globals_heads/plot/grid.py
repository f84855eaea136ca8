"""Figures of the grid as a whole: heat maps, and what the tokens pay for the globals."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from globals_heads.arrays import Array
from globals_heads.compare.results import LABELS
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.style import (
    BAR,
    BASELINES,
    Drawing,
    arms,
    baseline_handles,
    cell_handles,
    cells_of,
    count_runs,
    hatch,
    intervals_text,
    legend,
    log_scale,
    size,
)
from globals_heads.settings import format_beta

TITLES = {
    "rec_tokens": f"{LABELS['rec_tokens']}, geometric mean\nMSE of normalised features, test split",
    **{
        name: f"{LABELS[name]}, mean\nNMSE of MET components, test split"
        for name in ("probe_rec_globals", "rec_globals", "reco_objects_rec_globals")
    },
    "val_loss": "validation loss at the best epoch, geometric mean\n"
    "with globals_beta: compare within a row",
}
WHITE = (1.0, 1.0, 1.0, 1.0)
# In axes of a fixed size, more rows than this have room for one line of text each, more columns
# for half an interval, and more cells for smaller text.
MAX_HIGH_ROWS, MAX_WIDE_COLUMNS, MAX_LARGE_CELLS = 5, 3, 9
# Baselines that need no network.
LIMITS = ("training_mean", "minus_sum_pt", "linear_fit")


def heatmap(inputs: Inputs, metric: str) -> Drawing:
    """Draw one metric over the grid: rows are globals_beta, columns are latent spaces."""
    rows, columns = len(inputs.grid.globals_beta), len(inputs.grid.latent_space)
    figsize = size(max(5.5, 1.6 + 1.9 * columns), max(3.2, 1.4 + 0.95 * rows))
    figure, axes = plt.subplots(figsize=figsize)
    numbers = draw_cells(axes, inputs, metric)
    axes.set_title(TITLES[metric])
    if numbers["mean"].count() > 1:
        label = "lowest to highest of a row" if metric == "val_loss" else ""
        figure.colorbar(axes.images[0], label=label).outline.set_visible(False)
    legend(figure, [], inputs.summary, 1)
    return figure, numbers


def draw_cells(axes: Axes, inputs: Inputs, metric: str, *, small: bool = False) -> pd.DataFrame:
    """Draw one metric over the grid as coloured cells with numbers; return the numbers.

    `small` is for axes of a fixed size, where many cells leave less room for words.
    """
    grid, table, cells = inputs.grid, inputs.summary, inputs.cells(metric)
    rows, columns = [format_beta(b) for b in grid.globals_beta], list(grid.latent_space)
    places = pd.MultiIndex.from_product([columns, rows])
    values = cells["mean"].reindex(places).to_numpy().reshape(len(columns), len(rows)).T
    # The validation loss contains globals_beta, so its rows are not compared with each other.
    colors = scaled_by_row(values) if metric == "val_loss" else values.copy()
    if metric == "rec_globals":  # heads without weight are not compared with trained ones
        colors[[beta == 0 for beta in grid.globals_beta]] = np.nan
    low_rows = small and len(rows) > MAX_HIGH_ROWS
    finite = colors[np.isfinite(colors)]
    wide = finite.size > 0 and finite.max() > 10 * finite.min() > 0
    image = axes.imshow(
        np.ma.masked_invalid(colors),
        cmap=inputs.settings.colormap,
        norm=LogNorm() if wide else Normalize(),
        aspect="auto",
    )
    for cell, (j, i) in zip(cells_of(grid), np.ndindex(values.T.shape), strict=True):
        color, status = colors[i, j], cell.of(table)["status"]
        others = status[status != "ok"].value_counts()
        mean, interval, *rest = cell_text(*cells.loc[[cell.key]].to_numpy(dtype=float)[0])
        if small:
            rest = rest[:-1]
            if len(columns) > MAX_WIDE_COLUMNS:
                interval = "" if low_rows else interval.replace(", ", ",\n")
        lines = [line for line in (mean, interval, *rest) if line]
        lines += [f"{number} {word}" for word, number in others.items()]
        if metric == "rec_globals" and float(cell.globals_beta) == 0:
            lines.append("(head never trained)")
        face = image.cmap(image.norm(color)) if math.isfinite(color) else WHITE
        ink = "white" if sum(face[:3]) < 1.5 else "black"
        if len(others):
            hatch(axes, (j - 0.5, i - 0.5), axes.transData, ink)
        axes.text(
            j,
            i,
            (" " if low_rows else "\n").join(lines),
            ha="center",
            va="center",
            fontsize="x-small" if small and len(colors.flat) > MAX_LARGE_CELLS else "small",
            color=ink,
            # Words stay readable on hatches.
            bbox={"facecolor": face, "edgecolor": "none", "pad": 2} if len(others) else None,
        )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="latent_space", ylabel="globals_beta")
    axes.spines[:].set_visible(False)
    counts = {status: count_runs(table, status) for status in ("diverged", "missing")}
    return cells.join(pd.DataFrame(counts)).reset_index()


def cell_text(n: float, mean: float, low: float, high: float) -> list[str]:
    """Return mean, interval, power of ten and number of seeds of a cell; empty what is not known.

    The power of ten belongs to the mean and to the interval.
    """
    if n == 0:
        return [""] * 4
    exponent = math.floor(math.log10(mean)) if 0 < mean < 0.01 else 0
    shown = [f"{number / 10**exponent:#.3g}".rstrip(".") for number in (mean, low, high)]
    return [
        shown[0],
        f"[{shown[1]}, {shown[2]}]" if math.isfinite(low) else "",
        f"$\\times 10^{{{exponent}}}$" if exponent else "",
        f"n = {n:.0f}",
    ]


def scaled_by_row(values: Array) -> Array:
    """Return 0 at each row's lowest and 1 at its highest value, logarithmic between them."""
    logs = np.log(values)
    low, high = (f.reduce(logs, axis=1, keepdims=True) for f in (np.fmin, np.fmax))
    scaled: Array = (logs - low) / np.where(high > low, high - low, 1)
    return scaled


def tradeoff(inputs: Inputs) -> Drawing:
    """Draw rec_tokens against the globals errors of ridge probe and reconstructed objects."""
    grid, table = inputs.grid, inputs.summary
    tokens = inputs.cells("rec_tokens").drop(columns="n")
    titles = {
        "probe_rec_globals": "ridge probe on the\npooled latents (G)",
        "reco_objects_rec_globals": "linear fit on the\nreconstructed objects (L)",
    }
    figure, panels = plt.subplots(1, 2, figsize=size(10, 5), sharex=True, sharey=True)
    numbers = []
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        axes.set(xlabel=f"{LABELS['rec_tokens']}\nMSE of normalised features", title=title)
        errors = inputs.cells(column)
        numbers.append(tokens.add_prefix("rec_tokens_").join(errors).assign(metric=column))
        for cell in cells_of(grid):
            runs, x, y = cell.of(table), tokens.loc[[cell.key]], errors.loc[[cell.key]]
            color, marker = cell.color, cell.marker
            axes.plot(runs["rec_tokens"], runs[column], marker, ms=5.5, alpha=0.6, color=color)
            axes.errorbar(x["mean"], y["mean"], arms(y), arms(x), ecolor=color, **BAR)
        for name in LIMITS:
            height, line = table[f"{name}_rec_globals"].iloc[0], BASELINES[name][1]
            axes.axhline(height, color="grey", linestyle=line, linewidth=1, zorder=0)
    for axes in panels:
        log_scale(axes, "x")
    panels[0].set_ylabel("globals error, NMSE of MET components")
    figure.suptitle(f"test split; {intervals_text(errors['n'])}")
    legend(figure, [*cell_handles(grid), *baseline_handles(*LIMITS)], table, 5)
    return figure, pd.concat(numbers).reset_index()
