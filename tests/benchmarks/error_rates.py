"""How often chance gives a wrong answer: the table of docs/statistics.md, simulated.

Each claim is drawn where it is just not true (one difference at its margin) and where it is just
true (every difference at its margin). The table has the largest rates over several ratios of the
two standard errors, in percent, for each rule of intervals.

    python tests/benchmarks/error_rates.py [DRAWS]     (5 DRAWS for the rule of the verdict)
"""

import math
import sys
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from planted_results import NOISES, questions_of, quiet
from planted_truths import AT_THE_MARGIN

from globals_heads.compare.statistics import ALPHA, Estimate

SEEDS = (3, 5, 10)
RATIOS = (0, 0.25, 0.5, 1, 2, 4)  # of the standard error over events to that over seeds
NUM_EVENTS = 1600
SCALES = {"ln_rec_tokens": 0.1, "probe_rec_globals": 0.0025}  # spread of the seeds, as measured
# Metrics that follow from another one, and their factor.
SAME = {"skill": ("probe_rec_globals", -1 / 0.735), "linear_fit_gain": ("probe_rec_globals", -1)}


def t(degrees_of_freedom, tail):
    return -stdtrit(degrees_of_freedom, tail)


def verdict(s, e, n, tail):
    """Each standard error with its own quantile."""
    return np.hypot(t(n - 1, tail) * s, t(math.inf, tail) * e)


def student(s, e, n, tail):
    """The quantile of the seeds for both together."""
    return t(n - 1, tail) * np.hypot(s, e)


def welch(s, e, n, tail):
    """Degrees of freedom by Welch and Satterthwaite."""
    free = (s**2 + e**2) ** 2 / (s**4 / (n - 1) + e**4 / (NUM_EVENTS - 1))
    return t(free, tail) * np.hypot(s, e)


def pooled(s, e, n, tail):
    """Variance over seeds pooled over the differences whose spread is alike (within 3)."""
    like = (s[:, :, None] < 3 * s[:, None, :]) & (s[:, None, :] < 3 * s[:, :, None])
    count = like.sum(axis=2)
    spread = np.sqrt((like * s[:, None, :] ** 2).sum(axis=2) / count)
    # Differences share cells, so about half of them are independent.
    return verdict(spread, e, (n - 1) * (count + 1) / 2 + 1, tail)


# Name: half-length, level of a yes between two limits and with one limit, spread of every second
# cell relative to the others.
RULES = {
    "verdict": (verdict, 2, 1, 1),
    "one t(n−1)": (student, 1, 1, 1),
    "Welch-Satterthwaite": (welch, 1, 1, 1),
    "90 % for one limit, too": (verdict, 2, 2, 1),
    "pooled, alike": (pooled, 2, 1, 1),
    "pooled, unlike": (pooled, 2, 1, 2.5),
}


