"""Figures from planted facts: right numbers, named holes, same bytes, no variant mixed in."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from planted_facts import plant_grid, plant_run, write_tables

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.plot.epochs import plot_codebook, plot_learning_curves, plot_run
from globals_heads.plot.grid import (
    HEATMAPS,
    plot_heatmap,
    plot_tradeoff,
    scaled_by_row,
)
from globals_heads.plot.physics import plot_chain, plot_met, plot_residuals
from globals_heads.plot.style import lost_runs
from globals_heads.plot.variants import plot_latent_dim, plot_variants
from globals_heads.settings import Grid, PlotSettings, Settings

GRID = Grid(latent_space=["none", "vq"], globals_beta=[0, 0.5], seeds=3)
VARIANTS = {
    "control": {"latent_space": ["none"], "train": {"clip_norm": None}},
    "narrow": {"model": {"latent_dim": 2}},
}
WITH_VARIANTS = Grid(**GRID.model_dump(exclude={"variants"}), variants=VARIANTS)
ONE = Grid(latent_space=["vq"], globals_beta=[1], seeds=1)
SMALL = PlotSettings(dpi=50)


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A finished study with variants; tests must not change it."""
    folder = tmp_path_factory.mktemp("planted")
    plant_grid(folder, WITH_VARIANTS)
    write_tables(folder, WITH_VARIANTS)
    return folder


@pytest.fixture
def study(planted, tmp_path):
    """A copy of the finished study, to change."""
    return shutil.copytree(planted, tmp_path / "study")


def diverge(study, key):
    plant_run(study, Settings(**WITH_VARIANTS.model_dump()), key, losses=(3.0, math.inf))


def lose(study, key):
    shutil.rmtree(RunFolder.of(study, key.name).path)


def figures_of(grid):
    """Return all figures of a grid: name and a function of the study's folder and the output."""
    plain = grid.plain
    found = {
        f"heatmap_{metric}": lambda at, to, metric=metric: plot_heatmap(
            plain, at / "summary.csv", at / "comparison.csv", metric, to, SMALL
        )
        for metric in HEATMAPS
    }
    for name, plot in (("tradeoff", plot_tradeoff), ("chain", plot_chain)):
        found[name] = lambda at, to, plot=plot: plot(
            plain, at / "summary.csv", at / "comparison.csv", to, SMALL
        )
    for name, plot in (
        ("learning_curves", plot_learning_curves),
        ("codebook", plot_codebook),
        ("residuals", plot_residuals),
    ):
        found[name] = lambda at, to, plot=plot: plot(plain, at / "summary.csv", at, to, SMALL)
    found["met"] = lambda at, to: plot_met(
        plain, at / "summary.csv", at, at / "baselines.csv", to, SMALL
    )
    if grid.variants:
        for name, plot in (("latent_dim", plot_latent_dim), ("variants", plot_variants)):
            found[name] = lambda at, to, plot=plot: plot(
                grid, at / "summary.csv", at, at / "events_test.npz", to, SMALL
            )
    return found


FIGURES = figures_of(WITH_VARIANTS)


def drawn(study, name):
    """Draw a figure; return its words and its numbers."""
    output = study / f"{name}.svg"
    FIGURES[name](study, output)
    numbers = pd.read_csv(output.with_suffix(".csv"), dtype={"globals_beta": str})
    return output.read_text(encoding="utf-8"), numbers


