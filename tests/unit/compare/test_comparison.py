"""The comparison and the evidence behind it: hand-computed numbers, lost_runs, damaged files."""

import math

import numpy as np
import pandas as pd
import pytest
from planted_results import CELLS, key_of, plant_study, quiet, write_summary

from globals_heads.compare.comparison import METRICS, compare, comparison
from globals_heads.compare.results import Cell, read_results
from globals_heads.compare.statistics import holm
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.settings import CompareSettings

NONE, LINEAR, REFERENCE = Cell("none", "0"), Cell("linear", "0"), Cell("linear", "1")


def read(folder):
    return read_results(folder / "summary.csv", folder, folder / "events_test.npz")


def compared(folder, name="comparison.csv", settings=None):
    output = folder / name
    paths = folder / "summary.csv", folder, folder / "events_test.npz"
    compare(*paths, output, settings or CompareSettings())
    return pd.read_csv(output, dtype={"globals_beta": str}, keep_default_na=False, na_values=[""])


def row_of(table, metric, cell):
    keys = {"metric": metric, "latent_space": cell.latent_space, "globals_beta": cell.globals_beta}
    found = table[np.logical_and.reduce([table[k] == v for k, v in keys.items()])]
    assert len(found) == 1
    return found.iloc[0]


def change(rows, run, **values):
    return [row | values if row["run"] == run else row for row in rows]


def test_a_difference_by_hand(tmp_path):
    """Seeds are paired: differences of 1, 2 and 6 have mean 3 and standard deviation sqrt(7)."""
    rows = plant_study(tmp_path)
    for seed, (reference, value) in enumerate([(10.0, 11.0), (30.0, 32.0), (20.0, 26.0)]):
        rows = change(rows, key_of(REFERENCE, seed).name, pt_relative_sigma68=reference)
        rows = change(rows, key_of(NONE, seed).name, pt_relative_sigma68=value)
    write_summary(tmp_path, rows)
    row = row_of(compared(tmp_path), "pt_relative_sigma68", NONE)
    half_width = 4.302653 * math.sqrt(7 / 3)
    assert row["n"] == row["difference_n"] == 3
    assert row["mean"] == pytest.approx(23)
    assert row["difference"] == pytest.approx(3)
    assert row["difference_low"] == pytest.approx(3 - half_width, rel=1e-6)
    assert row["difference_high"] == pytest.approx(3 + half_width, rel=1e-6)
    assert row["p_value"] == pytest.approx(0.1885, abs=2e-4)  # t = 1.964 at 2 degrees of freedom


def test_event_errors_enter_the_intervals(tmp_path):
    """L differs between seeds by 0, 0.01 and 0.02, the rest of its interval is the test split's."""
    plant_study(tmp_path)
    row = row_of(compared(tmp_path), "reco_objects_rec_globals", NONE)
    paths = [RunFolder.of(tmp_path, key_of(NONE, s).name).events("test") for s in range(3)]
    errors = np.mean([np.load(path)["reco_objects_error"] for path in paths], axis=0)
    se = math.hypot(0.01 / math.sqrt(3), np.std(errors, ddof=1) / math.sqrt(len(errors)))
    assert row["high"] - row["mean"] == pytest.approx(4.302653 * se, rel=1e-6)


def test_every_metric_and_cell_has_a_row(tmp_path):
    plant_study(tmp_path)
    table = compared(tmp_path)
    known = [metric for metric in METRICS if not metric.endswith(("gev", "rad", "val_loss"))]
    assert list(table["metric"].unique()) == known
    assert len(table) == len(known) * len(CELLS)
    assert row_of(table, "skill", REFERENCE)[["difference", "p_value"]].isna().all()
    assert row_of(table, "perplexity", NONE)["n"] == 0


def test_p_values_are_adjusted_within_a_metric(tmp_path):
    plant_study(tmp_path)
    for _, rows in compared(tmp_path).groupby("metric"):
        expected = holm(rows["p_value"].to_numpy())
        assert rows["p_holm"].to_numpy() == pytest.approx(expected, rel=1e-6, nan_ok=True)
        assert (rows["p_holm"].dropna() >= rows["p_value"].dropna()).all()


