"""Heat maps: numbers, colours and what is not compared."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from planted_figures import PLAIN, drawn, lose

from globals_heads.plot.grid import scaled_by_row


def test_heat_map_cells_have_mean_interval_and_n(study):
    lose(study, PLAIN.runs[:1])
    words, numbers = drawn(study, "heatmap_rec_tokens")
    cells = numbers.set_index(["latent_space", "globals_beta"])
    assert cells.loc[("vq", "0.5"), "mean"] == pytest.approx(0.15)
    assert cells.loc[("vq", "0.5"), "low"] < 0.15 < cells.loc[("vq", "0.5"), "high"]
    assert list(cells.loc[("none", "0"), ["n", "diverged", "missing"]]) == [2, 0, 1]
    assert math.isnan(cells.loc[("none", "0"), "low"])  # two seeds have no interval
    for word in ("n = 2", "n = 3", "1 missing"):
        assert word in words


def test_the_interval_of_the_tokens_error_is_that_of_its_logarithm(study):
    """Seeds of 1e-4 and 1e-2 have the mean 1e-3, and an interval above 0 however they spread."""
    path = study / "comparison.csv"
    table = pd.read_csv(path, dtype={"globals_beta": str})
    row = (table["metric"] == "ln_rec_tokens") & (table["latent_space"] == "vq")
    table.loc[row, ["mean", "low", "high"]] = [math.log(number) for number in (1e-3, 1e-5, 1e-1)]
    table.to_csv(path, index=False)
    words, numbers = drawn(study, "heatmap_rec_tokens")
    cells = numbers.set_index(["latent_space", "globals_beta"])
    assert_allclose(cells.loc[("vq", "0.5"), ["mean", "low", "high"]].tolist(), [1e-3, 1e-5, 1e-1])
    assert "geometric mean" in words


@pytest.mark.parametrize(("metric", "cells"), [("rec_globals", 2), ("probe_rec_globals", 0)])
def test_the_heat_map_of_heads_says_which_were_never_trained(planted, tmp_path, metric, cells):
    words, _ = drawn(planted, f"heatmap_{metric}", output=tmp_path / "map.svg")
    assert words.count("never trained") == cells


def test_colours_of_a_row_span_from_its_lowest_to_its_highest():
    scaled = scaled_by_row(np.array([[1.0, 10.0, 100.0], [5.0, math.nan, 5.0]]))
    assert_allclose(scaled, [[0, 0.5, 1], [0, math.nan, 0]])
