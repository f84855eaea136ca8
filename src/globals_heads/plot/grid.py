"""Figures of the grid as a whole: heat maps, and what the tokens pay for the globals."""

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from globals_heads.arrays import Array
from globals_heads.compare.comparison import read_cells
from globals_heads.errors import UserError
from globals_heads.plot.style import (
    BAR,
    BASELINES,
    COLORS,
    arms,
    baseline_handles,
    cell_handles,
    hatch,
    intervals_text,
    legend,
    log_scale,
    marker_of,
    save,
)
from globals_heads.settings import Grid, PlotSettings, format_beta
from globals_heads.tables import read_grid_rows

# Column of the summary: title and whether colours compare whole maps or only cells of one row.
HEATMAPS = {
    "rec_tokens": ("T: rec_tokens\n(MSE of normalised features, test split)", "map"),
    "probe_rec_globals": (
        "G: globals error of a ridge probe on the pooled latents\n"
        "(NMSE of MET components, test split)",
        "map",
    ),
    "rec_globals": (
        "H: globals error of the trained head\n(NMSE of MET components, test split)",
        "map",
    ),
    "reco_objects_rec_globals": (
        "L: globals error left by the reconstructed objects\n(NMSE of MET components, test split)",
        "map",
    ),
    "val_loss": (
        "validation loss at the best epoch\n(contains globals_beta: compare within a row)",
        "row",
    ),
}
WHITE = (1.0, 1.0, 1.0, 1.0)
# Baselines that need no network.
LIMITS = ("training_mean", "minus_sum_pt", "linear_fit")


def plot_heatmap(
    grid: Grid, summary: Path, comparison: Path, metric: str, output: Path, settings: PlotSettings
) -> None:
    """Draw one metric over the grid: rows are globals_beta, columns are latent spaces.

    Parameters
    ----------
    grid
        The axes.
    summary
        results/summary.csv, for the status of each run.
    comparison
        results/comparison.csv, for means and intervals.
    metric
        A key of `HEATMAPS`.
    output
        The .svg to make.
    settings
        How it looks.
    """
    if metric not in HEATMAPS:
        raise UserError(
            f"There is no heat map of {metric!r}; choose one of {', '.join(HEATMAPS)} for --metric."
        )
    title, compare = HEATMAPS[metric]
    table, cells = read_grid_rows(summary, grid), read_cells(comparison, metric)
    rows, columns = [format_beta(b) for b in grid.globals_beta], list(grid.latent_space)
    places = pd.MultiIndex.from_product([columns, rows])
    values = cells["mean"].reindex(places).to_numpy().reshape(len(columns), len(rows)).T
    colors = scaled_by_row(values) if compare == "row" else values.copy()
    if metric == "rec_globals":  # heads without weight are not compared with trained ones
        colors[[beta == 0 for beta in grid.globals_beta]] = np.nan
    figure, axes = plt.subplots(
        figsize=(max(5.5, 1.6 + 1.9 * len(columns)), max(3.2, 1.4 + 0.95 * len(rows)))
    )
    finite = colors[np.isfinite(colors)]
    wide = finite.size > 0 and finite.max() > 10 * finite.min() > 0
    image = axes.imshow(
        np.ma.masked_invalid(colors),
        cmap=settings.colormap,
        norm=LogNorm() if wide else Normalize(),
        aspect="auto",
    )
    for (i, j), color in np.ndenumerate(colors):
        cell = table[(table["globals_beta"] == rows[i]) & (table["latent_space"] == columns[j])]
        lost = cell.loc[cell["status"] != "ok", "status"].value_counts()
        lines = cell_text(*cells.loc[[(columns[j], rows[i])]].to_numpy(dtype=float)[0])
        lines += [f"{number} {status}" for status, number in lost.items()]
        if metric == "rec_globals" and float(rows[i]) == 0:
            lines.append("(head never trained)")
        face = image.cmap(image.norm(color)) if math.isfinite(color) else WHITE
        ink = "white" if sum(face[:3]) < 1.5 else "black"
        if len(lost):
            hatch(axes, (j - 0.5, i - 0.5), axes.transData, ink)
        axes.text(
            j,
            i,
            "\n".join(lines),
            ha="center",
            va="center",
            fontsize="small",
            color=ink,
            # Words stay readable on hatches.
            bbox={"facecolor": face, "edgecolor": "none", "pad": 2} if len(lost) else None,
        )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="latent_space", ylabel="globals_beta")
    axes.set_title(title)
    axes.spines[:].set_visible(False)
    if finite.size > 1:
        bar = figure.colorbar(image, label="" if compare == "map" else "lowest to highest of a row")
        bar.outline.set_visible(False)
    legend(figure, [], table, 1)
    save(figure, numbers_of(cells, table), output, settings)


