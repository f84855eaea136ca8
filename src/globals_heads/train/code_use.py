"""How much of a codebook is used: perplexity and active codes.

The codebooks themselves are in bottlenecks.py. Pure numpy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def perplexity(counts: NDArray[np.integer[Any]]) -> float:
    """Return exp of the entropy of the code frequencies.

    Parameters
    ----------
    counts
        Uses of each code, pooled over a split, shape (Q, K) for Q quantisers; with several
        quantisers the result is the geometric mean of theirs.
    """
    p = counts / counts.sum(axis=-1, keepdims=True)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
    return float(np.exp(entropy.mean()))


def active_codes(counts: NDArray[np.integer[Any]]) -> float:
    """Return how many codes are in use: those with p_k > max(1 / (10 K), 5 / n).

    Parameters
    ----------
    counts
        Uses of each code, shape (Q, K); with several quantisers the result is their mean.
    """
    num_tokens = counts.sum(axis=-1, keepdims=True)
    threshold = np.maximum(1 / (10 * counts.shape[-1]), 5 / num_tokens)
    return float((counts / num_tokens > threshold).sum(axis=-1).mean())
