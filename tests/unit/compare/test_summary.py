"""The summary from planted facts: right rows, missing and diverged runs shown, same bytes."""

import math

import pytest
from planted_facts import plant_grid, plant_run

from globals_heads.compare.summary import collect
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.settings import Grid, Settings
from globals_heads.tables import read_summary

GRID = Grid(latent_space=["none", "vq"], globals_beta=[0, 0.5], seeds=2)


@pytest.fixture
def runs(tmp_path):
    """Facts of a whole grid and its baselines."""
    plant_grid(tmp_path, GRID)
    return tmp_path


def summarised(runs):
    output = runs / "summary.csv"
    collect(GRID, runs, runs / "baselines.csv", output, ())
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
    before = (runs / "summary.csv").read_bytes()
    summarised(runs)
    assert (runs / "summary.csv").read_bytes() == before


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_diverged_run_is_shown_and_has_no_numbers(runs, loss):
    plant_run(runs, Settings(**GRID.model_dump()), GRID.runs[0], losses=(3.0, loss))
    row = summarised(runs).iloc[0]
    assert row["status"] == "diverged"
    assert math.isnan(row["val_loss"])
    assert math.isnan(row["rec_tokens"])
    assert row["epochs"] == 2


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_missing_run_is_shown(runs, split):
    RunFolder.of(runs, GRID.runs[3].name).metrics(split).unlink()
    table = summarised(runs)
    assert table["status"].tolist() == ["ok"] * 3 + ["missing"] + ["ok"] * 4
    assert math.isnan(table["rec_tokens"][3])


def test_facts_of_another_run_are_refused(runs):
    first, second = (RunFolder.of(runs, key.name).metrics("val") for key in GRID.runs[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="holds facts of vq/beta_0/seed_0, but only none/beta_0"):
        summarised(runs)


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n", "run\nx\n"])
def test_damaged_facts_are_refused(runs, content):
    RunFolder.of(runs, GRID.runs[0].name).metrics("val").write_text(content)
    with pytest.raises(UserError, match=r"metrics_val\.csv"):
        summarised(runs)
