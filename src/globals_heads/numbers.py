"""How numbers are shown: digits, the means of errors, and the seeds that an interval needs."""

import math
from collections.abc import Sequence

# An interval from two seeds is 18 times wider than from many: it answers nothing.
MIN_SEEDS = 3
# Errors that spread by factors, and the logarithms that are compared. Their mean over seeds is the
# geometric one, so that the ratio of two means is the factor between two cells.
LOGARITHMS = {"rec_tokens": "ln_rec_tokens", "val_loss": "ln_val_loss"}


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def number(value: float, digits: int = 2) -> str:
    """Return a number with its first digits, such as 0.28, 254 or 1.4e-5; empty for NaN."""
    if math.isnan(value):
        return ""
    if 0 < abs(value) < 1e-3:
        return _scientific(value, digits - 1)
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:#.{digits}g}".rstrip(".")


def _scientific(value: float, decimals: int) -> str:
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def factor(ln: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a difference of logarithms as "× 2.9 (2.7 to 3.1)"."""
    return "" if math.isnan(ln) else "× " + level(*map(math.exp, (ln, low, high)))


def difference(mean: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a difference with its sign, as "−0.47 (−0.63 to −0.31)"."""
    return ("+" if mean > 0 else "") + level(mean, low, high)


def level(mean: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a value with its interval, rounded to two digits of half its length."""
    if math.isnan(low):
        return number(mean).replace("-", "−")
    half = (high - low) / 2 or abs(mean) / 10 or 1.0
    last = math.floor(math.log10(half)) - 1
    numbers = mean, low, high
    if 0 < (largest := max(map(abs, numbers))) < 1e-4:
        texts = [_scientific(value, math.floor(math.log10(largest)) - last) for value in numbers]
    else:
        texts = [f"{value:.{max(0, -last)}f}" for value in numbers]
    return "{} ({} to {})".format(*texts).replace("-", "−")