def test_the_same_facts_give_the_same_bytes(tmp_path):
    plant_study(tmp_path)
    compared(tmp_path, "one.csv")
    compared(tmp_path, "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_another_reference_and_one_outside_the_grid(tmp_path):
    plant_study(tmp_path)
    for cell in (NONE, Cell("linear", "7")):
        reference = {"latent_space": cell.latent_space, "globals_beta": float(cell.globals_beta)}
        table = compared(tmp_path, settings=CompareSettings(reference=reference))
        tokens = table[table["metric"] == "rec_tokens"]
        assert tokens["difference"].notna().sum() == (8 if cell == NONE else 0)


def test_one_seed_has_event_intervals_only(tmp_path):
    plant_study(tmp_path, num_seeds=1)
    row = row_of(compared(tmp_path), "probe_rec_globals", NONE)
    assert row["n"] == 1
    assert math.isnan(row["low"])
    assert math.isnan(row["p_holm"])
    assert row["event_low"] < row["mean"] < row["event_high"]


@pytest.mark.parametrize("status", ["diverged", "missing"])
def test_a_hole_is_counted_and_named(tmp_path, status):
    rows = plant_study(tmp_path)
    run = key_of(NONE, 1).name
    nothing = dict.fromkeys(["rec_tokens", "probe_rec_globals", "best_epoch"], math.nan)
    write_summary(tmp_path, change(rows, run, status=status, **nothing))
    row = row_of(compared(tmp_path), "rec_tokens", NONE)
    assert row["n"] == row["difference_n"] == 2
    assert read(tmp_path).lost_runs("rec_tokens", [NONE, LINEAR]) == [f"{run} {status}"]


def test_a_run_without_a_row_is_a_hole(tmp_path):
    rows = plant_study(tmp_path)
    run = key_of(NONE, 2).name
    write_summary(tmp_path, [row for row in rows if row["run"] != run])
    assert read(tmp_path).lost_runs("skill", [NONE, LINEAR]) == [f"{run} missing"]


def test_variants_are_cells_of_their_own(tmp_path):
    rows = plant_study(tmp_path)
    controls = [row | {"variant": "control"} for row in rows if row["seed"] < 2]
    write_summary(tmp_path, rows + controls)
    evidence = read(tmp_path)
    assert evidence.cells() == CELLS
    assert evidence.cells("control") == [
        Cell(c.latent_space, c.globals_beta, "control") for c in CELLS
    ]
    assert evidence.statuses[Cell("vq", "1", "control")] == ("ok", "ok", None)
    assert evidence.lost_runs("skill", evidence.statuses) == []
    table = comparison(evidence, CompareSettings())
    assert set(table.loc[table["variant"] == "control", "n"]) == {0, 2}


@pytest.mark.parametrize(("spaces", "reference"), [(("linear",), 0.0), (("none",), 1.0)])
def test_a_variant_is_compared_with_its_own_reference_or_else_the_plain_one(
    tmp_path, spaces, reference
):
    """The variant's error is larger by 1 than that of the same run of the plain grid."""
    rows = plant_study(tmp_path)
    controls = [
        row | {"variant": "control", "pt_relative_sigma68": row["pt_relative_sigma68"] + 1}
        for row in rows
        if row["latent_space"] in spaces
    ]
    write_summary(tmp_path, rows + controls)
    table = comparison(read(tmp_path), CompareSettings())
    found = table[
        (table["variant"] == "control")
        & (table["metric"] == "pt_relative_sigma68")
        & (table["globals_beta"] == "10")
    ]
    means = table[table["metric"] == "pt_relative_sigma68"].set_index(
        ["variant", "latent_space", "globals_beta"]
    )["mean"]
    (space,) = spaces
    plain = means["", space, "10"] - means["", "linear", "1"]
    assert found["difference"].item() == pytest.approx(plain + reference)


def test_a_reference_outside_the_grid_is_said_to_be(tmp_path, capsys):
    plant_study(tmp_path)
    reference = {"latent_space": "fsq", "globals_beta": 1}
    compared(tmp_path, settings=CompareSettings(reference=reference))
    assert "The reference cell fsq/beta_1 (compare.reference) is not in" in capsys.readouterr().out


def test_ratios_are_taken_over_all_events(tmp_path):
    rows = plant_study(tmp_path)
    evidence = read(tmp_path)
    for row in rows:
        assert evidence.errors[row["run"]].metrics["rec_tokens"] == pytest.approx(row["rec_tokens"])


def test_contrasts_are_paired_by_seed():
    found = quiet(dict.fromkeys(CELLS, 0.0), dict.fromkeys(CELLS, 0.0))
    pair = found.contrast("ln_rec_tokens", {CELLS[1]: 1.0, CELLS[0]: -1.0})
    # The two cells move with their seeds by 1e-3 and 2e-3 times the same pattern.
    assert pair.se_seed == pytest.approx(found.contrast("ln_rec_tokens", {CELLS[0]: 1.0}).se_seed)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("head_error", None, "head_error"),
        ("head_error", np.ones(3), "shapes"),
        ("num_tokens", "other", "other test events"),
    ],
)
def test_damaged_event_errors_are_refused(tmp_path, name, content, message):
    plant_study(tmp_path)
    path = RunFolder.of(tmp_path, key_of(LINEAR).name).events("test")
    arrays = dict(np.load(path))
    if content is None:
        del arrays[name]
    else:
        arrays[name] = arrays[name] + 1 if isinstance(content, str) else content
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 half a file"])
def test_a_file_without_arrays_is_refused(tmp_path, content):
    plant_study(tmp_path)
    (tmp_path / "events_test.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"events_test\.npz"):
        read(tmp_path)
