"""Figures: the grid as heat maps, learning curves and a trade-off; each as SVG, PNG and CSV.

One latent space has one colour in every figure. A run that diverged or is missing leaves a
visible hole.
"""

import math
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from globals_heads.compare.summary import read_facts, read_summary
from globals_heads.facts import RunFolder
from globals_heads.files import UserError, atomic_path, write_text
from globals_heads.geometry import Array
from globals_heads.settings import Grid, PlotSettings, RunKey, format_beta

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = {
    "none": "#0072B2",
    "linear": "#E69F00",
    "vq": "#009E73",
    "fsq": "#CC79A7",
    "residual_vq": "#D55E00",
}
GLOBALS_COLOR = "#555555"
MARKERS = "osD^vP*X<>ph8d"

# Column of the summary: title and whether colours compare whole maps or only cells of one row.
HEATMAPS = {
    "val_loss": (
        "Validation loss at the best epoch\n(contains globals_beta: compare within a row)",
        "row",
    ),
    "rec_tokens": ("rec_tokens, test split\n(MSE of normalised features)", "map"),
    "rec_globals": (
        "rec_globals, test split, trained head\n(at globals_beta 0 never trained)",
        "map",
    ),
    "probe_rec_globals": (
        "Globals error of the ridge probe, test split\n(comparable in all cells)",
        "map",
    ),
}

mpl.use("agg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "globals-heads",  # the same figure gives the same bytes
        "svg.fonttype": "none",
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "legend.frameon": False,
    }
)


def save(figure: Figure, numbers: pd.DataFrame, output: Path, settings: PlotSettings) -> None:
    """Write a figure as `output` (an .svg), the same as .png, and its numbers as .csv."""
    text = numbers.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(output.with_suffix(".csv"), text)
    for path, options in (
        (output.with_suffix(".png"), {"dpi": settings.dpi}),
        (output, {"metadata": {"Date": None}}),
    ):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], **options)
    plt.close(figure)


def marker_of(grid: Grid, globals_beta: str) -> str:
    """Return the marker of a weight, the same in every figure."""
    names = [format_beta(beta) for beta in grid.globals_beta]
    return MARKERS[names.index(globals_beta) % len(MARKERS)]


def cell_legend(figure: Figure, grid: Grid) -> None:
    """Name the colour of each latent space and the marker of each weight below the figure."""
    spaces = [
        Line2D([], [], marker="o", ls="", color=COLORS[space], label=space)
        for space in grid.latent_space
    ]
    weights = [
        Line2D(
            [],
            [],
            marker=marker_of(grid, b),
            ls="",
            color="black",
            label=f"globals_beta {float(b):g}",
        )
        for b in map(format_beta, grid.globals_beta)
    ]
    handles = [*spaces, *weights]
    figure.legend(handles=handles, loc="outside lower center", ncols=6 if len(handles) <= 6 else 5)


