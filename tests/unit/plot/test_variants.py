"""Variants: the price of the globals head, and what belongs to latent_dim alone."""

import math

from numpy.testing import assert_allclose
from planted_figures import drawn


def test_the_price_is_paired_by_seed(study):
    """T grows from 0.1 to 0.15 in every seed, so the price has no spread between seeds."""
    _, numbers = drawn(study, "variants")
    prices = numbers[numbers["metric"] == "price"]
    assert list(prices["variant"].fillna("")) == ["", "control", "narrow", "", "narrow"]
    assert_allclose(prices["mean"], math.log(1.5), rtol=1e-5)


def test_latent_dim_has_the_plain_grid_and_variants_of_latent_dim_alone(study):
    _, numbers = drawn(study, "latent_dim")
    assert set(numbers["variant"].fillna("")) == {"", "narrow"}
    assert set(numbers["latent_dim"]) == {2, 32}
