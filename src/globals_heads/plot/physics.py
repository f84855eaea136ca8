"""Figures in physics units: the chain of baselines, MET response, residuals of objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from globals_heads.compare.comparison import read_cells
from globals_heads.compare.statistics import estimate
from globals_heads.plot.style import (
    BASELINES,
    COLORS,
    baseline_handles,
    cell_handles,
    dodge,
    draw_intervals,
    draw_seeds,
    finished_runs,
    intervals_text,
    legend,
    log_scale,
    marker_of,
    save,
    weight_handles,
)
from globals_heads.settings import Grid, LatentSpace, PlotSettings, format_beta
from globals_heads.tables import read_facts, read_grid_rows, read_runs

# Of the chain: column of the globals error, what it is called, and the column in GeV.
SOURCES = {
    "reco_objects": ("reco_objects_rec_globals", "L: linear fit on\nreconstructed objects"),
    "probe": ("probe_rec_globals", "G: ridge probe on\npooled latents"),
    "head": ("rec_globals", "H: trained head"),
}
CHAIN = ("training_mean", "minus_sum_pt", "linear_fit", *SOURCES, "globals_only_network")
BINNED = {
    "met_response": "response\nmean($u_\\parallel$) / mean(|t|)",
    "met_parallel_sigma68_over_response": ("$\\sigma_{68}(u_\\parallel - |t|)$\n/ response (GeV)"),
    "met_perpendicular_sigma68_over_response": "$\\sigma_{68}(u_\\perp)$\n/ response (GeV)",
}
DPHI = "met_dphi_sigma68"
# The training mean has no response, and so nothing that could be divided by it.
MET_BASELINES = ("minus_sum_pt", "linear_fit", "globals_only_network")
RESIDUALS = {
    "energy_relative": "E, relative",
    "pt_relative": "$p_T$, relative",
    "eta": "$\\eta$",
    "phi": "$\\phi$ (rad)",
}


def plot_chain(
    grid: Grid, summary: Path, comparison: Path, output: Path, settings: PlotSettings
) -> None:
    """Draw what is missing of MET, in GeV, from the training mean to the best network.

    Baselines are bars; runs are points above L, G and H.

    Parameters
    ----------
    grid
        The axes.
    summary
        results/summary.csv, for the runs and the baselines.
    comparison
        results/comparison.csv, for the intervals.
    output
        The .svg to make.
    settings
        How it looks.
    """
    table = read_grid_rows(summary, grid)
    first = table.iloc[0]
    # One scale of the training split turns normalised errors into GeV.
    scale = first["linear_fit_met_component_rms_gev"] / np.sqrt(first["linear_fit_rec_globals"])
    figure, axes = plt.subplots(figsize=(10.5, 5))
    numbers = []
    for x, step in enumerate(CHAIN):
        if step in BASELINES:
            value = float(first[f"{step}_met_component_rms_gev"])
            axes.bar(x, value, width=0.6, color="lightgrey")
            axes.text(x, value, f"{value:.1f}", ha="center", va="bottom", fontsize="small")
            numbers.append({"step": step, "mean": value})
            continue
        column = SOURCES[step][0]
        cells = read_cells(comparison, column)
        in_gev = scale * np.sqrt(cells[["mean", "low", "high"]].clip(lower=0))
        for i, (space, beta) in enumerate(cells_of(grid)):
            runs = table[(table["latent_space"] == space) & (table["globals_beta"] == beta)]
            place = x + dodge(i, len(cells_of(grid)), 0.8)
            hollow = step == "head" and float(beta) == 0
            values = scale * np.sqrt(runs[column].to_numpy(dtype=float))
            draw_seeds(axes, place, values, COLORS[space], marker_of(grid, beta), hollow=hollow)
            draw_intervals(axes, np.array([place]), in_gev.loc[[(space, beta)]], COLORS[space])
        numbers += in_gev.assign(step=step, n=cells["n"]).reset_index().to_dict("records")
    axes.axhline(
        first["linear_fit_met_component_rms_gev"], color="grey", linestyle="--", linewidth=1
    )
    names = {step: label for step, (_, label) in SOURCES.items()} | {
        "training_mean": "training mean",
        "minus_sum_pt": "$-\\Sigma\\,p_T$",
        "linear_fit": "one-parameter\nlinear fit",
        "globals_only_network": "network for the\nglobals alone",
    }
    axes.set_xticks(range(len(CHAIN)), [names[step] for step in CHAIN])
    axes.tick_params(axis="x", labelsize="small")
    axes.set(ylabel="RMS residual of a MET component (GeV)", ylim=(0, None))
    axes.set_title(f"test split; {intervals_text(cells['n'])}; hollow: head never trained")
    legend(figure, cell_handles(grid), table, 6)
    save(figure, pd.DataFrame(numbers), output, settings)


def plot_met(
    grid: Grid, summary: Path, results: Path, baselines: Path, output: Path, settings: PlotSettings
) -> None:
    """Draw response and resolutions of the ridge probe in bins of the true MET, and its angle.

    Parameters
    ----------
    grid
        The axes.
    summary
        results/summary.csv, for the status of each run.
    results
        The folder of the study's results.
    baselines
        Facts of the data set.
    output
        The .svg to make.
    settings
        How it looks.
    """
    table = read_grid_rows(summary, grid)
    facts = read_runs(grid, table, results, "test")
    probe = facts[facts["group"].str.startswith("probe")]
    cells = seed_means(probe[probe["metric"].isin([*BINNED, DPHI])])
    known = read_facts(baselines)
    groups = known.loc[known["group"].str.startswith("linear_fit:"), "group"]
    bins = list(groups.str.partition(":")[2].unique())
    values = known.set_index(["metric", "group"])["value"]
    edges = [name.split("-") for name in bins]
    betas = [format_beta(beta) for beta in grid.globals_beta]
    figure, panels = plt.subplots(
        len(BINNED) + 1,
        len(grid.latent_space),
        figsize=(max(8, 1.3 + 3.1 * len(grid.latent_space)), 11),
        sharey="row",
        squeeze=False,
    )
    for column, space in enumerate(grid.latent_space):
        for axes, metric in zip(panels[:, column], [*BINNED, DPHI], strict=True):
            suffixes = [f":{name}" for name in bins] if metric in BINNED else [""]
            for i, beta in enumerate(betas):
                x = np.arange(len(suffixes)) + dodge(i, len(betas), 0.5)
                if metric == DPHI:
                    x = np.array([float(i)])
                part = cells.reindex([(space, beta, metric, f"probe{s}") for s in suffixes])
                line = "-" + marker_of(grid, beta)
                axes.plot(x, part["mean"], line, color=COLORS[space], lw=0.8, ms=4.5)
                draw_intervals(axes, x, part, COLORS[space])
            draw_known(axes, values, metric, suffixes)
        panels[0, column].set_title(f"latent_space {space}")
        for axes in panels[: len(BINNED), column]:
            names = [f"> {low}" if high == "inf" else f"{low}-{high}" for low, high in edges]
            axes.set_xticks(range(len(bins)), names, rotation=30, fontsize="small")
            axes.set_xlim(-0.5, len(bins) - 0.5)
        panels[len(BINNED) - 1, column].set_xlabel("true MET (GeV)")
        panels[-1, column].set_xticks(range(len(betas)), betas)
        panels[-1, column].set(xlabel="globals_beta", xlim=(-0.5, len(betas) - 0.5))
    for axes, label in zip(panels[:, 0], BINNED.values(), strict=False):
        axes.set_ylabel(label)
    for axes in panels[1 : len(BINNED)].flat:
        log_scale(axes, "y")
    panels[-1, 0].set_ylabel("$\\sigma_{68}(\\Delta\\phi)$ (rad)\n|t| > 50 GeV")
    n = intervals_text(finished_runs(grid, table))
    figure.suptitle(f"ridge probe on the pooled latents, test split\n{n}")
    handles = [*weight_handles(grid), *baseline_handles(*MET_BASELINES)]
    legend(figure, handles, table, 3)
    save(figure, cells.reset_index(), output, settings)


def draw_known(axes: Axes, known: "pd.Series[float]", metric: str, suffixes: Sequence[str]) -> None:
    """Draw the baselines as grey lines: over bins, whose groups end in `suffixes`, or level."""
    for name in MET_BASELINES:
        line: dict[str, Any] = {"color": "grey", "linestyle": BASELINES[name][1], "zorder": 0}
        heights = [known.get((metric, name + suffix), np.nan) for suffix in suffixes]
        if len(heights) == 1:
            axes.axhline(heights[0], **line)
        else:
            axes.plot(range(len(heights)), heights, **line)


def seed_means(facts: pd.DataFrame) -> pd.DataFrame:
    """Return n, mean, low and high over the seeds, by latent space, weight, metric and group.

    The intervals are those of other seeds on the same test events.
    """
    columns = ["latent_space", "globals_beta", "metric", "group"]
    rows = {}
    for key, values in facts.groupby(columns, sort=False)["value"]:
        over_seeds = estimate(values.to_numpy(dtype=float))
        rows[key] = (over_seeds.num_seeds, over_seeds.mean, *over_seeds.interval())
    index = pd.MultiIndex.from_tuples(list(rows), names=columns)
    return pd.DataFrame(rows.values(), index=index, columns=["n", "mean", "low", "high"])


def plot_residuals(
    grid: Grid, summary: Path, results: Path, output: Path, settings: PlotSettings
) -> None:
    """Draw sigma68 of the objects' residuals per cell, above for all objects, below by their type.

    Parameters
    ----------
    grid
        The axes.
    summary
        results/summary.csv, for the status of each run.
    results
        The folder of the study's results.
    output
        The .svg to make.
    settings
        How it looks.
    """
    table = read_grid_rows(summary, grid)
    facts = read_runs(grid, table, results, "test")
    facts = facts[facts["metric"] == "token_sigma68"]
    cells = seed_means(facts[facts["group"].str.startswith(tuple(RESIDUALS))])
    types = [g.partition(":")[2] for g in facts["group"].unique() if g.startswith("eta:")]
    betas = [format_beta(beta) for beta in grid.globals_beta]
    figure, panels = plt.subplots(
        len(RESIDUALS), 2, figsize=(11, 11), sharey="row", width_ratios=[1, 2.2]
    )
    for (left, right), (quantity, label) in zip(panels, RESIDUALS.items(), strict=True):
        for i, (space, beta) in enumerate(cells_of(grid)):
            x = betas.index(beta) + dodge(grid.latent_space.index(space), len(grid.latent_space))
            of_cell = (facts["latent_space"] == space) & (facts["globals_beta"] == beta)
            seeds = facts.loc[of_cell & (facts["group"] == quantity), "value"]
            draw_seeds(left, x, seeds.to_numpy(dtype=float), COLORS[space], marker_of(grid, beta))
            places = np.arange(len(types)) + dodge(i, len(cells_of(grid)), 0.8)
            part = cells.reindex([(space, beta, "token_sigma68", f"{quantity}:{t}") for t in types])
            marker = marker_of(grid, beta)
            right.plot(places, part["mean"], marker, color=COLORS[space], markersize=3.5)
            draw_intervals(right, places, part, COLORS[space])
            whole = cells.reindex([(space, beta, "token_sigma68", quantity)])
            draw_intervals(left, np.array([x]), whole, COLORS[space])
        left.set_ylabel(f"$\\sigma_{{68}}$ of {label}")
        left.set(xticks=range(len(betas)), xticklabels=betas)
        for axes in (left, right):
            log_scale(axes, "y")
        right.set_xticks(range(len(types)), types)
    panels[0, 0].set_title("all objects")
    panels[0, 1].set_title("by object type, mean of the seeds")
    panels[-1, 0].set_xlabel("globals_beta")
    panels[-1, 1].set_xlabel("object type")
    n = intervals_text(finished_runs(grid, table))
    figure.suptitle(f"reconstructed minus true, test split\n{n}")
    legend(figure, cell_handles(grid), table, 6)
    save(figure, cells.reset_index(), output, settings)


def cells_of(grid: Grid) -> list[tuple[LatentSpace, str]]:
    """Return latent space and weight of all cells, latent space by latent space."""
    betas = [format_beta(beta) for beta in grid.globals_beta]
    return [(space, beta) for space in grid.latent_space for beta in betas]
