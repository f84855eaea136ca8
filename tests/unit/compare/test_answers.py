"""Answers: planted results give the right answer to every claim, and chance rarely a wrong one."""

import math

import numpy as np
import pytest
from planted_results import (
    CELLS,
    FLAT,
    LN_T,
    NOISES,
    G,
    answered,
    but,
    by_beta,
    by_space,
    controls,
    drawn,
    equal,
    questions_of,
    quiet,
    said,
    with_lost_run,
)
from planted_truths import AT_THE_MARGIN, CASES, DT, GUESS

from globals_heads.compare.answers import NO, NOT_CAPACITY, OPEN, TIE, YES
from globals_heads.compare.results import Cell


@pytest.mark.parametrize("claim", CASES)
@pytest.mark.parametrize(("case", "answer"), [(0, YES), (1, NO), (2, OPEN)])
def test_planted_results_give_the_right_answer(claim, case, answer):
    assert said(quiet(*CASES[claim][case]), claim) == {answer}


@pytest.mark.parametrize("claim", CASES)
def test_two_seeds_answer_nothing_but_give_a_hint(claim):
    for num_seeds in (1, 2):
        for case, hint in ((0, YES), (1, NO)):
            answers = answered(quiet(*CASES[claim][case], num_seeds=num_seeds), claim).values()
            assert {a.answer for a in answers} == {OPEN}
            # Perplexity and speed have no errors per event, so M4 and M5 have no yes to hint at.
            assert {a.hint for a in answers} == {
                OPEN if claim in ("M4", "M5") and case == 0 else hint
            }
            assert all("3 seeds" in a.reason for a in answers)


@pytest.mark.parametrize("claim", CASES)
@pytest.mark.parametrize("status", ["diverged", "missing"])
def test_a_claim_that_needs_a_lost_run_is_not_resolved(claim, status):
    lost = Cell("vq", "10")
    found = with_lost_run(quiet(*CASES[claim][0]), lost, status)
    for name, answer in answered(found, claim).items():
        needed = name in ("vq", "grid", lost.name) or claim[0] == "M"
        assert answer.answer == (OPEN if needed else YES)
        if needed:
            assert answer.reason == f"{status}: vq, weight 10 (seed 4)"


def test_a_tie_is_told_from_a_no():
    assert said(quiet(equal(0), FLAT), "E1") == {TIE}
    assert said(quiet(by_beta(0, 0.1, -0.1), FLAT), "E1") == {TIE}
    assert said(quiet(by_beta(0, 0.1, -1), FLAT), "E1") == {NO}
    assert said(quiet(by_beta(0, 0.1, DT), FLAT), "E1") == {NO}  # 1 is as good as 0
    assert said(quiet(equal(0), FLAT), "3") == {NO}  # claims of another kind have no ties


def test_either_metric_makes_vq_win():
    assert said(quiet(FLAT, by_space(0.3, 0.3, 0.2)), "6") == {YES}
    assert said(quiet(FLAT, by_space(0.3, 0.2, 0.2)), "6") == {NO}  # better than one only
    assert said(quiet(by_space(0, -1, -1), by_space(0.2, 0.3, 0.2)), "6") == {NO}
    assert said(quiet(equal(0), FLAT), "6") == {NO}


@pytest.mark.parametrize(
    ("price", "wide_price", "answer"),
    [
        (1.0, 0.1, YES),
        (1.0, 1.0, NOT_CAPACITY),
        (0.1, 1.0, NOT_CAPACITY),
        (1.0, 1.0 - DT, OPEN),
    ],
)
def test_capacity_is_blamed_only_by_its_controls(price, wide_price, answer):
    assert said(quiet(*controls(price, wide_price)), "3'") == {answer}


def test_without_a_trade_off_capacity_is_a_plain_no():
    ln_t, g = controls(1.0, 0.1)
    found = quiet(ln_t | by_beta(0, 0, 0), g)
    assert said(found, "3") == said(found, "3'") == {NO}


def test_capacity_is_not_blamed_for_a_trade_off_that_is_not_resolved():
    """Claim 3 shares its 5 % among three latent spaces; claim 3' is about one here."""
    truths = (
        {c: v for c, v in part.items() if not c.variant or c.latent_space == "none"}
        for part in controls(2.0, 0.1)
    )
    ln_t, g = truths
    found = next(
        found
        for spread in np.arange(0.02, 2, 0.02)
        if (found := quiet(ln_t, g, spread=spread)) and answered(found, "3")["none"].answer == OPEN
    )
    answer = answered(found, "3'")["none"]
    assert all(m.interval.inside(*m.region) for m in answer.measured)
    assert answer.answer == OPEN
    assert answer.reason == "the trade-off is not resolved"


def test_a_lost_run_of_a_control_counts():
    found = with_lost_run(quiet(*controls(1.0, 0.1)), Cell("vq", "10", "control_wide"))
    assert {name: a.answer for name, a in answered(found, "3'").items()} == {
        "none": YES,
        "linear": YES,
        "vq": OPEN,
    }


@pytest.mark.parametrize(
    ("claim", "facts", "answer"),
    [
        ("M4", {"code_use": {Cell("vq", "1"): 0.1}}, NO),
        ("M4", {"code_use": {Cell("vq", "1"): np.linspace(0.1, 0.3, 5)}}, OPEN),
        ("M5", {"epochs_after_best": {Cell("linear", "1"): np.array([5, 5, 0, 5, 5])}}, NO),
        ("M5", {"ln_throughput": {Cell("linear", "1"): math.log(7e3)}}, NO),
        ("M5", {"ln_throughput": {Cell("linear", "1"): math.log(9e3)}}, YES),
        ("M5", {"epochs_after_best": {Cell("none", "1"): 0}}, YES),
    ],
)
def test_what_a_guess_needs_besides_its_errors(claim, facts, answer):
    ln_t = but(equal(1), [("linear", "1"), ("vq", "1")], 0)
    assert said(quiet(ln_t, FLAT, **facts), claim) == {answer}


