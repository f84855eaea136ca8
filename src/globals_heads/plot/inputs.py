"""What figures read: tables of the study's results, each read when a figure asks for it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from globals_heads.compare.comparison import read_cells
from globals_heads.compare.results import Results, read_results
from globals_heads.settings import Grid, PlotSettings
from globals_heads.tables import read_facts, read_grid_rows, read_runs


@dataclass(frozen=True)
class Inputs:
    """What a figure of the study is drawn from.

    Attributes
    ----------
    all_runs
        The axes of the study, with its variants.
    results
        The folder of the study's results.
    baselines
        The folder of the data set, with the facts of the baselines.
    settings
        How figures look.
    """

    all_runs: Grid
    results: Path
    baselines: Path
    settings: PlotSettings

    @property
    def grid(self) -> Grid:
        """The axes without variants."""
        return self.all_runs.plain

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summary's rows of the plain grid, by the names of their runs."""
        return read_grid_rows(self.results / "summary.csv", self.grid)

    def cells(self, metric: str) -> pd.DataFrame:
        """Return n, mean, low and high of `metric`, by latent space and weight."""
        return read_cells(self.results / "comparison.csv", metric)

    def facts(self, split: str) -> pd.DataFrame:
        """Return the facts of all runs of the plain grid that are not missing."""
        return read_runs(self.grid, self.summary, self.results, split)

    def baseline_facts(self) -> pd.DataFrame:
        """Return the facts of the baselines."""
        return read_facts(self.baselines / "baselines.csv")

    def measured(self) -> Results:
        """Return what all runs measured, those of variants included."""
        return read_results(self.results, self.baselines)
