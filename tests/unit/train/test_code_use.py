"""Use of codebooks against cases computed by hand."""

import numpy as np
import pytest

from globals_heads.train import code_use


def test_perplexity_counts_codes_in_use():
    assert code_use.perplexity(np.array([[10, 10, 0, 0]])) == pytest.approx(2.0)
    assert code_use.perplexity(np.array([[1, 0, 0, 0]])) == pytest.approx(1.0)


def test_perplexity_of_two_quantisers_is_their_geometric_mean():
    counts = np.array([[5, 5, 5, 5], [20, 0, 0, 0]])
    assert code_use.perplexity(counts) == pytest.approx(2.0)
    assert code_use.perplexity(np.full((2, 4), 5)) == pytest.approx(4.0)


def test_active_codes_need_more_than_a_few_uses():
    # 1000 tokens, 4 codes: the threshold is max(1/40, 5/1000) = 25 uses.
    assert code_use.active_codes(np.array([[949, 26, 25, 0]])) == 2.0
    # 100 tokens: max(1/40, 5/100) = 5 uses.
    assert code_use.active_codes(np.array([[89, 6, 5, 0]])) == 2.0
    assert code_use.active_codes(np.array([[50, 50, 0, 0], [25, 25, 25, 25]])) == 3.0
