"""Figures of planted facts: a small study with two variants, and how to draw and spoil it."""

import math
import shutil

import pandas as pd
from planted_facts import plant_run, write_tables

from globals_heads.facts import RunFolder
from globals_heads.plot.figures import draw
from globals_heads.plot.inputs import Inputs
from globals_heads.settings import Grid, PlotSettings, Settings

PLAIN = Grid(latent_space=["none", "vq"], globals_beta=[0, 0.5], seeds=3)
VARIANTS = {
    "control": {"latent_space": ["none"], "train": {"clip_norm": None}},
    "narrow": {"model": {"latent_dim": 2}},
}
GRID = Grid(**PLAIN.model_dump(exclude={"variants"}), variants=VARIANTS)
SMALL = PlotSettings(dpi=50)


def drawn(study, name, grid=GRID, output=None):
    """Draw a figure; return its words and its numbers."""
    output = output or study / f"{name}.svg"
    draw(name, Inputs(grid, study, study, SMALL), output)
    numbers = pd.read_csv(output.with_suffix(".csv"), dtype={"globals_beta": str})
    return output.read_text(encoding="utf-8"), numbers


def lose(study, keys):
    """Delete runs and make the tables again."""
    for key in keys:
        shutil.rmtree(RunFolder.of(study, key.name).path)
    write_tables(study, GRID)


def diverge(study, keys):
    """Put runs with an infinite loss in the place of runs, and make the tables again."""
    for key in keys:
        plant_run(study, Settings(**GRID.model_dump()), key, losses=(3.0, math.inf))
    write_tables(study, GRID)
