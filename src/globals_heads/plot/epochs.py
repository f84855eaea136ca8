"""Figures over the epochs: learning curves of the grid and of a run, and the use of codebooks."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from globals_heads.compare.results import num_codes
from globals_heads.facts import RunFolder
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.style import (
    COLORS,
    NO_RESULT_COLOR,
    Drawing,
    cells_of,
    hatch,
    legend,
    log_ticks,
    size,
    wrapped,
)
from globals_heads.settings import DISCRETE, RunKey, format_beta
from globals_heads.tables import read_epochs

GLOBALS_COLOR = "#555555"
SPLITS = {"train": ":", "val": "-"}


def learning_curves(inputs: Inputs) -> Drawing:
    """Draw train and validation curves of all cells, one line per seed.

    Below each panel a strip shows the fraction of steps whose gradient was clipped.
    """
    grid, table = inputs.grid, inputs.summary
    rows, columns = grid.globals_beta, grid.latent_space
    figure, axes = plt.subplots(
        2 * len(rows),
        len(columns),
        figsize=size(max(7.5, 1 + 2.9 * len(columns)), 1.2 + 2.5 * len(rows)),
        height_ratios=[4, 1] * len(rows),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    panels, strips = axes[::2], axes[1::2]
    facts = {split: inputs.facts(split) for split in SPLITS}
    for key in grid.runs:
        place = rows.index(key.globals_beta), columns.index(key.latent_space)
        for split, line in SPLITS.items():
            own = facts[split][facts[split]["run"] == key.name]
            draw_components(panels[place], own, key, line)
            if split == "train":
                strips[place].plot(own["epoch"], own["clipped_fraction"], "k.-", lw=0.8, ms=2)
    numbers = pd.concat([facts[split].assign(split=split) for split in SPLITS])
    finished = table.index[table["status"] == "ok"]
    limit_to_finished(panels.flat, numbers[numbers["run"].isin(finished)])
    for cell, panel in zip(cells_of(grid), panels.T.flat, strict=True):
        name_runs_without_result(panel, cell.of(table), facts["val"])
        panel.set_yscale("log")
        log_ticks(panel, "y")
    for column, space in enumerate(columns):
        panels[0, column].set_title(f"latent_space {space}")
        epoch_axis(strips[-1, column])
    for row, beta in enumerate(rows):
        panels[row, 0].set_ylabel(f"globals_beta {format_beta(beta)}\nloss components")
        strips[row, 0].set(ylabel="clipped", ylim=(-0.1, 1.1), yticks=(0, 1))
    handles = [
        *(Line2D([], [], color=COLORS[c], label=f"rec_tokens, {c}") for c in columns),
        Line2D([], [], color=GLOBALS_COLOR, label="rec_globals (pale: not trained)"),
        Line2D([], [], color="black", linestyle="-", label="validation"),
        Line2D([], [], color="black", linestyle=":", label="train"),
    ]
    legend(figure, handles, table, 3)
    kept = ["loss", "rec_tokens", "rec_globals", "clipped_fraction"]
    return figure, numbers[[*grid.runs[0].columns, "split", "epoch", *kept]]


def codebook(inputs: Inputs) -> Drawing:
    """Draw perplexity and active codes over the epochs, for each latent space with a codebook."""
    spaces = [space for space in inputs.grid.latent_space if space in DISCRETE]
    grid = inputs.grid.model_copy(update={"latent_space": spaces})
    table, val = inputs.summary, inputs.facts("val")
    table, val = (facts[facts["latent_space"].isin(spaces)] for facts in (table, val))
    betas = grid.globals_beta
    figure, panels = plt.subplots(
        len(spaces),
        len(betas),
        figsize=size(max(6.5, 1 + 2.7 * len(betas)), 1.4 + 2.4 * len(spaces)),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    sizes = {}
    for key in grid.runs:
        panel = panels[spaces.index(key.latent_space), betas.index(key.globals_beta)]
        own = val[val["run"] == key.name]
        if own.empty:
            continue
        draw_codes(panel, own, COLORS[key.latent_space])
        sizes[key.name] = num_codes(RunFolder.of(inputs.results, key.name).read_settings())
        panel.axhline(sizes[key.name], color="grey", linestyle="--", linewidth=1)
    for cell, panel in zip(cells_of(grid), panels.flat, strict=True):
        name_runs_without_result(panel, cell.of(table), val)
        panel.set_ylim(0, None)
    for column, beta in enumerate(betas):
        panels[0, column].set_title(f"globals_beta {format_beta(beta)}")
        epoch_axis(panels[-1, column])
    for row, space in enumerate(spaces):
        panels[row, 0].set_ylabel(f"codes of {space}")
    handles = [
        *(Line2D([], [], color=COLORS[c], label=f"perplexity, {c}") for c in spaces),
        Line2D([], [], color="black", linestyle=":", label="active codes"),
        Line2D([], [], color="grey", linestyle="--", label="codes in the codebook"),
    ]
    figure.suptitle("validation split, one line per seed")
    legend(figure, handles, table, 3)
    numbers = val.assign(num_codes=val["run"].map(sizes))
    kept = ["perplexity", "active_codes", "num_codes"]
    return figure, numbers[[*grid.runs[0].columns, "epoch", *kept]]


def curves(run: RunFolder) -> Drawing:
    """Draw one run's curves: loss components, clipping, and the codebook's use if it has one."""
    key = run.read_settings().key
    tables = {split: read_epochs(run.metrics(split), key) for split in SPLITS}
    train, val = tables["train"], tables["val"]
    has_codebook = val["perplexity"].notna().any()
    figsize = size(11 if has_codebook else 7.5, 3.2)
    figure, panels = plt.subplots(1, 3 if has_codebook else 2, figsize=figsize)
    for split, line in SPLITS.items():
        draw_components(panels[0], tables[split], key, line)
        panels[0].plot([], [], line, color="black", label=split.replace("val", "validation"))
    panels[0].plot([], [], color=COLORS[key.latent_space], label="rec_tokens")
    panels[0].plot([], [], color=GLOBALS_COLOR, label="rec_globals")
    panels[0].legend(fontsize="small")
    panels[0].set(ylabel="unweighted loss component")
    panels[1].plot(train["epoch"], train["clipped_fraction"], "o-", color="black", markersize=3)
    panels[1].set(ylabel="fraction of clipped steps", ylim=(-0.03, 1.03))
    if has_codebook:
        draw_codes(panels[2], val, COLORS[key.latent_space])
        panels[2].set(ylabel="codes, validation split")
        panels[2].legend(fontsize="small")
    for axes in panels:
        epoch_axis(axes)
    diverged = not np.isfinite(pd.concat(tables.values())["loss"]).all()
    figure.suptitle(f"{key.name}: diverged" if diverged else key.name)
    return figure, pd.concat(table.assign(split=split) for split, table in tables.items())


def draw_components(axes: Axes, table: pd.DataFrame, key: RunKey, line: str) -> None:
    """Draw rec_tokens and rec_globals over the epochs, the latter pale where it is not trained."""
    line += dot(table)
    axes.plot(table["epoch"], table["rec_tokens"], line, color=COLORS[key.latent_space], lw=1.1)
    # A head with weight 0 is never trained: its error is that of random weights.
    alpha = 1.0 if key.globals_beta > 0 else 0.35
    axes.plot(table["epoch"], table["rec_globals"], line, color=GLOBALS_COLOR, alpha=alpha, lw=1.1)
    axes.set_yscale("log")


def draw_codes(axes: Axes, table: pd.DataFrame, color: str) -> None:
    """Draw perplexity and active codes of one run over the epochs."""
    for name, line, ink in (("active_codes", ":", "black"), ("perplexity", "-", color)):
        label = name.replace("_", " ")
        axes.plot(table["epoch"], table[name], line + dot(table), color=ink, label=label, lw=1.1)


def dot(table: pd.DataFrame) -> str:
    """Return the marker of a curve: one epoch is a point, since it makes no line."""
    return "." if len(table) == 1 else ""


def epoch_axis(axes: Axes) -> None:
    """Label the x axis as whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def limit_to_finished(panels: Iterable[Axes], finished: pd.DataFrame) -> None:
    """Give all panels one scale, which a loss on its way to infinity does not stretch."""
    values = finished[["rec_tokens", "rec_globals"]].to_numpy(dtype=float)
    values = values[values > 0]
    for panel in panels:
        panel.set_ylim((values.min() / 1.5, values.max() * 1.5) if values.size else (0.01, 1))


def name_runs_without_result(panel: Axes, cell: pd.DataFrame, val: pd.DataFrame) -> None:
    """Name the seeds of a cell without a result, and hatch a panel without any curve."""
    last = val.groupby("run")["epoch"].max()
    missing = [str(seed) for seed in cell.loc[cell["status"] == "missing", "seed"]]
    diverged = [
        f"{seed} (epoch {last[str(run)]})"
        for run, seed in cell.loc[cell["status"] == "diverged", "seed"].items()
    ]
    lines = [
        wrapped(f"{status}: seed {', '.join(seeds)}", 30)
        for status, seeds in (("missing", missing), ("diverged", diverged))
        if seeds
    ]
    panel.text(
        0.04,
        0.06,
        "\n".join(lines),
        transform=panel.transAxes,
        fontsize="small",
        color=NO_RESULT_COLOR,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8} if lines else None,
    )
    if len(missing) == len(cell):
        hatch(panel, (0, 0), panel.transAxes)
