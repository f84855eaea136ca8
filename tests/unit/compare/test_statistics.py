"""Statistics: numbers computed by hand, coverage, and the closed form against resampling."""

import math

import numpy as np
import pytest

from globals_heads.compare.statistics import (
    Estimate,
    Interval,
    estimate,
    event_standard_error,
    mean_influence,
    ratio_influence,
    skill_influence,
)


def test_an_interval_by_hand():
    # Mean 2, standard deviation 1, so se_seed = 1 / sqrt(3); t(2) at 97.5 % is 4.302653.
    found = estimate(np.array([1.0, 2.0, 3.0])).interval()
    half_width = 4.302653 / math.sqrt(3)
    assert found == pytest.approx((2 - half_width, 2 + half_width), rel=1e-6)


def test_each_standard_error_has_its_own_quantile():
    value = Estimate(mean=1.0, se_seed=0.3, se_event=0.4, num_seeds=5)
    # t(4) at 97.5 % is 2.776445, the normal quantile 1.959964.
    half_width = math.sqrt((2.776445 * 0.3) ** 2 + (1.959964 * 0.4) ** 2)
    assert value.interval() == pytest.approx((1 - half_width, 1 + half_width), rel=1e-6)
    assert value.event_interval() == pytest.approx((1 - 1.959964 * 0.4, 1 + 1.959964 * 0.4))


def test_seeds_that_agree_leave_the_interval_of_the_events():
    value = Estimate(mean=1.0, se_seed=0.0, se_event=0.4, num_seeds=3)
    assert value.interval() == value.event_interval()


def test_an_unknown_event_error_counts_as_nothing():
    assert Estimate(1.0, 0.3, math.nan, 5).interval() == Estimate(1.0, 0.3, 0.0, 5).interval()


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_fewer_than_three_seeds_have_no_interval(values):
    value = estimate(np.array(values), np.array([-1.0, 1.0]))
    assert all(math.isnan(end) for end in value.interval())
    assert not value.interval().inside(-math.inf, math.inf)
    if values:
        # Influences -1 and 1 have a standard deviation of sqrt(2), their mean one of 1.
        low, high = value.event_interval()
        assert (high - low) / 2 == pytest.approx(1.959964)


def test_no_variance_gives_a_point():
    value = estimate(np.full(3, 0.5), np.zeros(4))
    assert value.interval() == Interval(0.5, 0.5)


def test_nan_is_neither_inside_nor_outside():
    found = estimate(np.array([1.0, math.nan, 2.0])).interval()
    assert not found.inside(-math.inf, math.inf)
    assert not found.outside(0, 1)


def test_the_margin_itself_belongs_to_neither_side():
    assert not Interval(0.02, 0.02).inside(0.02, math.inf)
    assert not Interval(0.02, 0.02).outside(0.02, math.inf)


@pytest.fixture(scope="module")
def events():
    """Two runs' errors on the same 2000 events, and a baseline's."""
    rng = np.random.default_rng(1)
    hard = rng.exponential(1.0, 2000)  # an event that is hard for one run is hard for all
    num_tokens = rng.integers(4, 15, 2000).astype(float)
    return {
        "num_tokens": num_tokens,
        "sse": [num_tokens * hard * rng.gamma(2, scale, 2000) for scale in (0.1, 0.2)],
        "errors": [0.3 * hard * rng.gamma(3, 1 / 3, 2000), 0.4 * hard],
        "baseline": 0.25 * hard + rng.exponential(0.05, 2000),
    }


def ln_tokens(events, run, drawn):
    return np.log(events["sse"][run][drawn].sum() / events["num_tokens"][drawn].sum())


def skill_of(events, run, drawn):
    return (1 - events["errors"][run][drawn].mean()) / (1 - events["baseline"][drawn].mean())


def globals_error(events, run, drawn):
    return events["errors"][run][drawn].mean()


def globals_influence(events, run):
    return mean_influence(events["errors"][run])


def tokens_influence(events, run):
    sse, num_tokens = events["sse"][run], events["num_tokens"]
    return ratio_influence(sse, num_tokens) / (sse.sum() / num_tokens.sum())


def influence_on_skill(events, run):
    return skill_influence(events["errors"][run], events["baseline"])


@pytest.mark.parametrize(
    ("number", "influence"),
    [
        (ln_tokens, tokens_influence),
        (globals_error, globals_influence),
        (skill_of, influence_on_skill),
    ],
)
def test_the_closed_form_is_what_paired_resampling_gives(events, number, influence):
    rng = np.random.default_rng(2)
    draws = rng.integers(0, 2000, (1500, 2000))
    resampled = [number(events, 1, drawn) - number(events, 0, drawn) for drawn in draws]
    closed = event_standard_error(influence(events, 1) - influence(events, 0))
    # 1500 draws know a standard deviation to 2 %.
    assert closed == pytest.approx(np.std(resampled), rel=0.06)
    unpaired = math.hypot(*(event_standard_error(influence(events, run)) for run in (0, 1)))
    assert closed != pytest.approx(unpaired, rel=0.1)


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
@pytest.mark.parametrize("event_noise", [0.0, 1.0, 5.0])
def test_intervals_cover_the_truth(num_seeds, event_noise):
    """Seeds vary by 1; the test split moves all seeds together by `event_noise`."""
    rng = np.random.default_rng(3)
    num_events, covered = 50, 0
    for _ in range(1000):
        events = rng.normal(0, event_noise * math.sqrt(num_events / num_seeds), num_events)
        values = rng.normal(0, 1, num_seeds) + events.mean()
        low, high = estimate(values, mean_influence(events)).interval()
        covered += low < 0 < high
    assert covered >= 930  # 950 less three standard deviations
    if event_noise == 0:
        assert covered <= 970
