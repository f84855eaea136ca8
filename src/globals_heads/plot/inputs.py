"""What figures read: tables of the study's results, each read when a figure asks for it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from globals_heads.compare.results import Cell, Results, read_results
from globals_heads.errors import UserError, brief
from globals_heads.facts import EPOCH_COLUMNS, Metric, RunFolder
from globals_heads.numbers import LOGARITHMS
from globals_heads.settings import Grid, PlotSettings
from globals_heads.tables import BASELINE_COLUMNS, TEST_COLUMNS, read_facts, read_summary


@dataclass(frozen=True)
class Inputs:
    """What a figure of the study is drawn from.

    Attributes
    ----------
    axes
        The axes of the study, with its variants.
    results
        The folder of the study's results.
    baselines
        The folder of the data set, with the facts of the baselines.
    settings
        How figures look.
    """

    axes: Grid
    results: Path
    baselines: Path
    settings: PlotSettings

    @property
    def grid(self) -> Grid:
        """The axes without variants."""
        return self.axes.plain

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summary's rows of the plain grid, by the names of their runs.

        Raises
        ------
        UserError
            If the summary is damaged, or has no row of one of the grid's runs.
        """
        path = self.results / "summary.csv"
        table = read_summary(path, [*TEST_COLUMNS, *BASELINE_COLUMNS])
        table = table[table["variant"] == ""].set_index("run", drop=False)
        lacking = [key.name for key in self.grid.runs if key.name not in table.index]
        if lacking:
            raise UserError(
                f"{path} has no row of {lacking[0]}; delete it and run snakemake again, or give "
                "the --grid that it was made with."
            )
        return table

    def cells(self, metric: str) -> pd.DataFrame:
        """Return n, mean, low and high of `metric`, by latent space and weight.

        Where logarithms are compared, these are exponentials of theirs: the mean is the geometric
        one, and the interval stays above 0.
        """
        if metric in LOGARITHMS:
            logs = self.cells(LOGARITHMS[metric])
            return logs.assign(**{name: np.exp(logs[name]) for name in ("mean", "low", "high")})
        numbers = ["n", "mean", "low", "high"]
        path = self.results / "comparison.csv"
        table = read_facts(path, columns=[*Cell._fields, "metric", *numbers])
        table = table[(table["metric"] == metric) & (table["variant"] == "")]
        return table.set_index(["latent_space", "globals_beta"])[numbers]

    def facts(self, split: str) -> pd.DataFrame:
        """Return the facts of all runs of the plain grid that are not missing.

        Without any, the table has no rows and the columns that figures look at.
        """
        columns = Metric._fields if split == "test" else EPOCH_COLUMNS
        runs = self.grid.runs
        tables = [
            read_facts(RunFolder.of(self.results, key.name).metrics(split), key, columns)
            for key in runs
            if self.summary["status"][key.name] != "missing"
        ]
        if not tables:
            return pd.DataFrame(columns=[*runs[0].columns, *columns])
        return pd.concat(tables, ignore_index=True)

    def baseline_facts(self) -> pd.DataFrame:
        """Return the facts of the baselines."""
        return read_facts(self.baselines / "baselines.csv")

    def verdict(self) -> dict[str, Any]:
        """Return the content of verdict.json.

        Raises
        ------
        UserError
            If the file cannot be read.
        """
        path = self.results / "verdict.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read ({brief(error)}); delete it and run snakemake again."
            ) from error
        return content

    def measured(self) -> Results:
        """Return what all runs measured, those of variants included."""
        return read_results(self.results, self.baselines)
