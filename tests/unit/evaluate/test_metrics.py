"""Metrics against cases computed by hand."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from globals_heads.evaluate import metrics


@pytest.mark.parametrize("bias", [0, 5])
def test_sigma68_of_a_uniform_distribution(bias):
    assert metrics.sigma68(bias + np.linspace(0, 1, 10_001)) == pytest.approx(0.34, abs=1e-4)


def test_tails_lie_beyond_three_sigma68_on_both_sides_of_the_median():
    """Of 1000 residuals around 10, sigma68 is 0.34; 1.0 away is inside, 1.1 away is not."""
    residual = 10 + np.linspace(-0.5, 0.5, 1000)
    for place, distance in zip((500, 501, 502, 503, 504), (1.1, 1.1, -1.1, 0.9, -0.9), strict=True):
        residual[place] = 10 + distance
    found = metrics.residual_summary(residual)
    assert found["sigma68"] == pytest.approx(0.34, abs=0.005)
    assert found["bias"] == pytest.approx(10, abs=0.01)
    assert found["tail_fraction"] == pytest.approx(0.003)


def test_rms_of_residuals_knows_their_bias():
    assert metrics.residual_summary(np.array([3.0, 5.0]))["rms"] == pytest.approx(math.sqrt(17))


@pytest.mark.parametrize(("error", "expected"), [(0.2, 1.0), (1.0, 0.0), (0.6, 0.5), (1.4, -0.5)])
def test_skill_is_one_for_the_baseline_and_zero_for_the_mean(error, expected):
    assert metrics.skill(error, 0.2) == pytest.approx(expected)
    assert math.isnan(metrics.skill(error, 1.0)), "the baseline gains nothing"
    assert math.isnan(metrics.skill(error, 1.5))


def test_normalised_mse_is_one_for_a_miss_of_one_scale():
    true = np.zeros((2, 2))
    assert metrics.normalised_mse(true + 60.0, true, scale=60.0) == pytest.approx(1.0)


def test_component_rms_is_per_component():
    predicted, true = np.array([[3.0, 0.0], [0.0, 4.0]]), np.zeros((2, 2))
    assert metrics.component_rms(predicted, true) == pytest.approx(math.sqrt((9 + 16) / 4))


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ((1.0, 0.0), 0.0),
        ((0.0, 2.0), np.pi / 2),  # counter-clockwise of the truth
        ((0.0, -2.0), -np.pi / 2),
        ((-1.0, 0.0), np.pi),  # rotated by 180 degrees, never by -180
        ((-1.0, -0.0), np.pi),
        ((1.0, 1.0), np.pi / 4),
    ],
)
def test_delta_phi_has_a_sign_and_stays_in_range(predicted, expected):
    for zero in (0.0, -0.0):
        found = metrics.delta_phi(np.array([predicted]), np.array([[3.0, zero]]))
        assert_allclose(found, [expected], atol=1e-12)


def test_delta_phi_across_the_jump_of_phi():
    """From 179 to -179 degrees is +2 degrees, not -358."""
    a, b = np.deg2rad([179.0, -179.0])
    true, predicted = ([[np.cos(x), np.sin(x)]] for x in (a, b))
    dphi = metrics.delta_phi(np.array(predicted), np.array(true))
    assert_allclose(dphi, np.deg2rad([2.0]), atol=1e-12)


@pytest.mark.parametrize(
    ("predicted", "parallel", "perpendicular"),
    [
        ((3.0, 4.0), 5.0, 0.0),
        ((-3.0, -4.0), -5.0, 0.0),  # rotated by 180 degrees
        ((-4.0, 3.0), 0.0, 5.0),  # a quarter turn counter-clockwise
        ((4.0, -3.0), 0.0, -5.0),
        ((3.0, -4.0), -1.4, -4.8),  # mirrored at the x axis
        ((-3.0, 4.0), 1.4, 4.8),  # mirrored at the y axis
    ],
)
def test_parallel_and_perpendicular_keep_their_signs(predicted, parallel, perpendicular):
    found = metrics.parallel_perpendicular(np.array([predicted]), np.array([[3.0, 4.0]]))
    assert_allclose(found, [[parallel], [perpendicular]], atol=1e-12)


def test_fit_one_parameter_finds_the_planted_number_and_its_sign():
    visible = np.random.default_rng(0).normal(size=(100, 2))
    assert metrics.fit_one_parameter(visible, -0.675 * visible) == pytest.approx(0.675)
    assert metrics.fit_one_parameter(np.zeros((3, 2)), np.ones((3, 2))) == 0, "without objects"


def test_ridge_without_penalty_is_least_squares():
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(200, 3)), rng.normal(size=(200, 2))
    y = x @ np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]]) + [5.0, -5.0] + 0.1 * noise
    [(weights, intercept)] = metrics.fit_ridge(x, y, [0.0])
    reference = np.linalg.lstsq(np.column_stack([x, np.ones(200)]), y, rcond=None)[0]
    assert_allclose(weights, reference[:3], atol=1e-9)
    assert_allclose(intercept, reference[3], atol=1e-9)


def test_ridge_penalty_is_relative_to_the_diagonal():
    """One standardised input and a penalty of 1 halve the slope, whatever the number of events."""
    x = np.array([[-1.0], [1.0]] * 50)
    [(weights, intercept)] = metrics.fit_ridge(x, 2 * x + 7, [1.0])
    assert_allclose([weights[0, 0], intercept[0]], [1.0, 7.0])


def test_ridge_penalty_does_not_grow_with_the_number_of_inputs():
    """Two uncorrelated standardised inputs: each slope is halved as if it were alone."""
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    [(weights, _)] = metrics.fit_ridge(x, x @ np.array([[2.0], [4.0]]), [1.0])
    assert_allclose(weights[:, 0], [1.0, 2.0])


def test_ridge_probe_reads_what_is_linear_and_survives_constant_latents():
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.normal(size=300) * 1e-3, np.full(300, 4.0)])
    y = np.column_stack([1e3 * x[:, 0] + 1, -2e3 * x[:, 0]])
    predicted = metrics.ridge_probe((x[:200], y[:200]), (x[200:250], y[200:250]), x[250:])
    assert_allclose(predicted, y[250:], atol=1e-5)


def test_ridge_of_inputs_that_are_all_equal_is_the_mean():
    x, y = np.full((10, 3), 4.0), np.arange(20.0).reshape(10, 2)
    assert_allclose(metrics.ridge_probe((x, y), (x, y), x), np.tile([9.0, 10.0], (10, 1)))


def test_ridge_probe_takes_the_penalty_that_validates_best():
    """With more inputs than events and pure noise, the strongest penalty wins."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(90, 40)), rng.normal(size=(90, 2))
    predicted = metrics.ridge_probe((x[:45], y[:45]), (x[45:], y[45:]), x[45:])
    # By hand: standardised inputs and a penalty of the largest fraction of the diagonal, N.
    mean, spread = x[:45].mean(axis=0), x[:45].std(axis=0)
    z, penalty = (x[:45] - mean) / spread, 45 * metrics.RIDGE_PENALTIES[-1]
    weights = np.linalg.solve(z.T @ z + penalty * np.eye(40), z.T @ (y[:45] - y[:45].mean(axis=0)))
    assert_allclose(predicted, (x[45:] - mean) / spread @ weights + y[:45].mean(axis=0))
