"""Numbers and names as readers want them: factors of errors, differences with their intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from globals_heads.compare.answers import Measured
from globals_heads.compare.results import Cell

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
    """A measured component in words: what is compared, its value and the limit that counts."""

    what: str
    value: str
    limit: str


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def number(value: float) -> str:
    """Return a number with two digits, such as 0.28, 254 or 1.4e-5; empty for NaN."""
    if math.isnan(value):
        return ""
    if 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:#.2g}".rstrip(".")


def in_words(cell: Cell) -> str:
    """Return a cell as "vq, weight 1"."""
    return f"{cell.latent_space}, weight {cell.globals_beta}"


def said(measured: Measured, *, by_weight: bool = True) -> Said:
    """Return a component in words, `by_weight` from a smaller weight of a space to a larger."""
    metric, weights, region = measured.component[1:]
    (low, high), mean = measured.interval, measured.estimate.mean
    plus, minus = ([c for c, w in weights.items() if w * sign > 0] for sign in (1, -1))
    limit = region.lower if math.isfinite(region.lower) else region.upper
    is_change = by_weight and bool(minus) and plus[0].latent_space == minus[0].latent_space
    if is_change and float(plus[0].globals_beta) < float(minus[0].globals_beta):
        plus, minus, mean, low, high, limit = minus, plus, -mean, -high, -low, -limit
    kind = METRICS[metric]
    if not minus:
        what = kind
    elif len(plus) > 1 and is_change:
        what = f"{kind}: price over that with twice the latent_dim"
    elif is_change:
        what = f"{kind}, weight {minus[0].globals_beta} → {plus[0].globals_beta}"
    elif len(weights) == 2:
        what = f"{kind}, {in_words(plus[0])} against {in_words(minus[0])}"
    else:
        what = f"{kind}, {plus[0].latent_space} against {minus[0].latent_space}"
    if metric.startswith("ln_"):
        return Said(what, factor(mean, low, high), f"× {math.exp(limit):.3g}")
    show = difference if minus else level
    return Said(what, show(mean, low, high), f"{limit:.3g}".replace("-", "−"))


def factor(ln: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a difference of logarithms as "× 2.9 (2.7 to 3.1)"."""
    return "× " + level(*map(math.exp, (ln, low, high)))


def difference(mean: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a difference with its sign, as "−0.47 (−0.63 to −0.31)"."""
    return ("+" if mean > 0 else "") + level(mean, low, high)


def level(mean: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a value with its interval, rounded to two digits of half its length."""
    if math.isnan(low):
        return number(mean).replace("-", "−")
    half = (high - low) / 2 or abs(mean) / 10 or 1.0
    decimals = max(0, 1 - math.floor(math.log10(half)))
    texts = [f"{value:.{decimals}f}" for value in (mean, low, high)]
    return "{} ({} to {})".format(*texts).replace("-", "−")