def test_a_guess_that_diverged_is_no_baseline():
    found = with_lost_run(quiet(*CASES["M5"][0]), Cell("linear", "1"))
    (answer,) = answered(found, "M5").values()
    assert answer.answer == NO
    assert "diverged" in answer.reason


def test_error_rates_are_shared_among_rows_and_metrics():
    found = drawn(np.random.default_rng(5), LN_T, G, 5)
    # Claim 2 has three rows of two components; 4 has four components; 6 has four, and two
    # for either metric; the two metrics share the error rate of a yes.
    for claim, rows, components in (("2", 3, 2), ("4", 1, 4), ("6", 1, 8)):
        for answer in answered(found, claim).values():
            assert len(answer.measured) == components
            for m in answer.measured:
                better = claim == "6" and m.component.region.upper < 0
                assert m.interval == m.estimate.interval(0.05 / (2 if better else rows))
                strict = m.estimate.interval(0.05 / (rows * components))
                assert m.strict_interval == strict


def test_claims_of_equality_are_two_tests_of_one_side():
    found = drawn(np.random.default_rng(5), LN_T, G, 5)
    for claim, rows in (("1", 3), ("5", 1)):
        for answer in answered(found, claim).values():
            for m in answer.measured:
                assert m.interval == m.estimate.interval(0.1 / rows)


def test_relevance_needs_a_change_of_the_objects():
    truth = by_beta(0, 1, 2), by_beta(0.6, 0.3, 0.3)
    for change, relevant in ((0.1, True), (0.005, False)):
        pt = {cell: change * (cell.globals_beta == "10") for cell in CELLS}
        found = answered(quiet(*truth, pt_relative_sigma68=pt), "3")
        assert {a.answer for a in found.values()} == {YES}
        assert {a.physically_relevant for a in found.values()} == {relevant}
    assert not any(a.physically_relevant for a in answered(quiet(*truth), "3").values())


def test_every_answer_has_a_decisive_component():
    for claim, cases in CASES.items():
        for case in cases:
            for answer in answered(quiet(*case), claim).values():
                assert answer.decisive in answer.measured
                assert not answer.reason


def test_a_yes_is_decided_by_the_interval_nearest_to_its_limit():
    decisive = answered(quiet(LN_T, G), "2")["vq"].decisive
    assert decisive.component.weights == {Cell("vq", "1"): 1.0, Cell("vq", "10"): -1.0}
    assert decisive.estimate.mean == pytest.approx(0.03)


def test_a_tie_is_decided_by_its_largest_difference():
    answer = answered(quiet(by_beta(0, 0.1, -0.05), FLAT), "E1")["vq"]
    assert answer.answer == TIE
    assert answer.decisive.estimate.mean == pytest.approx(0.1)


def test_a_guess_that_is_refused_for_a_fact_has_a_reason():
    found = quiet(*CASES["M5"][0], epochs_after_best={GUESS: 0})
    (answer,) = answered(found, "M5").values()
    assert answer.answer == NO
    assert answer.reason == "the best epoch is the last one in 5 of 5 seeds"
    assert answer.decisive is None


NUM_DRAWS, MOST_FALSE = 200, 16  # a correct 5 % rule gives up to 16 by chance


def wrong_answers(answer, claim, truth, num_seeds):
    """Return in how many of 200 draws any row says `answer`."""
    rng = np.random.default_rng([num_seeds, *claim.encode()])
    count, questions = 0, None
    noises = list(NOISES)
    for i in range(NUM_DRAWS):
        noise = noises[i % len(noises)]
        event_noise = i // len(noises) % 2 == 0
        # A skew between seeds cancels in paired differences, not in the level of one cell. On an
        # endless test split one of nine such cells at the margin would be called useful in 28 % of
        # the draws; a split whose own noise is a fifth of the seeds' makes that 4 % at most, and
        # the real one's is 1.2 to 5 times the seeds'.
        event_noise |= claim == "2c" and noise == "skewed"
        found = drawn(rng, *truth, num_seeds, noise, event_noise=event_noise)
        if questions is None or claim == "M2":  # which cells have the skill is up to the draw
            questions = questions_of(found, claim)
        count += answer in said(found, claim, questions)
    return count


@pytest.mark.parametrize("num_seeds", [5, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("claim", AT_THE_MARGIN)
def test_chance_rarely_says_yes_where_a_claim_is_just_not_true(claim, num_seeds):
    assert wrong_answers(YES, claim, AT_THE_MARGIN[claim][0], num_seeds) <= MOST_FALSE


@pytest.mark.parametrize("num_seeds", [5, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("claim", AT_THE_MARGIN)
def test_chance_rarely_says_no_where_a_claim_is_just_true(claim, num_seeds):
    assert wrong_answers(NO, claim, AT_THE_MARGIN[claim][1], num_seeds) <= MOST_FALSE


@pytest.mark.parametrize(
    ("claim", "row"), [("2", "none"), ("2", "linear"), ("3", "none"), ("3", "linear"), ("4", "vq")]
)
def test_effects_as_large_as_measured_are_seen_with_three_seeds(claim, row):
    rng = np.random.default_rng(4)
    draws = (drawn(rng, LN_T, G, 3, event_noise=False) for _ in range(100))
    assert sum(answered(found, claim)[row].answer == YES for found in draws) >= 95
