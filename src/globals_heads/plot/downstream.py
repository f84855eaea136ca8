"""The figure of the next phase: a classifier on original, reconstructed and encoded events."""

import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from globals_heads.compare.downstream import (
    ENCODED,
    METRICS,
    ORIGINAL,
    PUBLISHED,
    RECONSTRUCTED,
    metric,
)
from globals_heads.compare.results import Cell
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.style import (
    Drawing,
    cell_handles,
    cells_of,
    dodge,
    draw_means,
    draw_seeds,
    intervals_text,
    legend,
)
from globals_heads.tables import read_facts

KINDS = {RECONSTRUCTED: "reconstructed objects", ENCODED: "codes or latents"}
PANELS = {
    ("auc", False): "AUC",
    ("auc", True): "AUC minus that of the\noriginal objects",
    ("rejection", True): "background rejection minus\nthat of the original objects",
}


def downstream(inputs: Inputs) -> Drawing:
    """Draw what each cell costs a classifier of tttt against the rest."""
    grid, looks = inputs.grid, cells_of(inputs.grid)
    seeds = read_facts(inputs.results / "downstream.csv", columns=[*Cell._fields, *METRICS])
    seeds = seeds[seeds["variant"] == ""]
    numbers = []
    figure, panels = plt.subplots(1, len(PANELS), figsize=(14, 4.8))
    for axes, ((quantity, difference), label) in zip(panels, PANELS.items(), strict=True):
        for k, kind in enumerate(KINDS):
            name = metric(kind, quantity, difference=difference)
            means = inputs.cells(name)
            for i, cell in enumerate(looks):
                place = i + dodge(k, len(KINDS), 0.8)
                values = cell.of(seeds)[name].to_numpy(dtype=float)
                draw_seeds(axes, place, values, cell.color, cell.marker, hollow=kind == ENCODED)
                draw_means(axes, np.array([place]), means.loc[[cell.key]], cell.color)
            numbers.append(means.assign(metric=name).reset_index())
        axes.set_xticks(
            range(len(looks)), [f"{c.latent_space}\n{c.globals_beta}" for c in looks], fontsize=8
        )
        axes.set(ylabel=label, xlabel="latent space, globals_beta")
        if difference:
            axes.axhline(0, color="grey", linewidth=1)
    lines = _draw_known(panels[0], seeds, _is_demonstration(inputs))
    figure.suptitle(f"tttt against the rest; test split; {intervals_text(means['n'])}")
    kinds = [
        Line2D([], [], marker="o", ls="", color="black", markerfacecolor=face, label=label)
        for label, face in zip(KINDS.values(), ("black", "none"), strict=True)
    ]
    legend(figure, [*cell_handles(grid), *kinds, *lines], inputs.summary, 6)
    return figure, pd.concat(numbers)


def _is_demonstration(inputs: Inputs) -> bool:
    """Return whether the events were made by the study itself."""
    verdict = json.loads((inputs.results / "verdict.json").read_text(encoding="utf-8"))
    return bool(verdict["downstream"]["is_demonstration"])


def _draw_known(axes: Axes, seeds: pd.DataFrame, is_demonstration: bool) -> list[Any]:
    """Draw the AUC of the original objects, and published ones; return lines for the legend."""
    name = metric(ORIGINAL, "auc")
    value = seeds.drop_duplicates("seed")[name].mean()
    axes.axhline(value, color="grey", linestyle="--")
    handles = [Line2D([], [], color="grey", ls="--", label=f"original objects ({value:.3f})")]
    if is_demonstration:
        axes.set_title("a demonstration: events made here")
        return handles
    for label, published in PUBLISHED.items():
        axes.axhline(published, color="black", linestyle=":", linewidth=0.8)
        axes.text(0, published, label, fontsize=7, va="bottom")
    return [*handles, Line2D([], [], color="black", ls=":", label="published, public data")]
