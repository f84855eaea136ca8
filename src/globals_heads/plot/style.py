"""The look that all figures share: colours, markers, intervals, words and files.

One latent space has one colour and one globals_beta one marker in every figure. A run that diverged
or is missing is named in every figure that would show it.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter
from matplotlib.transforms import Transform

from globals_heads.arrays import Array
from globals_heads.files import atomic_path, write_text
from globals_heads.numbers import MIN_SEEDS
from globals_heads.settings import Grid, LatentSpace, PlotSettings, format_beta

Line = Literal["-", "--", ":", "-."]
# What a function that draws returns: the figure and its numbers, which become the CSV file.
Drawing = tuple[Figure, pd.DataFrame]

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = {
    "none": "#0072B2",
    "linear": "#E69F00",
    "vq": "#009E73",
    "fsq": "#CC79A7",
    "residual_vq": "#D55E00",
}
MARKERS = "osD^vP*X<>ph8d"
LINES: tuple[Line, ...] = ("-", "--", ":", "-.")
NO_RESULT_COLOR = "#B22222"
# Baselines, which need no latent space: name and line.
BASELINES: dict[str, tuple[str, Line]] = {
    "training_mean": ("training mean", "-"),
    "minus_sum_pt": ("$-\\Sigma\\,p_T$", "-."),
    "linear_fit": ("one-parameter linear fit", "--"),
    "globals_only_network": ("network for the globals alone", ":"),
}
# Bars of intervals, without a point.
BAR: dict[str, Any] = {"fmt": "none", "elinewidth": 1.2, "capsize": 2.5}
# More runs without a result than these are counted, so that the rest of a figure keeps its room.
MAX_NAMED_RUNS = 6
NO_BREAK = "\N{NO-BREAK SPACE}"

# Width in cm of the page that figures are drawn for; None for the screen.
PAGE_WIDTH: ContextVar[float | None] = ContextVar("PAGE_WIDTH", default=None)
# Text on a narrow page is not smaller than this fraction of 10 points.
MIN_TEXT = 0.65
# Without them, the same figure gives the same bytes.
DATES: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}

mpl.use("agg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "globals-heads",  # the same figure gives the same bytes
        "svg.fonttype": "none",
        "pdf.fonttype": 42,  # TrueType; many journals refuse the default, Type 3
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "figure.titlesize": "medium",
        "legend.frameon": False,
        "hatch.linewidth": 0.6,
    }
)


@contextmanager
def drawn_for(settings: PlotSettings) -> Iterator[None]:
    """Draw figures for the page of these settings."""
    token = PAGE_WIDTH.set(settings.width)
    with mpl.rc_context():
        yield
    PAGE_WIDTH.reset(token)


def size(width: float, height: float) -> tuple[float, float]:
    """Return the size in inches of a figure that has this size on the screen.

    On a page it gets the width of the page, and its text a size that fits.
    """
    page = PAGE_WIDTH.get()
    if page is None:
        return width, height
    scale = page / 2.54 / width
    text = max(scale, MIN_TEXT)
    mpl.rcParams["font.size"] = 10 * text
    return width * scale, height * text


def save(drawing: Drawing, output: Path, settings: PlotSettings) -> None:
    """Write a figure as `output` (an .svg) and in the other formats, and its numbers as .csv."""
    figure, numbers = drawing
    text = numbers.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(output.with_suffix(".csv"), text)
    for kind in settings.formats:
        with atomic_path(output.with_suffix(f".{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=settings.dpi, metadata=DATES.get(kind))
    plt.close(figure)


class CellLook(NamedTuple):
    """A cell of the plain grid and how all figures draw it; `globals_beta` is text."""

    latent_space: LatentSpace
    globals_beta: str
    color: str
    marker: str

    @property
    def key(self) -> tuple[str, str]:
        """The cell's place in tables by latent space and weight."""
        return self.latent_space, self.globals_beta

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `table` that belong to this cell."""
        same_space = table["latent_space"] == self.latent_space
        return table[same_space & (table["globals_beta"] == self.globals_beta)]


def cells_of(grid: Grid) -> list[CellLook]:
    """Return all cells of the plain grid, latent space by latent space."""
    betas = [format_beta(beta) for beta in grid.globals_beta]
    return [
        CellLook(space, beta, COLORS[space], MARKERS[i % len(MARKERS)])
        for space, (i, beta) in product(grid.latent_space, enumerate(betas))
    ]


def cell_handles(grid: Grid) -> list[Line2D]:
    """Return what the colours of latent spaces and the markers of weights mean, for a legend."""
    spaces = [
        Line2D([], [], marker="o", ls="", color=COLORS[space], label=space)
        for space in grid.latent_space
    ]
    return [*spaces, *weight_handles(grid)]


def weight_handles(grid: Grid) -> list[Line2D]:
    """Return what the markers of weights mean, for a legend."""
    return [
        Line2D([], [], marker=marker, ls="", color="black", label=f"globals_beta {beta}")
        for _, beta, _, marker in cells_of(grid)[: len(grid.globals_beta)]
    ]


def baseline_handles(*names: str) -> list[Line2D]:
    """Return what the lines of baselines mean, for a legend."""
    return [
        Line2D([], [], color="grey", linestyle=line, label=label)
        for label, line in (BASELINES[name] for name in names)
    ]


def legend(figure: Figure, handles: Sequence[Artist], table: pd.DataFrame, columns: int) -> None:
    """Draw `handles` below the figure, and above them name the runs of `table` without a result."""
    width = figure.get_figwidth()
    title = wrapped(runs_without_result(table), int(130 * width / mpl.rcParams["font.size"]))
    if not (handles or title):
        return
    # As few rows as `columns` and the width of the figure allow.
    for rows in range(math.ceil(len(handles) / columns), len(handles) + 1):
        shown = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=math.ceil(len(handles) / rows) if rows else 1,
            title=title or None,
        )
        shown.get_title().set(color=NO_RESULT_COLOR, fontsize="small", multialignment="center")
        if shown.get_window_extent().width <= figure.bbox.width or rows == len(handles):
            return
        shown.remove()


def runs_without_result(table: pd.DataFrame) -> str:
    """Return in words which runs of `table`, rows of the summary, have no result, and why."""
    others = table[table["status"] != "ok"]
    if others.empty:
        return ""
    named = [f"{run} {status}" for run, status in zip(others["run"], others["status"], strict=True)]
    more = len(named) - MAX_NAMED_RUNS
    if more > 0:
        named = [*named[:MAX_NAMED_RUNS], f"and {more} more"]
    return f"no result: {', '.join(named)}"


def wrapped(text: str, width: int) -> str:
    """Return `text` in lines of about `width` characters, broken after commas only."""
    words = text.replace(" ", NO_BREAK).replace(f",{NO_BREAK}", ", ")
    return textwrap.fill(words, width, break_long_words=False).replace(NO_BREAK, " ")


def hatch(
    axes: Axes, corner: tuple[float, float], transform: Transform, color: str = "grey"
) -> None:
    """Hatch the square of side 1 at `corner`, where runs have no result."""
    square = Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor=color, linewidth=0)
    square.set_transform(transform)
    axes.add_patch(square)


def log_scale(axes: Axes, along: Literal["x", "y"]) -> None:
    """Make an axis logarithmic once all is drawn; hatch it if nothing was drawn."""
    drawn = axes.dataLim
    if np.isfinite(drawn.minposx if along == "x" else drawn.minposy):
        axes.set(**{f"{along}scale": "log"})
        log_ticks(axes, along)
    else:
        hatch(axes, (0, 0), axes.transAxes)


def log_ticks(axes: Axes, along: Literal["x", "y"]) -> None:
    """Give a logarithmic axis plain numbers if it is too short for powers of ten."""
    low, high = axes.get_xlim() if along == "x" else axes.get_ylim()
    if high < 20 * low:
        axis = axes.xaxis if along == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def draw_means(
    axes: Axes, x: Array, cells: pd.DataFrame, color: str, line: str = "", **look: Any
) -> None:
    """Draw the intervals of `cells`, rows with mean, low and high, at `x`; means if with a line."""
    if line:
        axes.plot(x, cells["mean"], line, color=color, **look)
    axes.errorbar(x, cells["mean"], arms(cells), ecolor=color, **BAR)


def arms(cells: pd.DataFrame) -> Array:
    """Return how far low and high lie from the mean, shape (2, n); NaN where they are not known."""
    numbers = cells[["mean", "low", "high"]].to_numpy(dtype=float)
    distances: Array = np.abs(numbers[:, 1:] - numbers[:, :1]).T
    return distances


def draw_seeds(
    axes: Axes, x: float, values: Array, color: str, marker: str, *, hollow: bool = False
) -> None:
    """Draw the seeds of one cell as pale points above each other."""
    axes.plot(
        np.full(len(values), x),
        values,
        marker,
        color=color,
        markersize=4.5,
        alpha=0.7,
        markerfacecolor="none" if hollow else color,
    )


def dodge(index: int, count: int, width: float = 0.7) -> float:
    """Return where the `index`-th of `count` neighbours lies in a slot of `width` around 0."""
    return width * ((index + 0.5) / count - 0.5)


def count_runs(table: pd.DataFrame, status: str) -> "pd.Series[int]":
    """Return how many runs of each cell have a status, by the summary's rows of the plain grid."""
    found = (table["status"] == status).astype(int)
    return found.groupby([table["latent_space"], table["globals_beta"]]).sum()


def intervals_text(n: "pd.Series[int]") -> str:
    """Return how to read bars over `n` seeds per cell, in words."""
    if n.empty or n.max() < 1:
        return "no finished run"
    number = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    bars = "bars: 95 % interval" if n.max() >= MIN_SEEDS else f"no interval below {MIN_SEEDS} seeds"
    return f"n = {number} per cell; {bars}"
