"""Figures in physics units: the chain of yardsticks, MET response, residuals of objects."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from globals_heads.compare.figures import COLORS, cell_legend, marker_of, save
from globals_heads.compare.summary import read_facts, read_summary
from globals_heads.facts import RunFolder
from globals_heads.settings import Grid, PlotSettings, RunKey, format_beta

YARDSTICKS = {
    "training_mean": "training mean",
    "minus_sum_pt": "$-\\Sigma\\,p_T$",
    "linear_fit": "one-parameter\nlinear fit",
    "globals_network": "network for the\nglobals alone",
}
SOURCES = {
    "survived": "L: linear fit on\nreconstructed objects",
    "probe": "G: ridge probe on\npooled latents",
    "head": "H: trained head",
}
RESIDUALS = {
    "energy_relative": "E (relative)",
    "pt_relative": "$p_T$ (relative)",
    "eta": "$\\eta$",
    "phi": "$\\phi$ (rad)",
}


def plot_chain(grid: Grid, summary: Path, output: Path, settings: PlotSettings) -> None:
    """Draw what is missing of MET, in GeV, from the training mean to the best network.

    Yardsticks are bars; runs are points above L, G and H.
    """
    table = read_summary(summary)
    steps = ["training_mean", "minus_sum_pt", "linear_fit", *SOURCES, "globals_network"]
    columns = {step: f"{step}_met_component_rms_gev" for step in steps}
    columns["head"] = "met_component_rms_gev"
    figure, axes = plt.subplots(figsize=(10, 4.6))
    numbers = []
    for x, step in enumerate(steps):
        if step in YARDSTICKS:
            value = float(table[columns[step]].iloc[0])
            axes.bar(x, value, width=0.6, color="lightgrey")
            axes.text(x, value, f"{value:.1f}", ha="center", va="bottom", fontsize="small")
            numbers.append({"step": step, "run": "", "met_component_rms_gev": value})
            continue
        values = table.set_index("run")[columns[step]].to_dict()
        for key in grid.runs:
            value = values[key.name]
            numbers.append({"step": step, "run": key.name, "met_component_rms_gev": value})
            draw_run(axes, grid, key, x + place_of(grid, key), value, hollow=step == "head")
    axes.set_xticks(range(len(steps)), [(YARDSTICKS | SOURCES)[step] for step in steps])
    axes.tick_params(axis="x", labelsize="small")
    axes.set(ylabel="RMS residual of a MET component (GeV)", ylim=(0, None))
    axes.set_title("test split; hollow: head never trained")
    cell_legend(figure, grid)
    save(figure, pd.DataFrame(numbers), output, settings)


def plot_met(grid: Grid, runs: Path, output: Path, settings: PlotSettings) -> None:
    """Draw the response and the corrected resolutions of the ridge probe in bins of true MET."""
    metrics = {
        "met_response": "response, mean($u_\\parallel$) / mean(|t|)",
        "met_parallel_sigma68_over_response": "$\\sigma_{68}(u_\\parallel - |t|)$ / response (GeV)",
        "met_perpendicular_sigma68_over_response": "$\\sigma_{68}(u_\\perp)$ / response (GeV)",
    }
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.2))
    facts = pd.concat(read_facts(RunFolder(runs / k.name).metrics("test"), k) for k in grid.runs)
    chosen = facts[facts["metric"].isin(metrics) & facts["group"].str.startswith("probe:")]
    numbers = chosen.assign(
        bin=chosen["group"].str.removeprefix("probe:"),
        cell=chosen["latent_space"] + " " + chosen["globals_beta"],
    )
    bins = sorted(numbers["bin"].unique(), key=lambda name: float(name.split("-")[0]))
    for axes, (metric, label) in zip(panels, metrics.items(), strict=True):
        means = numbers[numbers["metric"] == metric].groupby(["cell", "bin"])["value"].mean()
        for key in grid.runs[: len(grid.latent_space) * len(grid.globals_beta)]:
            style = f"-{marker_of(grid, format_beta(key.globals_beta))}"
            line = [means.get((cell_of(key), name), np.nan) for name in bins]
            axes.plot(range(len(bins)), line, style, color=COLORS[key.latent_space], alpha=0.8)
        axes.set_xticks(range(len(bins)), [name.replace("-inf", "-") for name in bins], rotation=30)
        axes.set(xlabel="true MET (GeV)", ylabel=label)
    panels[0].axhline(1, color="grey", linestyle=":")
    cell_legend(figure, grid)
    figure.suptitle("ridge probe on the pooled latents, test split")
    save(figure, numbers, output, settings)


def plot_residuals(grid: Grid, runs: Path, output: Path, settings: PlotSettings) -> None:
    """Draw sigma68 of the objects' residuals per cell, one panel per quantity, seeds as points."""
    figure, panels = plt.subplots(1, len(RESIDUALS), figsize=(13, 4.2))
    facts = pd.concat(read_facts(RunFolder(runs / k.name).metrics("test"), k) for k in grid.runs)
    numbers = facts[(facts["metric"] == "token_sigma68") & facts["group"].isin(RESIDUALS)]
    values = numbers.set_index(["run", "group"])["value"]
    betas = [format_beta(beta) for beta in grid.globals_beta]
    for axes, (quantity, label) in zip(panels, RESIDUALS.items(), strict=True):
        for key in grid.runs:
            shift = 0.15 * (grid.latent_space.index(key.latent_space) - 1)
            x = grid.globals_beta.index(key.globals_beta) + shift
            draw_run(axes, grid, key, x, float(values.get((key.name, quantity), np.nan)))
        axes.set_xticks(range(len(betas)), betas)
        axes.set(xlabel="globals_beta", ylabel=f"$\\sigma_{{68}}$ of {label}", yscale="log")
    cell_legend(figure, grid)
    figure.suptitle("reconstructed minus true, all objects of the test split")
    save(figure, numbers, output, settings)


def draw_run(
    axes: Axes, grid: Grid, key: RunKey, x: float, value: float, *, hollow: bool = False
) -> None:
    """Draw one run as a point, `hollow` where its head has weight 0."""
    axes.plot(
        x,
        value,
        marker_of(grid, format_beta(key.globals_beta)),
        color=COLORS[key.latent_space],
        markerfacecolor="none" if hollow and key.globals_beta == 0 else COLORS[key.latent_space],
    )


def place_of(grid: Grid, key: RunKey) -> float:
    """Return where a run's cell lies between -0.35 and 0.35, latent space by latent space."""
    cells = len(grid.latent_space) * len(grid.globals_beta)
    cell = grid.latent_space.index(key.latent_space) * len(grid.globals_beta)
    cell += grid.globals_beta.index(key.globals_beta)
    return 0.7 * ((cell + 0.5) / cells - 0.5)


def cell_of(key: RunKey) -> str:
    """Return the name of a run's cell."""
    return f"{key.latent_space} {format_beta(key.globals_beta)}"
