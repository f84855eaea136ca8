"""The chain of baselines in GeV."""

import math

from numpy.testing import assert_allclose
from planted_figures import drawn


def test_the_chain_is_in_gev(study):
    """A normalised error of 0.4 at a scale of 60 GeV."""
    _, numbers = drawn(study, "chain")
    probe = numbers[(numbers["step"] == "probe") & (numbers["latent_space"] == "vq")]
    assert_allclose(probe["mean"], 60 * math.sqrt(0.4), rtol=1e-4)
    assert (probe["low"] < probe["mean"]).all()
