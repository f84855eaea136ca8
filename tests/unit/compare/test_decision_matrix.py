"""The decision matrix: guesses, measured best cells, and the conditions they must meet."""

import numpy as np
from planted_results import (
    FLAT,
    LN_T,
    SETTINGS,
    G,
    but,
    equal,
    lose,
    plant_study,
    quiet,
    said,
    write_summary,
)

from globals_heads.compare.answers import NO, YES
from globals_heads.compare.decision_matrix import decision_matrix
from globals_heads.compare.results import Cell, read_results

GUESS = Cell("linear", "1")


def choices(found):
    """Return the lines of the matrix by their numbers."""
    return {choice.question.claim: choice for choice in decision_matrix(found, SETTINGS)}


def test_a_guess_without_skill_is_not_balanced():
    g = but(FLAT, [GUESS], 0.6)
    assert said(quiet(but(equal(1), [GUESS], 0), g), "M2") == {NO}
    # The better cell has no skill, so the guess stands.
    g = but(FLAT, [("none", "0")], 0.6)
    found = quiet(but(equal(1), [("none", "0")], -5) | {Cell("linear", "1"): 0}, g)
    assert said(found, "M2") == {YES}
    matrix = choices(found)
    assert matrix["M1"].best == Cell("none", "0")
    assert matrix["M2"].best == matrix["M5"].best == GUESS


def test_a_cell_qualifies_by_its_lower_limit():
    ln_t = but(equal(1), [("none", "1")], -5) | {Cell("linear", "1"): 0}
    doubtful = {Cell("none", "1"): np.linspace(0.8, 1.1, 5)}  # 0.95 on average
    found = quiet(ln_t, equal(0.2), skill=doubtful)
    assert said(found, "M2") == {YES}
    assert choices(found)["M2"].best == GUESS


def test_the_matrix_names_the_best_cell_beside_the_guess():
    matrix = choices(quiet(LN_T, G))
    assert [choice.guess for choice in matrix.values()] == [
        Cell("none", "0"),
        Cell("linear", "1"),
        Cell("linear", "10"),
        Cell("vq", "1"),
        Cell("linear", "1"),
    ]
    assert matrix["M1"].best == Cell("none", "0")
    assert matrix["M2"].best == Cell("none", "1")
    assert matrix["M3"].best == Cell(
        "none", "1"
    )  # the globals error ties with 10, the tokens' is smaller
    assert matrix["M4"].best == Cell("vq", "0")
    assert {claim: said(quiet(LN_T, G), claim) for claim in matrix} == {
        "M1": {YES},
        "M2": {YES},
        "M3": {YES},
        "M4": {NO},
        "M5": {YES},
    }


def test_a_cell_with_a_lost_run_is_never_the_best(tmp_path):
    rows = plant_study(tmp_path)
    assert choices(read_results(tmp_path, tmp_path))["M2"].best == Cell("none", "1")
    write_summary(tmp_path, lose(rows, "none/beta_1/seed_1"))
    matrix = choices(read_results(tmp_path, tmp_path))
    assert matrix["M2"].best == GUESS
    for choice in matrix.values():
        assert choice.rule.endswith("; left out for a missing or diverged run: none, weight 1")


def test_what_excludes_a_cell_with_better_tokens_is_named():
    better = Cell("none", "1")
    late = {better: np.array([0, 5, 0, 5, 5])}
    choice = choices(quiet(LN_T, G, epochs_after_best=late))["M5"]
    assert choice.best == GUESS
    assert choice.left_out == (
        "Left out: none, weight 1 (the best epoch is the last one in 2 of 5 seeds)"
    )
    slow = choices(quiet(LN_T, G, epochs_after_best=late, ln_throughput={better: 8.0}))["M5"]
    assert slow.left_out.endswith(
        "in 2 of 5 seeds and too slow, 0.30 of the fastest cell's events/s)"
    )
    late[GUESS] = np.array([5, 5, 5, 5, 0])
    both = choices(quiet(LN_T, G, epochs_after_best=late))["M5"]
    assert both.best == Cell("none", "10")
    assert both.left_out.endswith(
        "; linear, weight 1 (the best epoch is the last one in 1 of 5 seeds)"
    )
    assert not choices(quiet(LN_T, G))["M5"].left_out


def test_where_no_cell_qualifies_some_are_named():
    choice = choices(quiet(LN_T, G, epochs_after_best=dict.fromkeys(LN_T, 0)))["M5"]
    assert choice.best is None
    assert choice.left_out.startswith("Left out: none, weight 1 (the best epoch is the last")
    assert choice.left_out.endswith("; and 2 more")


def test_the_guess_of_weight_1_is_that_of_weight_1(tmp_path):
    """Also where 1 is the smallest weight, and a larger one is what claim 2 calls standard."""
    rows = [row for row in plant_study(tmp_path) if row["globals_beta"] != "0"]
    write_summary(tmp_path, rows)
    matrix = choices(read_results(tmp_path, tmp_path))
    assert {claim: choice.guess.name for claim, choice in matrix.items()} == {
        "M1": "none/beta_1",
        "M2": "linear/beta_1",
        "M3": "linear/beta_10",
        "M4": "vq/beta_1",
        "M5": "linear/beta_1",
    }
