"""Summary and figures from planted facts: right rows, visible holes, same bytes."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from globals_heads.compare.figures import (
    HEATMAPS,
    plot_heatmap,
    plot_learning_curves,
    plot_run,
    plot_tradeoff,
    scaled_by_row,
)
from globals_heads.compare.summary import YARDSTICK_COLUMNS, collect, read_summary
from globals_heads.facts import Metric, RunFolder, write_epochs, write_metrics
from globals_heads.files import UserError
from globals_heads.settings import Grid, PlotSettings

GRID = Grid(latent_space=["none", "vq"], globals_beta=[0, 0.5], seeds=2)


def plant(runs, key, losses=(3.0, 1.0, 2.0)):
    """Write the facts of one run whose validation losses are `losses`."""
    folder = RunFolder(runs / key.name)
    epochs = [
        {
            "epoch": i,
            "loss": loss,
            "rec_tokens": loss / 2,
            "rec_globals": loss / 4,
            "clipped_fraction": 0.5,
            "epoch_time_s": 1.0,
            "throughput": 100.0,
            "peak_memory_mib": 300.0 + i,
        }
        | ({"perplexity": 9.0, "active_codes": 7.0} if key.latent_space == "vq" else {})
        for i, loss in enumerate(losses, start=1)
    ]
    write_epochs(folder.metrics("train"), key, epochs)
    write_epochs(folder.metrics("val"), key, epochs)
    metrics = [
        Metric("val", "best_epoch", "all", 2.0, "epoch"),
        Metric("test", "rec_tokens", "all", 0.1 * (1 + key.globals_beta), "1"),
        Metric("test", "rec_globals", "head", 0.5, "1"),
        Metric("test", "rec_globals", "probe", 0.4, "1"),
    ]
    write_metrics(folder.metrics("test"), key, metrics)
    for path in (folder.settings, folder.model, folder.events("test")):
        path.touch()  # there, as after an evaluation, and not read here


@pytest.fixture
def runs(tmp_path):
    """Facts of a whole grid and its yardsticks."""
    folder = tmp_path / "runs"
    for key in GRID.runs:
        plant(folder, key)
    rows = [Metric("test", metric, name, 0.34, "1") for metric, name in YARDSTICK_COLUMNS.values()]
    write_metrics(tmp_path / "yardsticks.csv", None, rows)
    return folder


def summarised(runs):
    output = runs.parent / "summary.csv"
    collect(GRID, runs, runs.parent / "yardsticks.csv", output)
    return read_summary(output)


def test_one_row_per_run_in_the_order_of_their_numbers(runs):
    table = summarised(runs)
    assert list(table["run"]) == [key.name for key in GRID.runs]
    assert list(table["number"]) == list(range(8))
    assert set(table["status"]) == {"ok"}
    assert list(table["globals_beta"].unique()) == ["0", "0.5"]
    assert list(table["latent_space"].unique()) == ["none", "vq"]


def test_the_validation_loss_is_the_one_of_the_best_epoch(runs):
    assert set(summarised(runs)["val_loss"]) == {1.0}


def test_timings_are_the_last_columns(runs):
    columns = ["epoch_time_s", "throughput", "peak_memory_mib"]
    assert list(summarised(runs).columns[-3:]) == columns


def test_the_same_facts_give_the_same_bytes(runs):
    summarised(runs)
    before = (runs.parent / "summary.csv").read_bytes()
    summarised(runs)
    assert (runs.parent / "summary.csv").read_bytes() == before


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_diverged_run_is_shown_and_has_no_numbers(runs, loss):
    plant(runs, GRID.runs[0], losses=(3.0, loss))
    row = summarised(runs).iloc[0]
    assert row["status"] == "diverged"
    assert math.isnan(row["val_loss"])
    assert math.isnan(row["rec_tokens"])
    assert row["epochs"] == 2


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_missing_run_is_shown(runs, split):
    RunFolder(runs / GRID.runs[3].name).metrics(split).unlink()
    table = summarised(runs)
    assert table["status"].tolist() == ["ok"] * 3 + ["missing"] + ["ok"] * 4
    assert math.isnan(table["rec_tokens"][3])


def test_facts_of_another_run_are_refused(runs):
    first, second = (RunFolder(runs / key.name).metrics("val") for key in GRID.runs[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="holds facts of vq/beta_0/seed_0, but only none/beta_0"):
        summarised(runs)


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n", "run\nx\n"])
def test_damaged_facts_are_refused(runs, content):
    RunFolder(runs / GRID.runs[0].name).metrics("val").write_text(content)
    with pytest.raises(UserError, match=r"metrics_val\.csv"):
        summarised(runs)


def draw_all(runs, folder):
    summary = runs.parent / "summary.csv"
    settings = PlotSettings()
    for metric in HEATMAPS:
        plot_heatmap(GRID, summary, metric, folder / f"{metric}.svg", settings)
    plot_learning_curves(GRID, runs, folder / "curves.svg", settings)
    plot_tradeoff(GRID, summary, folder / "tradeoff.svg", settings)
    plot_run(RunFolder(runs / GRID.runs[1].name), GRID.runs[1], folder / "run.svg", settings)


def test_figures_come_as_svg_png_and_csv_with_the_same_bytes(runs, tmp_path):
    summarised(runs)
    for name in ("one", "two"):
        draw_all(runs, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 3 * (len(HEATMAPS) + 3)
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_heat_map_names_its_holes(runs, tmp_path):
    for seed in (0, 4):
        plant(runs, GRID.runs[seed], losses=(math.nan,))
    plant(runs, GRID.runs[1], losses=(math.nan,))
    summarised(runs)
    draw_all(runs, tmp_path / "figures")
    text = (tmp_path / "figures" / "rec_tokens.svg").read_text()
    assert "2 diverged" in text  # none at beta 0 has no run left
    assert "1 diverged" in text  # vq at beta 0 has one
    assert "n = 2" in text
    assert "vq/beta_0/seed_0 diverged" in (tmp_path / "figures" / "tradeoff.svg").read_text()


def test_a_heat_map_of_nothing_but_holes(runs, tmp_path):
    for key in GRID.runs:
        plant(runs, key, losses=(math.nan,))
    summarised(runs)
    draw_all(runs, tmp_path / "figures")


def test_an_unknown_heat_map_is_refused(runs, tmp_path):
    summarised(runs)
    with pytest.raises(UserError, match="no heat map of 'T'; choose one of val_loss, rec_tokens"):
        plot_heatmap(GRID, runs.parent / "summary.csv", "T", tmp_path / "T.svg", PlotSettings())


def test_colours_of_a_row_span_from_its_lowest_to_its_highest():
    scaled = scaled_by_row(np.array([[1.0, 10.0, 100.0], [5.0, math.nan, 5.0]]))
    assert_allclose(scaled, [[0, 0.5, 1], [0, math.nan, 0]])


def test_heat_map_numbers_are_the_means_over_seeds(runs, tmp_path):
    summarised(runs)
    output = tmp_path / "map.svg"
    plot_heatmap(GRID, runs.parent / "summary.csv", "rec_tokens", output, PlotSettings())
    numbers = pd.read_csv(output.with_suffix(".csv"))
    cells = numbers.set_index(["globals_beta", "latent_space"])["mean"]
    assert cells[0.5, "vq"] == pytest.approx(0.15)
    assert cells[0.0, "none"] == pytest.approx(0.1)
    assert set(numbers["count"]) == {2}
