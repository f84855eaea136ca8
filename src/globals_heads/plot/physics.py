"""Figures in physics units: the chain of baselines, MET response, residuals of objects."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from globals_heads.compare.statistics import estimate
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.style import (
    BASELINES,
    Drawing,
    baseline_handles,
    cell_handles,
    cells_of,
    count_runs,
    dodge,
    draw_means,
    draw_seeds,
    intervals_text,
    legend,
    log_scale,
    size,
    weight_handles,
)
from globals_heads.settings import format_beta

# Steps of the chain: baselines, and name and column of the globals error of what runs measure.
CHAIN: dict[str, tuple[str, str] | None] = {
    "training_mean": None,
    "minus_sum_pt": None,
    "linear_fit": None,
    "reco_objects": ("linear fit on recon-\nstructed objects (L)", "reco_objects_rec_globals"),
    "probe": ("ridge probe on\npooled latents (G)", "probe_rec_globals"),
    "head": ("trained head (H)", "rec_globals"),
    "globals_only_network": None,
}
BINNED = {
    "met_response": "response\nmean($u_\\parallel$) / mean(|t|)",
    "met_parallel_sigma68_over_response": ("$\\sigma_{68}(u_\\parallel - |t|)$\n/ response (GeV)"),
    "met_perpendicular_sigma68_over_response": "$\\sigma_{68}(u_\\perp)$\n/ response (GeV)",
}
DPHI = "met_dphi_sigma68"
# The training mean has the response 0, by which nothing can be divided.
MET_BASELINES = ("minus_sum_pt", "linear_fit", "globals_only_network")
RESIDUALS = {
    "energy_relative": "E, relative",
    "pt_relative": "$p_T$, relative",
    "eta": "$\\eta$",
    "phi": "$\\phi$ (rad)",
}


def chain(inputs: Inputs) -> Drawing:
    """Draw the residual of MET in GeV: baselines as bars, runs as points.

    Runs have three: from their reconstructed objects, from their latents, and of their head.
    """
    grid, table = inputs.grid, inputs.summary
    first, looks = table.iloc[0], cells_of(grid)
    limit = first["linear_fit_met_component_rms_gev"]
    # One scale of the training split turns normalised errors into GeV.
    scale = limit / np.sqrt(first["linear_fit_rec_globals"])
    figure, axes = plt.subplots(figsize=size(10.5, 5))
    names, numbers = [], []
    for x, (step, shown) in enumerate(CHAIN.items()):
        if shown is None:
            names.append(textwrap.fill(BASELINES[step][0], 16))
            value = float(first[f"{step}_met_component_rms_gev"])
            axes.bar(x, value, width=0.6, color="lightgrey")
            axes.text(x, value, f"{value:.1f}", ha="center", va="bottom", fontsize="small")
            numbers.append({"step": step, "mean": value})
            continue
        name, column = shown
        names.append(name)
        cells = inputs.cells(column)
        in_gev = scale * np.sqrt(cells[["mean", "low", "high"]].clip(lower=0))
        for i, cell in enumerate(looks):
            place = x + dodge(i, len(looks), 0.8)
            hollow = step == "head" and float(cell.globals_beta) == 0
            values = scale * np.sqrt(cell.of(table)[column].to_numpy(dtype=float))
            draw_seeds(axes, place, values, cell.color, cell.marker, hollow=hollow)
            draw_means(axes, np.array([place]), in_gev.loc[[cell.key]], cell.color)
        numbers += in_gev.assign(step=step, n=cells["n"]).reset_index().to_dict("records")
    axes.axhline(limit, color="grey", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(CHAIN)), names)
    axes.tick_params(axis="x", labelsize="small")
    axes.set(ylabel="RMS residual of a MET component (GeV)", ylim=(0, None))
    axes.set_title(f"test split; {intervals_text(cells['n'])}; hollow: head never trained")
    legend(figure, cell_handles(grid), table, 6)
    return figure, pd.DataFrame(numbers)


def met(inputs: Inputs) -> Drawing:
    """Draw response and resolutions of the ridge probe in bins of the true MET, and its angle."""
    grid, table, facts = inputs.grid, inputs.summary, inputs.facts("test")
    probe = facts[facts["group"].str.startswith("probe")]
    cells = seed_means(probe[probe["metric"].isin([*BINNED, DPHI])])
    known = inputs.baseline_facts()
    groups = known.loc[known["group"].str.startswith("linear_fit:"), "group"]
    bins = list(groups.str.partition(":")[2].unique())
    values = known.set_index(["metric", "group"])["value"]
    figure, panels = plt.subplots(
        len(BINNED) + 1,
        len(grid.latent_space),
        figsize=size(max(8, 1.3 + 3.1 * len(grid.latent_space)), 11),
        sharey="row",
        squeeze=False,
    )
    betas = [format_beta(beta) for beta in grid.globals_beta]
    for column, space in enumerate(grid.latent_space):
        looks = [cell for cell in cells_of(grid) if cell.latent_space == space]
        for axes, metric in zip(panels[:, column], [*BINNED, DPHI], strict=True):
            suffixes = [f":{name}" for name in bins] if metric in BINNED else [""]
            for i, cell in enumerate(looks):
                x = np.arange(len(suffixes)) + dodge(i, len(betas), 0.5)
                if metric == DPHI:
                    x = np.array([float(i)])
                part = cells.reindex([(*cell.key, metric, f"probe{s}") for s in suffixes])
                draw_means(axes, x, part, cell.color, "-" + cell.marker, lw=0.8, ms=4.5)
            draw_baselines(axes, values, metric, suffixes)
        panels[0, column].set_title(f"latent_space {space}")
        for axes in panels[: len(BINNED), column]:
            edges = [name.split("-") for name in bins]
            names = [f"> {low}" if high == "inf" else f"{low}-{high}" for low, high in edges]
            axes.set_xticks(range(len(bins)), names, rotation=30, fontsize="small")
            axes.set_xlim(-0.5, len(bins) - 0.5)
        panels[len(BINNED) - 1, column].set_xlabel("true MET (GeV)")
        panels[-1, column].set_xticks(range(len(betas)), betas)
        panels[-1, column].set(xlabel="globals_beta", xlim=(-0.5, len(betas) - 0.5))
    angle = "$\\sigma_{68}(\\Delta\\phi)$ (rad)\ntrue MET > 50 GeV"
    for axes, label in zip(panels[:, 0], [*BINNED.values(), angle], strict=True):
        axes.set_ylabel(label)
    for axes in panels[1 : len(BINNED)].flat:
        log_scale(axes, "y")
    n = intervals_text(count_runs(table, "ok"))
    figure.suptitle(f"ridge probe on the pooled latents, test split\n{n}")
    legend(figure, [*weight_handles(grid), *baseline_handles(*MET_BASELINES)], table, 3)
    return figure, cells.reset_index()


def draw_baselines(axes: Axes, known: "pd.Series[float]", metric: str, suffixes: list[str]) -> None:
    """Draw the baselines as grey lines: over bins, whose groups end in `suffixes`, or level."""
    for name in MET_BASELINES:
        line = BASELINES[name][1]
        heights = [known.get((metric, name + suffix), np.nan) for suffix in suffixes]
        if len(heights) == 1:
            axes.axhline(heights[0], color="grey", linestyle=line, zorder=0)
        else:
            axes.plot(range(len(heights)), heights, color="grey", linestyle=line, zorder=0)


def residuals(inputs: Inputs) -> Drawing:
    """Draw sigma68 of the objects' residuals per cell: left all objects, right by their type."""
    grid, table, facts = inputs.grid, inputs.summary, inputs.facts("test")
    facts = facts[facts["metric"] == "token_sigma68"]
    cells = seed_means(facts[facts["group"].str.startswith(tuple(RESIDUALS))])
    types = [g.partition(":")[2] for g in facts["group"].unique() if g.startswith("eta:")]
    betas, looks = [format_beta(beta) for beta in grid.globals_beta], cells_of(grid)
    figure, panels = plt.subplots(
        len(RESIDUALS), 2, figsize=size(11, 11), sharey="row", width_ratios=[1, 2.2]
    )
    for (left, right), (quantity, label) in zip(panels, RESIDUALS.items(), strict=True):
        for i, cell in enumerate(looks):
            side = grid.latent_space.index(cell.latent_space)
            x = betas.index(cell.globals_beta) + dodge(side, len(grid.latent_space))
            seeds = cell.of(facts[facts["group"] == quantity])["value"].to_numpy(dtype=float)
            draw_seeds(left, x, seeds, cell.color, cell.marker)
            key = (*cell.key, "token_sigma68")
            draw_means(left, np.array([x]), cells.reindex([(*key, quantity)]), cell.color)
            places = np.arange(len(types)) + dodge(i, len(looks), 0.8)
            part = cells.reindex([(*key, f"{quantity}:{name}") for name in types])
            draw_means(right, places, part, cell.color, cell.marker, ms=3.5)
        left.set_ylabel(f"$\\sigma_{{68}}$ of {label}")
        left.set(xticks=range(len(betas)), xticklabels=betas)
        for axes in (left, right):
            log_scale(axes, "y")
        right.set_xticks(range(len(types)), types)
    panels[0, 0].set_title("all objects")
    panels[0, 1].set_title("by object type, mean of the seeds")
    panels[-1, 0].set_xlabel("globals_beta")
    panels[-1, 1].set_xlabel("object type")
    n = intervals_text(count_runs(table, "ok"))
    figure.suptitle(f"reconstructed minus true, test split\n{n}")
    legend(figure, cell_handles(grid), table, 6)
    return figure, cells.reset_index()


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
