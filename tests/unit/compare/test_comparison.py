"""The comparison: hand-computed numbers, references, and the page of a table."""

import math

import numpy as np
import pandas as pd
import pytest
from planted_results import CELLS, change, key_of, plant_study, write_summary

from globals_heads.compare.comparison import METRICS, comparison, html_table
from globals_heads.compare.results import Cell, read_results
from globals_heads.facts import RunFolder
from globals_heads.settings import CompareSettings

NONE, REFERENCE = Cell("none", "0"), Cell("linear", "1")


def compared(folder, reference=REFERENCE):
    chosen = {
        "latent_space": reference.latent_space,
        "globals_beta": float(reference.globals_beta),
    }
    return comparison(read_results(folder, folder), CompareSettings(reference=chosen))


def row_of(table, metric, cell):
    keys = {"metric": metric, "latent_space": cell.latent_space, "globals_beta": cell.globals_beta}
    found = table[np.logical_and.reduce([table[k] == v for k, v in keys.items()])]
    assert len(found) == 1
    return found.iloc[0]


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


def test_event_errors_enter_the_intervals(tmp_path):
    """The reconstructed objects' error differs between seeds by 0, 0.01 and 0.02.

    The rest of its interval is the test split's.
    """
    plant_study(tmp_path)
    row = row_of(compared(tmp_path), "reco_objects_rec_globals", NONE)
    paths = [RunFolder.of(tmp_path, key_of(NONE, s).name).events("test") for s in range(3)]
    errors = np.mean([np.load(path)["reco_objects_error"] for path in paths], axis=0)
    seeds, events = 0.01 / math.sqrt(3), np.std(errors, ddof=1) / math.sqrt(len(errors))
    half_width = math.hypot(4.302653 * seeds, 1.959964 * events)
    assert row["high"] - row["mean"] == pytest.approx(half_width, rel=1e-6)


def test_every_metric_and_cell_has_a_row(tmp_path):
    plant_study(tmp_path)
    table = compared(tmp_path)
    planted = [metric for metric in METRICS if not metric.startswith("downstream")]
    known = [metric for metric in planted if not metric.endswith(("gev", "rad"))]
    assert list(table["metric"].unique()) == known
    assert len(table) == len(known) * len(CELLS)
    assert row_of(table, "skill", REFERENCE)[["difference", "difference_low"]].isna().all()
    assert row_of(table, "perplexity", NONE)["n"] == 0


def test_another_reference_and_one_outside_the_grid(tmp_path):
    plant_study(tmp_path)
    for cell in (NONE, Cell("linear", "7")):
        table = compared(tmp_path, cell)
        tokens = table[table["metric"] == "rec_tokens"]
        assert tokens["difference"].notna().sum() == (8 if cell == NONE else 0)


def test_one_seed_has_event_intervals_only(tmp_path):
    plant_study(tmp_path, num_seeds=1)
    row = row_of(compared(tmp_path), "probe_rec_globals", NONE)
    assert row["n"] == 1
    assert math.isnan(row["low"])
    assert row["event_low"] < row["mean"] < row["event_high"]


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
    table = compared(tmp_path)
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


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.34061366e-05, "1.341e-05"), (17432.0112, "17432"), (0.98280, "0.9828"), (math.nan, "")],
)
def test_a_page_shows_four_digits(value, shown):
    text = html_table("table", pd.DataFrame({"latent_space": ["none", "none"], "x": [value, 1.5]}))
    assert text.count("<td>none</td>") == 2
    assert f"<td>{shown}</td>" in text
    assert "NaN" not in text


def test_a_page_takes_nothing_for_html():
    text = html_table("table", pd.DataFrame({"<b>": ["<script>"], "{x}": ["&"]}))
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert "{x}" in text
