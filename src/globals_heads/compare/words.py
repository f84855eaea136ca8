"""A measured difference in words: what is compared, its value, and what a yes needs."""

import math
from typing import NamedTuple

from globals_heads.compare.answers import Measured
from globals_heads.compare.questions import Region
from globals_heads.numbers import difference, factor, level

# Metric: what a reader calls it. A difference of a logarithm is shown as a factor.
METRICS = {
    "ln_rec_tokens": "token error",
    "ln_val_loss": "total loss",
    "ln_throughput": "speed",
    "probe_rec_globals": "globals error",
    "linear_fit_gain": "globals error of the fit minus that of the latents",
    "skill": "skill",
    "code_use": "perplexity per code",
}


class Said(NamedTuple):
    """A measured component in words: what is compared, its value and what a yes needs."""

    what: str
    value: str
    need: str


def said(measured: Measured, *, by_weight: bool = True) -> Said:
    """Return a component in words: `by_weight` from a smaller weight of a space to a larger."""
    metric, weights, region = measured.component
    (low, high), mean = measured.interval, measured.estimate.mean
    plus, minus = ([c for c, w in weights.items() if w * sign > 0] for sign in (1, -1))
    in_one_space = bool(minus) and plus[0].latent_space == minus[0].latent_space
    is_change = by_weight and in_one_space
    if is_change and float(plus[0].globals_beta) < float(minus[0].globals_beta):
        plus, minus, mean, low, high = minus, plus, -mean, -high, -low
        region = Region(-region.upper, -region.lower)
    kind = METRICS[metric]
    if not minus:
        what = kind if by_weight else f"{kind}, {plus[0].words}"
    elif len(plus) > 1 and in_one_space:
        what = f"{kind}: price over that with twice the latent_dim"
    elif is_change:
        what = f"{kind}, weight {minus[0].globals_beta} → {plus[0].globals_beta}"
    elif len(weights) == 2:
        what = f"{kind}, {plus[0].words} against {minus[0].words}"
    else:
        what = f"{kind}, {plus[0].latent_space} against {minus[0].latent_space}"
    if metric.startswith("ln_"):
        return Said(
            what,
            factor(mean, low, high),
            _needed(math.exp(region.lower), math.exp(region.upper), "× "),
        )
    show = difference if minus else level
    return Said(what, show(mean, low, high), _needed(*region))


def _needed(lower: float, upper: float, times: str = "") -> str:
    """Return a region as "> 0.02", "< × 1.25" or "−0.02 to 0.02"; a factor has no limit at 0."""
    low, high = (f"{times}{limit:.3g}".replace("-", "−") for limit in (lower, upper))
    if math.isinf(upper):
        return f"> {low}"
    return f"< {high}" if math.isinf(lower) or (times and lower == 0) else f"{low} to {high}"