@pytest.mark.parametrize("name", FIGURES)
def test_figures_come_as_svg_png_and_csv_with_the_same_bytes(planted, tmp_path, name):
    for folder in ("one", "two"):
        FIGURES[name](planted, tmp_path / folder / f"{name}.svg")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [f"{name}.{kind}" for kind in ("csv", "png", "svg")]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert "no result" not in (tmp_path / "one" / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_name_runs_without_a_result(study, name):
    lost, diverged = GRID.runs[1], GRID.runs[3]  # both vq, so that the codebook has them
    lose(study, lost)
    diverge(study, diverged)
    # The latent spaces of a variant are drawn with it, and so are their runs.
    write_tables(study, WITH_VARIANTS)
    words, _ = drawn(study, name)
    if name == "variants":
        assert "n = 2 to 3 per cell" in words
    assert f"{lost.name} missing" in words.replace("\n", " ")
    assert f"{diverged.name} diverged" in words.replace("\n", " ")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("found", ["nothing", "one run", "diverged runs"])
def test_figures_of_little_or_nothing(study, name, found):
    for key in WITH_VARIANTS.runs[1 if found == "one run" else 0 :]:
        diverge(study, key) if found == "diverged runs" else lose(study, key)
    write_tables(study, WITH_VARIANTS)
    words, _ = drawn(study, name)
    assert "no result: " in words


def test_figures_of_one_run(tmp_path):
    plant_grid(tmp_path, ONE)
    write_tables(tmp_path, ONE)
    for name, plot in figures_of(ONE).items():
        plot(tmp_path, tmp_path / f"{name}.svg")
        assert len(pd.read_csv(tmp_path / f"{name}.csv")), name


@pytest.mark.parametrize("name", figures_of(GRID))
def test_no_variant_is_mixed_into_the_plain_grid(planted, tmp_path, name, monkeypatch):
    """A study without the variants has the same numbers."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: path.write_text(""))
    plain = shutil.copytree(planted, tmp_path / "plain")
    write_tables(plain, GRID)
    _, alone = drawn(plain, name)
    _, beside = drawn(shutil.copytree(planted, tmp_path / "beside"), name)
    pd.testing.assert_frame_equal(alone, beside)


def test_long_lists_of_holes_are_cut():
    lost = pd.DataFrame({"run": [f"run_{i}" for i in range(9)], "status": "missing"})
    assert lost_runs(lost[:0]) == ""
    assert lost_runs(lost[:2]) == "no result: run_0 missing, run_1 missing"
    assert lost_runs(lost).endswith("run_5 missing, and 3 more")


def test_heat_map_cells_have_mean_interval_and_n(study):
    lose(study, GRID.runs[0])
    write_tables(study, WITH_VARIANTS)
    words, numbers = drawn(study, "heatmap_rec_tokens")
    cells = numbers.set_index(["latent_space", "globals_beta"])
    assert cells.loc[("vq", "0.5"), "mean"] == pytest.approx(0.15)
    assert cells.loc[("vq", "0.5"), "low"] < 0.15 < cells.loc[("vq", "0.5"), "high"]
    assert list(cells.loc[("none", "0"), ["n", "diverged", "missing"]]) == [2, 0, 1]
    assert math.isnan(cells.loc[("none", "0"), "low"])  # two seeds have no interval
    for word in ("n = 2", "n = 3", "1 missing"):
        assert word in words


def test_the_heat_map_of_heads_says_which_were_never_trained(planted, tmp_path):
    output = tmp_path / "map.svg"
    for metric in ("rec_globals", "probe_rec_globals"):
        plot_heatmap(
            GRID, planted / "summary.csv", planted / "comparison.csv", metric, output, SMALL
        )
        found = output.read_text(encoding="utf-8").count("never trained")
        assert found == (2 if metric == "rec_globals" else 0)


def test_an_unknown_heat_map_is_refused(planted, tmp_path):
    with pytest.raises(UserError, match="no heat map of 'T'; choose one of rec_tokens, probe_rec"):
        plot_heatmap(GRID, planted / "a.csv", planted / "b.csv", "T", tmp_path / "T.svg", SMALL)


def test_colours_of_a_row_span_from_its_lowest_to_its_highest():
    scaled = scaled_by_row(np.array([[1.0, 10.0, 100.0], [5.0, math.nan, 5.0]]))
    assert_allclose(scaled, [[0, 0.5, 1], [0, math.nan, 0]])


def test_the_chain_is_in_gev(study):
    """A normalised error of 0.4 at a scale of 60 GeV."""
    _, numbers = drawn(study, "chain")
    probe = numbers[(numbers["step"] == "probe") & (numbers["latent_space"] == "vq")]
    assert_allclose(probe["mean"], 60 * math.sqrt(0.4), rtol=1e-4)
    assert (probe["low"] < probe["mean"]).all()


def test_the_price_is_paired_by_seed(study):
    """T grows from 0.1 to 0.15 in every seed, so the price has no spread between seeds."""
    _, numbers = drawn(study, "variants")
    prices = numbers[numbers["metric"] == "price"]
    assert list(prices["variant"].fillna("")) == ["", "control", "narrow", "", "narrow"]
    assert_allclose(prices["mean"], math.log(1.5), rtol=1e-5)


def test_latent_dim_has_the_plain_grid_and_what_changes_nothing_else(study):
    _, numbers = drawn(study, "latent_dim")
    assert set(numbers["variant"].fillna("")) == {"", "narrow"}
    assert set(numbers["latent_dim"]) == {2, 32}


def test_curves_of_one_run(planted, tmp_path):
    for number, key in enumerate(GRID.runs[:2]):
        output = tmp_path / f"{number}.svg"
        plot_run(RunFolder.of(planted, key.name), key, output, SMALL)
        words = output.read_text(encoding="utf-8")
        assert key.name in words
        assert ("perplexity" in words) == (key.latent_space == "vq")