class Claim:
    """The components of all rows of a claim, as arrays."""

    def __init__(self, name, truth):
        found = quiet(*truth)
        questions = [q for q in questions_of(found, name) if q.claim == name and not q.untested]
        components = [component for q in questions for component in q.components]
        self.is_claim_6 = name == "6"
        self.num_rows = len(questions)
        self.row = np.repeat(np.arange(len(questions)), [len(q.components) for q in questions])
        self.metrics = np.array([c.metric for c in components])
        self.weights = np.array([[c.weights.get(cell, 0) for cell in truth[0]] for c in components])
        self.mean = np.array([found.contrast(c.metric, c.weights).mean for c in components])
        self.lower, self.upper = np.array([c.region for c in components]).T
        self.is_better = (self.upper < 0) if self.is_claim_6 else np.zeros(len(self.row), bool)

    def draw(self, rng, noise, n, ratio, spread, draws):
        """Return estimates with their standard errors over seeds and events, (draws, k) each."""
        found = np.tile(self.mean, (draws, 1))
        s, e = np.full_like(found, 1e-12), np.full_like(found, 1e-12)
        for metric, scale in SCALES.items():
            of = np.array([SAME.get(m, (m, 1))[0] == metric for m in self.metrics])
            factor = np.array([SAME.get(m, (m, 1))[1] for m in self.metrics])[of, None]
            weights = self.weights[of] * factor
            cells = weights.shape[1]
            sigma = scale * np.where(np.arange(cells) % 2, spread, 1)
            values = weights @ (NOISES[noise](rng, (draws, cells, n)) * sigma[:, None])
            shift = rng.normal(0, 1, (draws, cells)) * sigma * ratio / math.sqrt(n)
            found[:, of] += values.mean(axis=2) + shift @ weights.T
            s[:, of] += values.std(axis=2, ddof=1) / math.sqrt(n)
            known = np.sqrt(weights**2 @ sigma**2) * ratio / math.sqrt(n)
            chi = rng.chisquare(NUM_EVENTS - 1, (draws, of.sum())) / (NUM_EVENTS - 1)
            e[:, of] += known * np.sqrt(chi)
        return found, s, e

    def answers(self, rule, estimates, n):
        """Return in how many percent of the draws some row says yes, and some row no."""
        half_length, two_limits, one_limit, _ = RULES[rule]
        found, s, e = estimates
        both = np.isfinite(self.lower) & np.isfinite(self.upper)
        sides = np.where(both, two_limits, one_limit) / np.where(self.is_better, 2, 1)
        half = half_length(s, e, n, ALPHA / 2 * sides / self.num_rows)
        inside = (found - half > self.lower) & (found + half < self.upper)
        half = half_length(s, e, n, ALPHA / 2 / len(self.row))
        outside = (found + half < self.lower) | (found - half > self.upper)
        yes = no = np.zeros(len(found), bool)
        for row in range(self.num_rows):
            ways = [self.row == row]
            if self.is_claim_6:  # better in one of its two metrics
                ways = [~self.is_better | (self.metrics == metric) for metric in SCALES]
            yes = yes | np.any([inside[:, way].all(axis=1) for way in ways], axis=0)
            no = no | np.all([outside[:, way].any(axis=1) for way in ways], axis=0)
        return 100 * yes.mean(), 100 * no.mean()


def largest_rates(rule, noise, n, draws):
    """Return {claim: (false yes, false no)}, the largest over the ratios."""
    rates = {}
    for name, truths in AT_THE_MARGIN.items():
        rng = np.random.default_rng([n, *name.encode()])
        found = []
        for claim in (Claim(name, truth) for truth in truths):
            drawn = (claim.draw(rng, noise, n, ratio, RULES[rule][3], draws) for ratio in RATIOS)
            found.append([claim.answers(rule, estimates, n) for estimates in drawn])
        rates[name] = max(yes for yes, _ in found[0]), max(no for _, no in found[1])
    return rates


def show_row(*texts):
    print("|", " | ".join(texts), "|", flush=True)


def show_rates(draws):
    """Show all claims under the rule of the verdict, and the largest rates of each rule."""
    columns = [(noise, n) for noise in NOISES for n in SEEDS]
    show_row("claim", *(f"{noise}, n = {n}" for noise, n in columns))
    show_row(*["---"] * (len(columns) + 1))
    for rule in RULES:
        times = 5 if rule == "verdict" else 1
        found = [largest_rates(rule, noise, n, times * draws) for noise, n in columns]
        for claim in AT_THE_MARGIN if rule == "verdict" else ():
            show_row(claim, *(f"{yes:.1f} / {no:.1f}" for yes, no in (f[claim] for f in found)))
        largest = [map(max, zip(*rates.values(), strict=True)) for rates in found]
        show_row(f"largest, {rule}", *(f"{yes:.1f} / {no:.1f}" for yes, no in largest))


def show_lengths():
    """Show the mean length of the verdict's intervals relative to those with one t(n-1)."""
    show_row("n", *(f"e/s = {ratio}" for ratio in RATIOS))
    show_row(*["---"] * (len(RATIOS) + 1))
    rng = np.random.default_rng(0)
    for n in SEEDS:
        s = np.sqrt(rng.chisquare(n - 1, 200_000) / (n - 1))
        pairs = [(verdict(s, r, n, 0.025).mean(), student(s, r, n, 0.025).mean()) for r in RATIOS]
        show_row(str(n), *(f"{ours / theirs:.2f}" for ours, theirs in pairs))


def main(draws):
    for s, e in ((0.3, 0.4), (0.1, 0.0)):  # this script's rule is that of the verdict
        interval = Estimate(0.0, s, e, 3).interval(0.02)
        assert math.isclose(interval.high, float(verdict(s, e, 3, 0.01)), rel_tol=1e-9)
    print("False yes / false no, percent:\n")
    show_rates(draws)
    print("\nMean length relative to one t(n−1) for both standard errors:\n")
    show_lengths()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
