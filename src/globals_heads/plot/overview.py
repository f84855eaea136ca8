"""The overview: the whole grid and its answer as one figure for a slide."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from globals_heads.compare.results import GLOBALS, Cell
from globals_heads.plot.grid import draw_cells
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.style import (
    BAR,
    BASELINES,
    COLORS,
    Drawing,
    arms,
    cells_of,
    intervals_text,
    legend,
    log_scale,
    weight_handles,
)

TITLES = {
    "rec_tokens": "Error of the tokens (T)\ngeometric mean",
    GLOBALS: "Globals error, ridge probe (G)\nmean",
}
# A slide, whatever plot.width says: its size, and that of a line of text, in inches.
WIDTH, HEIGHT, LINE_HEIGHT = 40 / 3, 7.5, 0.32
CLAIMS, BALANCED = ("2", "3", "4"), "M2"


def overview(inputs: Inputs) -> Drawing:
    """Draw the answers, both errors over the grid, and one against the other with the baselines."""
    mpl.rcParams["font.size"] = 12
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    lines = answers(inputs.verdict())
    for x, weight, words in zip(
        (0.01, 0.47), ("normal", "bold"), zip(*lines, strict=True), strict=True
    ):
        text = figure.text(x, 0.98, "\n".join(words), va="top", linespacing=1.6, weight=weight)
        text.set_in_layout(False)
    below = 1 - LINE_HEIGHT * (len(lines) + 0.6) / HEIGHT
    figure.set_layout_engine("constrained", rect=(0, 0, 1, below))
    *panels, last = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
    numbers = []
    for axes, (metric, title) in zip(panels, TITLES.items(), strict=True):
        cells = draw_cells(axes, inputs, metric, small=True)
        has_intervals = any("[" in text.get_text() for text in axes.texts)
        axes.set_title(f"{title} [95 % interval]" if has_intervals else title)
        numbers.append(cells.assign(metric=metric))
    legend(figure, draw_tradeoff(last, inputs), inputs.summary, 6)
    return figure, pd.concat(numbers)


def answers(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was asked and the answer in a few words; `?` marks what these runs alone show."""

    def word(answer: dict[str, Any]) -> str:
        hint = answer["hint"]
        return f"{hint}?" if hint else str(answer["answer"])

    lines = []
    for claim in CLAIMS:
        found = [each for each in verdict["claims"] if each["claim"] == claim]
        if found:
            words = ", ".join(f"{each['row']}: {word(each)}" for each in found)
            lines.append((found[0]["text"], words))
    for choice in (each for each in verdict["matrix"] if each["claim"] == BALANCED):
        best, guess = (
            Cell(*name.split("/beta_")).words if name else "no cell"
            for name in (choice["best"], choice["guess"])
        )
        words = f"best: {best}; guess {guess} as good: {word(choice)}"
        lines.append((choice["text"], words))
    if any("?" in words for _, words in lines):
        lines.append(("", "? in these runs alone; too few seeds for an answer"))
    return lines


def draw_tradeoff(axes: Axes, inputs: Inputs) -> list[Line2D]:
    """Draw the globals error against rec_tokens, one line per latent space, and the baselines.

    Returns the handles for a legend.
    """
    grid, table = inputs.grid, inputs.summary
    tokens, errors = inputs.cells("rec_tokens"), inputs.cells(GLOBALS)
    for space in grid.latent_space:
        looks = [cell for cell in cells_of(grid) if cell.latent_space == space]
        keys = [cell.key for cell in looks]
        axes.plot(tokens["mean"][keys], errors["mean"][keys], color=COLORS[space], alpha=0.4)
        for cell in looks:
            x, y = tokens.loc[[cell.key]], errors.loc[[cell.key]]
            axes.plot(x["mean"], y["mean"], cell.marker, color=cell.color)
            axes.errorbar(x["mean"], y["mean"], arms(y), arms(x), ecolor=cell.color, **BAR)
    handles = [Line2D([], [], color=COLORS[space], label=space) for space in grid.latent_space]
    handles += weight_handles(grid)
    for name, (label, line) in BASELINES.items():
        height = table[f"{name}_rec_globals"].iloc[0]
        shown = f"{label}: {height:.3g}"
        handles.append(axes.axhline(height, color="grey", linestyle=line, lw=1, label=shown))
    log_scale(axes, "x")
    title = f"Trade-off\n{intervals_text(errors['n'])}"
    axes.set(xlabel="error of the tokens (T)", ylabel="globals error (G)", title=title)
    return handles
