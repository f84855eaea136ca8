"""Claims: their rows in any grid, and which variants count as the controls."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from planted_results import (
    SETTINGS,
    G,
    answered,
    by_beta,
    controls,
    only,
    quiet,
    said,
)

from globals_heads.compare.answers import NO, UNTESTED, YES
from globals_heads.compare.decision_matrix import decision_matrix
from globals_heads.compare.questions import CLAIMS, claims
from globals_heads.compare.results import Cell
from globals_heads.settings import Settings
from globals_heads.validation import validated

CONTROLS_FILE = Path(__file__).parents[3] / "config/controls.yaml"
CONTROLS = validated(Settings, yaml.safe_load(CONTROLS_FILE.read_text()), str(CONTROLS_FILE))


def test_without_controls_capacity_is_not_tested():
    found = answered(quiet(by_beta(0, 1, 2), by_beta(0.6, 0.3, 0.3)), "3'")
    assert {a.answer for a in found.values()} == {UNTESTED}
    assert {a.reason for a in found.values()} == {"the controls were not run"}


@pytest.mark.parametrize(
    ("variant", "block", "change"),
    [
        ("control", "train", {"clip_norm": 1.0}),
        ("control", "train", {"lr_schedule": "constant"}),
        ("control_wide", "train", {"learning_rate": 1e-2}),
        ("control_wide", "model", {"latent_dim": 63}),
        ("control_wide", "model", {"hidden_dims": [256]}),
        ("", "model", {"latent_dim": 64}),
    ],
)
def test_other_variants_of_these_names_are_no_controls(variant, block, change):
    found = {key.name: CONTROLS.run_settings(key) for key in CONTROLS.runs}
    measured = quiet(*controls(1.0, 0.1))
    right = answered(replace(measured, settings=found), "3'")
    assert {name: a.answer for name, a in right.items()} == dict.fromkeys(
        ("none", "linear", "vq"), YES
    )
    wrong = {
        name: run.model_copy(
            update={block: getattr(run, block).model_copy(update=change)}
            if run.variant == variant
            else {}
        )
        for name, run in found.items()
    }
    answer = answered(replace(measured, settings=wrong), "3'")["none"]
    assert answer.answer == UNTESTED
    assert answer.reason == "control and control_wide differ from config/controls.yaml"


def test_smaller_grids_are_examined_as_far_as_they_go():
    two = quiet(only(("none", "0"), ("none", "10")), G)
    assert said(two, "2") == said(two, "3") == {YES}
    assert said(two, "2b") == {UNTESTED}  # 1 and 10 are the same beta here
    assert said(two, "4") == said(two, "5") == said(two, "M4") == {UNTESTED}
    one = quiet(only(("vq", "1")), G)
    questions = claims(one, SETTINGS) + [c.question for c in decision_matrix(one, SETTINGS)]
    assert {q.claim for q in questions} == {*CLAIMS, "M1", "M2", "M3", "M4", "M5"}
    assert {q.claim for q in questions if not q.untested} == {"2c"}
    assert said(one, "2c") == {NO}
    off = quiet(only(("none", "0"), ("vq", "0")), G)
    assert said(off, "4") == said(off, "5") == said(off, "6") == {UNTESTED}


def test_betas_are_sorted_by_value():
    cells = [Cell("none", beta) for beta in ("10", "9", "0.5")]
    found = quiet(dict(zip(cells, (2, 1, 0), strict=True)), dict.fromkeys(cells, 0.3))
    assert said(found, "E1") == said(found, "E2") == {YES}
