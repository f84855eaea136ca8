"""Statistics of paired runs: intervals over seeds and test events; pure numpy and scipy.

Runs are paired by their seed, and all runs share one test split. A number therefore has two
independent uncertainties: another seed gives another run (se_seed), and another test split moves
all runs at once (se_event). se_event is computed in closed form from each event's influence on the
number (the infinitesimal jackknife, Efron 1982). Paired resampling of test events gives the same
value, with random noise.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

# Not scipy.stats, which takes half a second to import in every step.
from scipy.special import stdtrit

from globals_heads.arrays import Array
from globals_heads.numbers import MIN_SEEDS

ALPHA = 0.05


class Interval(NamedTuple):
    """A closed interval; both ends are NaN where there is none."""

    low: float
    high: float

    def inside(self, lower: float, upper: float) -> bool:
        """Return whether all of it lies strictly between `lower` and `upper`."""
        return self.low > lower and self.high < upper

    def outside(self, lower: float, upper: float) -> bool:
        """Return whether none of it lies between `lower` and `upper`, nor on them."""
        return self.high < lower or self.low > upper


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its two standard errors.

    Attributes
    ----------
    mean
        NaN without any seed.
    se_seed
        From the spread of the seeds; NaN below two.
    se_event
        From the spread of the test events; NaN where no errors per event are known.
    num_seeds
        Number of seeds.
    """

    mean: float
    se_seed: float
    se_event: float
    num_seeds: int

    def interval(self, alpha: float = ALPHA) -> Interval:
        """Return the two-sided interval of level 1 - `alpha`; NaN below three seeds.

        Few seeds know their spread badly, many test events know theirs well. So each standard error
        has its own quantile, and both half-lengths add in squares. Their common degrees of freedom
        by Welch and Satterthwaite give shorter intervals, but with three seeds up to 12 % wrong
        answers (docs/statistics.md). An unknown se_event counts as nothing.
        """
        if self.num_seeds < MIN_SEEDS:
            return Interval(math.nan, math.nan)
        seeds = _t_quantile(alpha / 2, self.num_seeds - 1) * self.se_seed
        events = _t_quantile(alpha / 2, math.inf) * self.se_event
        return self._around(math.hypot(seeds, 0.0 if math.isnan(events) else events))

    def event_interval(self) -> Interval:
        """Return the 95 % interval of these very runs on other test events; only a hint."""
        return self._around(_t_quantile(ALPHA / 2, math.inf) * self.se_event)

    def known_interval(self) -> Interval:
        """Return the interval, or the hint below three seeds."""
        return self.event_interval() if self.num_seeds < MIN_SEEDS else self.interval()

    @property
    def is_limited_by_events(self) -> bool:
        """Whether test events make the interval long, so that more seeds would help little."""
        (low, high), (event_low, event_high) = self.interval(), self.event_interval()
        return 2 * (event_high - event_low) ** 2 > (high - low) ** 2

    def _around(self, half_width: float) -> Interval:
        return Interval(self.mean - half_width, self.mean + half_width)


@lru_cache
def _t_quantile(tail: float, degrees_of_freedom: float) -> float:
    return float(-stdtrit(degrees_of_freedom, tail))


def estimate(values: Array, influence: Array | None = None) -> Estimate:
    """Return the mean of `values` over seeds with its standard errors.

    Parameters
    ----------
    values
        One number per seed, or one paired difference per seed, shape (n,).
    influence
        Influence of each test event on their mean, shape (N,); None where it is not known.
    """
    n = len(values)
    return Estimate(
        mean=float(np.mean(values)) if n else math.nan,
        se_seed=float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
        se_event=math.nan if influence is None else event_standard_error(influence),
        num_seeds=n,
    )


def event_standard_error(influence: Array) -> float:
    """Return the standard error of a number from the influence of each event on it.

    Parameters
    ----------
    influence
        Shape (N,), mean zero: to first order, the number of a resampled test split is the number
        plus the mean influence of the events drawn.
    """
    n = len(influence)
    return float(np.std(influence, ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def mean_influence(errors: Array) -> Array:
    """Return each event's influence on the mean of `errors`, shape (N,)."""
    return np.asarray(errors - np.mean(errors))


def ratio_influence(numerator: Array, denominator: Array) -> Array:
    """Return each event's influence on sum(numerator) / sum(denominator), shapes (N,)."""
    ratio = np.sum(numerator) / np.sum(denominator)
    return np.asarray((numerator - ratio * denominator) / np.mean(denominator))


def skill_influence(errors: Array, baseline_errors: Array) -> Array:
    """Return each event's influence on the skill, from the errors per event, shapes (N,).

    The skill is (1 - mean error) / (1 - mean error of the baseline).
    """
    # A ratio of two means over events, like the tokens' error.
    return ratio_influence(1 - errors, 1 - baseline_errors)