def plot_heatmap(
    grid: Grid, summary: Path, metric: str, output: Path, settings: PlotSettings
) -> None:
    """Draw one metric over the grid: rows are globals_beta, columns are latent spaces.

    Parameters
    ----------
    grid
        The axes.
    summary
        results/summary.csv.
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
    table = read_summary(summary)
    rows, columns = [format_beta(b) for b in grid.globals_beta], list(grid.latent_space)
    cells = table.groupby(["globals_beta", "latent_space"])[metric]
    numbers = cells.agg(["mean", "std", "count"]).reset_index()
    values, spreads = (
        numbers.pivot_table(index="globals_beta", columns="latent_space", values=statistic)
        .reindex(index=rows, columns=columns)
        .to_numpy(dtype=float)
        for statistic in ("mean", "std")
    )
    colors = scaled_by_row(values) if compare == "row" else values

    figure, axes = plt.subplots(
        figsize=(max(5.5, 1.8 + 1.25 * len(columns)), max(3.5, 1.5 + 0.85 * len(rows)))
    )
    finite = colors[np.isfinite(colors)]
    wide = finite.size > 0 and finite.max() > 10 * finite.min() > 0
    norm = LogNorm() if wide else Normalize()
    image = axes.imshow(
        np.ma.masked_invalid(colors), cmap=settings.colormap, norm=norm, aspect="auto"
    )
    for (i, j), value in np.ndenumerate(values):
        cell = table[(table["globals_beta"] == rows[i]) & (table["latent_space"] == columns[j])]
        lost = cell.loc[cell["status"] != "ok", "status"]
        note = "".join(f"\n{n} {status}" for status, n in lost.value_counts().items())
        if math.isfinite(value):
            count = len(cell) - len(lost)
            spread = f"\n± {spreads[i, j]:.2g}, n = {count}" if count > 1 else ""
            text = f"{value:.3g}{spread}{note}"
            dark = sum(image.cmap(image.norm(colors[i, j]))[:3]) < 1.5
            axes.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
        else:
            axes.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="///", edgecolor="grey")
            )
            axes.text(j, i, note.strip(), ha="center", va="center", backgroundcolor="white")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), [f"{beta:g}" for beta in grid.globals_beta])
    axes.set(xlabel="latent_space", ylabel="globals_beta")
    axes.set_title(title)
    axes.spines[:].set_visible(False)
    label = "lowest to highest of the row" if compare == "row" else metric
    if finite.size:
        figure.colorbar(image, label=label)
    save(figure, numbers, output, settings)


def scaled_by_row(values: Array) -> Array:
    """Return 0 at each row's lowest and 1 at its highest value, logarithmic between them."""
    logs = np.log(values)
    low, high = (f.reduce(logs, axis=1, keepdims=True) for f in (np.fmin, np.fmax))
    scaled: Array = (logs - low) / np.where(high > low, high - low, 1)
    return scaled