def cell_text(n: float, mean: float, low: float, high: float) -> list[str]:
    """Return mean, interval and number of seeds of a cell, one to a line."""
    if n == 0:
        return []
    exponent = math.floor(math.log10(mean)) if 0 < mean < 0.01 else 0
    unit = f" $\\times 10^{{{exponent}}}$" if exponent else ""
    shown = [f"{number / 10**exponent:#.3g}".rstrip(".") for number in (mean, low, high)]
    interval = [f"[{shown[1]}, {shown[2]}]{unit}"] if math.isfinite(low) else []
    return [shown[0] + unit, *interval, f"n = {n:.0f}"]


def numbers_of(cells: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of a heat map with the number of runs of each status."""
    lost = pd.DataFrame({status: table["status"] == status for status in ("diverged", "missing")})
    counts = lost.groupby([table["latent_space"], table["globals_beta"]]).sum()
    return cells.join(counts).reset_index()


def scaled_by_row(values: Array) -> Array:
    """Return 0 at each row's lowest and 1 at its highest value, logarithmic between them."""
    logs = np.log(values)
    low, high = (f.reduce(logs, axis=1, keepdims=True) for f in (np.fmin, np.fmax))
    scaled: Array = (logs - low) / np.where(high > low, high - low, 1)
    return scaled


def plot_tradeoff(
    grid: Grid, summary: Path, comparison: Path, output: Path, settings: PlotSettings
) -> None:
    """Draw rec_tokens against what the pooled latents, and the reconstructed objects, tell of MET.

    Parameters are those of `plot_heatmap`.
    """
    table = read_grid_rows(summary, grid)
    # The mean of ln T has an interval that a logarithmic axis can show.
    log_tokens = read_cells(comparison, "ln_rec_tokens")
    tokens = log_tokens[["mean", "low", "high"]].apply(np.exp)
    panels_by_column = {
        "probe_rec_globals": "G: ridge probe on the pooled latents",
        "reco_objects_rec_globals": "L: linear fit on the reconstructed objects",
    }
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), sharex=True, sharey=True)
    numbers = []
    for axes, (column, title) in zip(panels, panels_by_column.items(), strict=True):
        axes.set(xlabel="T = rec_tokens (MSE of normalised features)", title=title)
        errors = read_cells(comparison, column)
        numbers.append(tokens.add_prefix("rec_tokens_").join(errors).assign(metric=column))
        for space, beta in errors.index:
            runs = table[(table["latent_space"] == space) & (table["globals_beta"] == beta)]
            x, y = tokens.loc[[(space, beta)]], errors.loc[[(space, beta)]]
            look: dict[str, Any] = {"marker": marker_of(grid, beta), "color": COLORS[space]}
            axes.plot(runs["rec_tokens"], runs[column], ls="", ms=5.5, alpha=0.6, **look)
            axes.errorbar(x["mean"], y["mean"], arms(y), arms(x), ecolor=COLORS[space], **BAR)
        draw_baselines(axes, table)
    for axes in panels:
        log_scale(axes, "x")
    panels[0].set_ylabel("globals error (NMSE of MET components)")
    figure.suptitle(f"test split; {intervals_text(log_tokens['n'])}")
    handles = [*cell_handles(grid), *baseline_handles(*LIMITS)]
    legend(figure, handles, table, 5)
    save(figure, pd.concat(numbers).reset_index(), output, settings)


def draw_baselines(axes: Axes, table: pd.DataFrame) -> None:
    """Draw what needs no network as horizontal lines."""
    for name in LIMITS:
        value = table[f"{name}_rec_globals"].iloc[0]
        line = BASELINES[name][1]
        axes.axhline(value, color="grey", linestyle=line, linewidth=1, zorder=0)
