"""Results: pairing by seed, runs without a result, variants, and damaged files."""

import math

import numpy as np
import pytest
from planted_results import CELLS, G, key_of, lose, plant_study, quiet, write_summary

from globals_heads.compare.results import Cell, LostRun, in_words, num_codes, read_results
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.settings import RunKey, Settings

NONE, LINEAR = Cell("none", "0"), Cell("linear", "0")


def read(folder):
    return read_results(folder, folder)


@pytest.mark.parametrize("status", ["diverged", "missing"])
def test_a_run_without_a_result_is_counted_and_named(tmp_path, status):
    run = key_of(NONE, 1).name
    write_summary(tmp_path, lose(plant_study(tmp_path), run, status))
    results = read(tmp_path)
    assert results.contrast("rec_tokens", {NONE: 1.0}).num_seeds == 2
    assert results.contrast("rec_tokens", {LINEAR: 1.0, NONE: -1.0}).num_seeds == 2
    assert results.lost_runs("rec_tokens", [NONE, LINEAR]) == [LostRun(NONE, 1, status)]


def test_a_run_without_a_row_is_missing(tmp_path):
    rows = plant_study(tmp_path)
    run = key_of(NONE, 2).name
    write_summary(tmp_path, [row for row in rows if row["run"] != run])
    assert read(tmp_path).lost_runs("skill", [NONE, LINEAR]) == [LostRun(NONE, 2, "missing")]


def test_lost_runs_are_named_once_and_not_too_many():
    lost = [LostRun(NONE, 1, "missing"), LostRun(NONE, 2, "missing"), LostRun(NONE, 1, "missing")]
    assert in_words(lost, most=2) == "missing: none, weight 0 (seeds 1 and 2)"
    lost.append(LostRun(LINEAR._replace(variant="wide"), 0, "diverged"))
    both = "missing: none, weight 0 (seeds 1 and 2); diverged: wide: linear, weight 0 (seed 0)"
    assert in_words(lost, most=2) == both
    lost.insert(0, LostRun(NONE, 0, "missing"))
    both = both.replace("seeds 1 and 2", "3 seeds")
    lost += [LostRun(cell, 0, "diverged") for cell in CELLS[2:5]]
    assert in_words(lost, most=2) == f"{both}; and 3 more"


def test_the_ratio_of_mean_errors_is_the_factor_between_them(tmp_path):
    """Of errors that spread by factors; the arithmetic mean of a globals error stays one."""
    ln_t = {
        cell: truth + np.array([0, 0, 3.0]) for cell, truth in zip(CELLS, range(9), strict=True)
    }
    found = quiet(dict.fromkeys(CELLS, 0.0), G, 3, ln_rec_tokens=ln_t)
    ratio = found.mean("rec_tokens", LINEAR) / found.mean("rec_tokens", NONE)
    factor = math.exp(found.contrast("ln_rec_tokens", {LINEAR: 1.0, NONE: -1.0}).mean)
    assert ratio == pytest.approx(factor) == pytest.approx(math.e)
    assert found.mean("rec_tokens", NONE) == pytest.approx(math.e)
    assert found.mean("probe_rec_globals", NONE) == pytest.approx(G[NONE])


def test_variants_are_cells_of_their_own(tmp_path):
    rows = plant_study(tmp_path)
    controls = [row | {"variant": "control"} for row in rows if row["seed"] < 2]
    write_summary(tmp_path, rows + controls)
    results = read(tmp_path)
    assert results.cells() == CELLS
    assert results.cells("control") == [
        Cell(c.latent_space, c.globals_beta, "control") for c in CELLS
    ]
    assert results.statuses[Cell("vq", "1", "control")] == ("ok", "ok", None)
    assert not results.lost_runs("skill", results.statuses)
    assert results.contrast("skill", {Cell("vq", "1", "control"): 1.0}).num_seeds == 2


def test_ratios_are_taken_over_all_events(tmp_path):
    rows = plant_study(tmp_path)
    results = read(tmp_path)
    for row in rows:
        assert results.errors[row["run"]].metrics["rec_tokens"] == pytest.approx(row["rec_tokens"])


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


@pytest.mark.parametrize(("space", "codes"), [("none", math.nan), ("vq", 512), ("fsq", 1000)])
def test_the_number_of_codes(space, codes):
    key = RunKey(latent_space=space, globals_beta=0.0, seed=0)
    settings = Settings(latent_space=[space], bottleneck={"fsq": {"levels": [10, 10, 10]}})
    assert num_codes(settings.run_settings(key)) == pytest.approx(codes, nan_ok=True)