def plot_learning_curves(grid: Grid, runs: Path, output: Path, settings: PlotSettings) -> None:
    """Draw train and validation curves of all cells, one panel per cell, one line per seed."""
    rows, columns = grid.globals_beta, grid.latent_space
    figure, panels = plt.subplots(
        len(rows),
        len(columns),
        figsize=(max(7.5, 1 + 2.6 * len(columns)), max(3.6, 1 + 2.0 * len(rows))),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    numbers = []
    for key in grid.runs:
        axes = panels[rows.index(key.globals_beta), columns.index(key.latent_space)]
        for split, style in (("train", ":"), ("val", "-")):
            table = read_facts(RunFolder(runs / key.name).metrics(split), key)
            draw_components(axes, table, key, style)
            kept = [*table.columns[:5], "loss", "rec_tokens", "rec_globals"]
            numbers.append(table[kept].assign(split=split))
        if not np.isfinite(table["loss"]).all():
            axes.text(0.5, 0.5, "diverged", transform=axes.transAxes, ha="center", color="red")
    for axes, space in zip(panels[0], columns, strict=True):
        axes.set_title(f"latent_space {space}")
    for axes in panels[-1]:
        epoch_axis(axes)
    for axes, beta in zip(panels[:, 0], rows, strict=True):
        axes.set_ylabel(f"globals_beta {beta:g}")
    figure.supylabel("unweighted loss component")
    handles = [
        *(Line2D([], [], color=COLORS[c], label=f"rec_tokens, {c}") for c in columns),
        Line2D([], [], color=GLOBALS_COLOR, label="rec_globals (pale: not trained)"),
        Line2D([], [], color="black", linestyle="-", label="validation"),
        Line2D([], [], color="black", linestyle=":", label="train"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    save(figure, pd.concat(numbers), output, settings)


def draw_components(axes: Axes, table: pd.DataFrame, key: RunKey, style: str) -> None:
    """Draw rec_tokens and, where its head is trained, rec_globals over the epochs."""
    style += "." if len(table) == 1 else ""  # one epoch is a point, not a line
    axes.plot(table["epoch"], table["rec_tokens"], style, color=COLORS[key.latent_space])
    # A head with weight 0 is never trained: its error is that of random weights.
    alpha = 1.0 if key.globals_beta > 0 else 0.35
    axes.plot(table["epoch"], table["rec_globals"], style, color=GLOBALS_COLOR, alpha=alpha)
    axes.set_yscale("log")


def epoch_axis(axes: Axes) -> None:
    """Label the x axis as whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def plot_tradeoff(grid: Grid, summary: Path, output: Path, settings: PlotSettings) -> None:
    """Draw rec_tokens against the globals error, for the trained head and for the ridge probe."""
    table = read_summary(summary)
    finished = table[table["status"] == "ok"]
    panels_by_column = {
        "rec_globals": "trained head (hollow: weight 0, never trained)",
        "probe_rec_globals": "ridge probe on the frozen pooled latents",
    }
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, sharey=True)
    for axes, (column, title) in zip(panels, panels_by_column.items(), strict=True):
        for _, run in finished.iterrows():
            color = COLORS[run["latent_space"]]
            untrained = column == "rec_globals" and run["globals_beta"] == "0"
            axes.plot(
                run["rec_tokens"],
                run[column],
                marker_of(grid, run["globals_beta"]),
                color=color,
                markerfacecolor="none" if untrained else color,
                alpha=0.85,
            )
        draw_yardsticks(axes, table, named=axes is panels[-1])
        axes.set(xscale="log", xlabel="rec_tokens, test split (MSE of normalised features)")
        axes.set_title(title)
    panels[0].set_ylabel("globals error, test split (NMSE of MET components)")
    cell_legend(figure, grid)
    lost = table[table["status"] != "ok"]
    if len(lost):
        named = "\n".join((lost["run"] + " " + lost["status"]).head(4))
        more = f"\nand {len(lost) - 4} more" if len(lost) > 4 else ""
        figure.suptitle(f"not shown: {named}{more}", color="red", fontsize="small")
    kept = [
        "run",
        "latent_space",
        "globals_beta",
        "seed",
        "status",
        "rec_tokens",
        *panels_by_column,
    ]
    save(figure, table[kept], output, settings)


def draw_yardsticks(axes: Axes, table: pd.DataFrame, *, named: bool) -> None:
    """Draw what needs no network as horizontal lines, `named` at the right of the axes."""
    lines = {
        "training_mean": (":", "training mean"),
        "minus_sum_pt": ("-.", "$-\\Sigma\\,p_T$"),
        "linear_fit": ("--", "one-parameter\nlinear fit"),
    }
    for yardstick, (style, name) in lines.items():
        value = table[f"{yardstick}_rec_globals"].iloc[0]
        axes.axhline(value, color="grey", linestyle=style, linewidth=1, zorder=0)
        if named:
            place = axes.get_yaxis_transform()  # x as a fraction of the axes, y in data
            axes.text(1.02, value, name, transform=place, va="center", fontsize="small")


def plot_run(folder: RunFolder, key: RunKey, output: Path, settings: PlotSettings) -> None:
    """Draw one run's curves: loss components, clipping, and the codebook's use if it has one."""
    tables = {split: read_facts(folder.metrics(split), key) for split in ("train", "val")}
    train, val = tables["train"], tables["val"]
    codebook = val["perplexity"].notna().any()
    figure, panels = plt.subplots(1, 3 if codebook else 2, figsize=(11 if codebook else 7.5, 3.2))
    for table, style in ((train, ":"), (val, "-")):
        draw_components(panels[0], table, key, style)
        panels[0].plot(
            [], [], style, color="black", label="train" if style == ":" else "validation"
        )
    panels[0].plot([], [], color=COLORS[key.latent_space], label="rec_tokens")
    panels[0].plot([], [], color=GLOBALS_COLOR, label="rec_globals")
    panels[0].legend(fontsize="small")
    panels[0].set(ylabel="unweighted loss component")
    panels[1].plot(train["epoch"], train["clipped_fraction"], "o-", color="black", markersize=3)
    panels[1].set(ylabel="fraction of clipped steps", ylim=(-0.03, 1.03))
    if codebook:
        color = COLORS[key.latent_space]
        panels[2].plot(val["epoch"], val["perplexity"], color=color, label="perplexity")
        panels[2].plot(val["epoch"], val["active_codes"], ":", color=color, label="active codes")
        panels[2].set(ylabel="codes, validation split")
        panels[2].legend(fontsize="small")
    for axes in panels:
        epoch_axis(axes)
    figure.suptitle(key.name)
    save(figure, pd.concat(table.assign(split=s) for s, table in tables.items()), output, settings)
