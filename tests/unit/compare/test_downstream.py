"""AUC, background rejection and their uncertainties, beside plain references."""

import json

import numpy as np
import pandas as pd
import pytest
from planted_facts import plant_grid, write_tables

from globals_heads.compare.downstream import (
    METRICS,
    auc,
    measure,
    metric,
    read_scores,
    rejection,
)
from globals_heads.compare.statistics import event_standard_error
from globals_heads.errors import UserError
from globals_heads.settings import Grid


def drawn(seed=0, num_events=2000, shift=1.0):
    """Return scores of normal noise, signal shifted, and what is signal."""
    rng = np.random.default_rng(seed)
    is_signal = rng.random(num_events) < 0.4
    return rng.normal(size=num_events) + shift * is_signal, is_signal


def test_auc_by_hand():
    """Five of six pairs are in order, and one is tied."""
    scores = np.array([3.0, 2.0, 1.0, 2.0, 0.0])
    is_signal = np.array([True, True, False, False, False])
    assert auc(scores, is_signal)[0] == pytest.approx(5.5 / 6)
    scores = np.array([3.0, 1.0, 2.0, 1.0, 0.0])
    assert auc(scores, is_signal)[0] == pytest.approx((3 + 0 + 0.5 + 1) / 6)
    assert auc(-scores, is_signal)[0] == pytest.approx(1 - 4.5 / 6)


def test_rejection_by_hand():
    """Half of the signal lies above 2.5, and one of five background events does."""
    scores = np.array([1.0, 2.0, 3.0, 4.0, 9.0, 0.0, 0.0, 1.0, 2.0])
    is_signal = np.arange(9) < 4
    assert rejection(scores, is_signal)[0] == pytest.approx(5)
    scores[4] = 0  # none is left: at least one in five is assumed
    assert rejection(scores, is_signal)[0] == pytest.approx(5)


@pytest.mark.parametrize(("function", "rtol"), [(auc, 0.1), (rejection, 0.2)])
def test_standard_errors_are_those_of_resampled_events(function, rtol):
    scores, is_signal = drawn()
    _, influence = function(scores, is_signal)
    rng, values = np.random.default_rng(1), []
    for _ in range(500):
        chosen = rng.integers(len(scores), size=len(scores))
        values.append(function(scores[chosen], is_signal[chosen])[0])
    assert influence.mean() == pytest.approx(0, abs=1e-9 * np.abs(influence).max())
    assert event_standard_error(influence) == pytest.approx(np.std(values), rel=rtol)


def test_differences_are_paired_with_the_original():
    scores, is_signal = drawn()
    worse = scores + np.random.default_rng(3).normal(size=len(scores))
    found = measure(
        {"original": scores, "is_signal": is_signal, "reconstructed": scores, "encoded": worse}
    )
    assert set(found.metrics) == set(found.influences) == set(METRICS)
    assert found.metrics[metric("reconstructed", "auc", difference=True)] == 0
    assert not found.influences[metric("reconstructed", "rejection", difference=True)].any()
    name = metric("encoded", "auc", difference=True)
    expected = auc(worse, is_signal)[0] - auc(scores, is_signal)[0]
    assert found.metrics[name] == pytest.approx(expected)
    assert expected < -0.05
    # The same events: the difference is known better than either number.
    separate = np.hypot(
        *(event_standard_error(found.influences[metric(k, "auc")]) for k in ("original", "encoded"))
    )
    assert event_standard_error(found.influences[name]) < separate


def test_damaged_outputs_are_named(tmp_path):
    path = tmp_path / "downstream_test.npz"
    np.savez(path, encoded=np.array([1.0, np.nan]))
    for names in (("encoded",), ("original",)):
        with pytest.raises(UserError, match=r"downstream_test\.npz cannot be read as outputs"):
            read_scores(path, names)


def test_the_verdict_has_a_row_for_each_latent_space(tmp_path):
    grid = Grid(latent_space=["none", "vq"], globals_beta=[0, 1, 10], seeds=3)
    plant_grid(tmp_path, grid)
    write_tables(tmp_path, grid)
    found = json.loads((tmp_path / "verdict.json").read_text())["downstream"]
    assert found["is_demonstration"]
    assert "demonstration" in found["note"]
    assert [row["cell"] for row in found["rows"]] == ["none/beta_1", "vq/beta_1"]
    row = found["rows"][1]
    assert set(row["numbers"]) == set(METRICS)
    name = metric("encoded", "auc", difference=True)
    low, high = row["numbers"][name]["interval"]
    assert low < row["numbers"][name]["mean"] < high < 0
    page = (tmp_path / "verdict.md").read_text()
    shown = next(line for line in page.splitlines() if line.startswith("| vq | 0."))
    assert f"{row['numbers'][name]['mean']:.3f}".replace("-", "−") in shown
    assert found["note"] in page
    runs = pd.read_csv(tmp_path / "downstream.csv")
    assert len(runs) == 18
    of_cell = runs[(runs["latent_space"] == "vq") & (runs["globals_beta"] == 1)]
    assert of_cell[name].mean() == pytest.approx(row["numbers"][name]["mean"])
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert set(METRICS) <= set(table["metric"])
