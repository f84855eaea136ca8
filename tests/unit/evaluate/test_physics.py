"""Physics metrics: planted predictions give the numbers that they must."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

from globals_heads.evaluate.physics import (
    closure_metrics,
    event_quantities,
    merged_bins,
    met_metrics,
    token_metrics,
)

TYPES = ("jet", "b-jet", "e+", "e-", "mu-", "mu+", "photon")
SCALE_GEV = 50.0


def table(rows):
    """Return {(metric, group): value}."""
    return {(row.metric, row.group): row.value for row in rows}


@pytest.fixture
def met():
    """MET of 500 events in GeV, some of it soft, in all directions."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 60, (500, 2))


def turned(vectors, degrees):
    angle = math.radians(degrees)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return vectors @ rotation.T


def test_a_perfect_prediction(met):
    measured = table(met_metrics("head", met, met, SCALE_GEV))
    for (metric, group), value in measured.items():
        expected = 1 if metric in ("r2", "met_response") else 0
        assert value == pytest.approx(expected, abs=1e-9), (metric, group)


def test_units_of_the_globals_error(met):
    """A miss of 3 GeV in x alone: RMS 3 / sqrt 2 GeV; NMSE is its square over the scale's."""
    measured = table(met_metrics("head", met + np.array([3, 0]), met, SCALE_GEV))
    assert measured["met_component_rms", "head"] == pytest.approx(3 / math.sqrt(2))
    assert measured["rec_globals", "head"] == pytest.approx(4.5 / SCALE_GEV**2)
    variance = (met[:, 0].var() + met[:, 1].var()) / 2
    assert measured["r2", "head"] == pytest.approx(1 - 4.5 / variance)


@pytest.mark.parametrize("degrees", [30, -30, 90, 180])
def test_a_rotation_shows_as_what_it_is(met, degrees):
    """A wrong sign of the angle, of u_par or of u_perp shows; |cos dphi| would hide 180."""
    angle = math.radians(degrees)
    measured = table(met_metrics("head", turned(met, degrees), met, SCALE_GEV))
    assert measured["met_dphi_bias", "head"] == pytest.approx(angle)
    assert measured["met_dphi_rms", "head"] == pytest.approx(abs(angle))
    assert measured["met_dphi_sigma68", "head"] == pytest.approx(0, abs=1e-9)
    assert measured["met_magnitude_bias", "head"] == pytest.approx(0, abs=1e-9)
    for low, high in merged_bins(np.hypot(*met.T)):
        response = measured["met_response", f"head:{low:g}-{high:g}"]
        assert response == pytest.approx(math.cos(angle), abs=1e-9)


def test_a_mirrored_prediction_shows(met):
    """Mirrored at the x axis, directions are wrong by anything, lengths are right."""
    measured = table(met_metrics("head", met * [1, -1], met, SCALE_GEV))
    assert measured["met_magnitude_sigma68", "head"] == pytest.approx(0, abs=1e-9)
    assert measured["met_dphi_rms", "head"] > 1.5
    assert abs(measured["met_response", "head:60-80"]) < 0.3


def test_predictions_around_the_opposite_direction_are_biased_by_half_a_turn():
    """Half of them turn by a little less than pi, half by a little less than -pi."""
    true = np.array([[100.0, 0.0]] * 4)
    angle = np.array([3.0, -3.0, 3.1, -3.1])
    predicted = 100 * np.column_stack([np.cos(angle), np.sin(angle)])
    measured = table(met_metrics("head", predicted, true, SCALE_GEV))
    assert abs(measured["met_dphi_bias", "head"]) == pytest.approx(math.pi)


def test_dphi_keeps_its_sign():
    """Half turned to the left and half to the right: the spread is the angle, not zero."""
    true = np.tile([100.0, 0.0], (60, 1))
    side = np.where(np.arange(60) % 2, 1, -1)
    made = 100 * np.column_stack([np.cos(0.5 * side), np.sin(0.5 * side)])
    assert table(met_metrics("head", made, true, 1.0))["met_dphi_sigma68", "head"] == (
        pytest.approx(0.5)
    )


def test_dphi_looks_at_hard_met_alone(met):
    soft = np.hypot(*met.T) <= 50
    measured = table(met_metrics("head", np.where(soft[:, None], -met, met), met, SCALE_GEV))
    assert soft.any()
    assert measured["met_dphi_rms", "head"] == 0
    # It is the true MET that must be hard: a short prediction of it counts, turned as it is.
    measured = table(met_metrics("head", 0.1 * turned(met, 90), met, SCALE_GEV))
    assert measured["met_dphi_rms", "head"] == pytest.approx(math.pi / 2)


def test_magnitude_is_predicted_minus_true(met):
    measured = table(met_metrics("head", 1.5 * met, met, SCALE_GEV))
    expected = np.median(0.5 * np.hypot(*met.T))
    assert measured["met_magnitude_bias", "head"] == pytest.approx(expected)
    shorter = table(met_metrics("head", 0.5 * met, met, SCALE_GEV))
    assert shorter["met_magnitude_bias", "head"] == pytest.approx(-expected)
    low, high = np.quantile(0.5 * np.hypot(*met.T), [0.16, 0.84])
    assert shorter["met_magnitude_sigma68", "head"] == pytest.approx((high - low) / 2)


def test_response_is_a_ratio_of_means():
    """A few soft events that are far too long do not make the response of a bin."""
    true = np.array([[1.0, 0.0]] * 10 + [[19.0, 0.0]] * 90)
    made = np.array([[10.0, 0.0]] * 10 + [[19.0, 0.0]] * 90)
    measured = table(met_metrics("head", made, true, 1.0))
    expected = (10 * 10 + 90 * 19) / (10 * 1 + 90 * 19)
    assert measured["met_response", "head:0-inf"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("offset", "right", "zero"),
    [([0, 10], "parallel", "perpendicular"), ([10, 0], "perpendicular", "parallel")],
)
def test_resolutions_keep_their_signs_and_their_directions(offset, right, zero):
    """Half of the predictions are 10 GeV off to one side and half to the other."""
    true = np.tile([0.0, 90.0], (100, 1))
    made = true + np.where(np.arange(100) % 2, 1, -1)[:, None] * offset
    measured = table(met_metrics("head", made, true, 1.0))
    assert measured[f"met_{right}_sigma68", "head:0-inf"] == pytest.approx(10)
    assert measured[f"met_{zero}_sigma68", "head:0-inf"] == pytest.approx(0, abs=1e-9)


def test_what_points_backwards_has_no_corrected_resolution(met):
    measured = table(met_metrics("head", -met, met, SCALE_GEV))
    assert measured["met_response", "head:60-80"] == pytest.approx(-1)
    assert ("met_parallel_sigma68", "head:60-80") in measured
    assert not [metric for metric, _ in measured if metric.endswith("_over_response")]


def test_response_and_resolution_of_a_shrunken_prediction(met):
    """At 0.7 of the truth the response is 0.7, and the resolutions are divided by it."""
    measured = table(met_metrics("head", 0.7 * met, met, SCALE_GEV))
    length = np.hypot(*met.T)
    inside = length[(length >= 60) & (length < 80)]
    assert len(inside) >= 50
    low, high = np.quantile(-0.3 * inside, [0.16, 0.84])
    assert measured["met_response", "head:60-80"] == pytest.approx(0.7)
    assert measured["met_parallel_sigma68", "head:60-80"] == pytest.approx((high - low) / 2)
    assert measured["met_parallel_sigma68_over_response", "head:60-80"] == pytest.approx(
        (high - low) / 2 / 0.7
    )
    assert measured["met_perpendicular_sigma68", "head:60-80"] == pytest.approx(0, abs=1e-9)


def test_events_without_met_have_no_direction():
    true = np.array([[0.0, 0.0]] * 10 + [[100.0, 0.0]] * 60)
    measured = table(met_metrics("head", true + np.array([1.0, 0.0]), true, 1.0))
    assert all(map(math.isfinite, measured.values()))
    assert measured["met_magnitude_bias", "head"] == pytest.approx(1)


def test_bins_merge_upwards_until_they_hold_enough():
    lengths = np.concatenate([np.full(49, 10.0), np.full(1, 30.0), np.full(60, 90.0), [200.0]])
    # 0-20 has 49: merged with 20-40. 40-80 have none: merged with 80-100. The rest joins it.
    assert merged_bins(lengths) == [(0.0, 40.0), (40.0, np.inf)]
    assert merged_bins(np.array([10.0])) == [(0.0, np.inf)]
    assert merged_bins(np.full(50, 500.0)) == [(0.0, np.inf)]
    full = np.concatenate([np.full(50, x) for x in (10, 30, 50, 70, 90, 120, 200)])
    edges = [0, 20, 40, 60, 80, 100, 150, np.inf]
    assert merged_bins(full) == list(pairwise(edges))
    # An event on an edge belongs to the bin above, as it does when bins are merged.
    assert merged_bins(np.repeat([10.0, 20.0], 50)) == [(0.0, 20.0), (20.0, np.inf)]
    true = np.column_stack([np.repeat([10.0, 20.0], 50), np.zeros(100)])
    measured = table(met_metrics("head", true * np.repeat([[1], [2]], 50, axis=0), true, 1.0))
    assert measured["met_response", "head:0-20"] == pytest.approx(1)
    assert measured["met_response", "head:20-inf"] == pytest.approx(2)


def objects(n, seed=1):
    """Return n physical objects (E, pT, eta, phi)."""
    rng = np.random.default_rng(seed)
    pt, eta = 20 + rng.exponential(50, n), rng.uniform(-2.5, 2.5, n)
    return np.column_stack([pt * np.cosh(eta) * 1.1, pt, eta, rng.uniform(-np.pi, np.pi, n)])


def test_residuals_are_reconstructed_minus_true():
    """Every object is moved by a known amount, in phi across the jump."""
    true = objects(400)
    made = true * [1, 1.2, 1, 1] + [4, 0, -0.5, 2 * np.pi - 0.1]
    measured = table(token_metrics(made, true, np.ones(400, np.uint8), TYPES))
    assert measured["token_bias", "energy"] == pytest.approx(4)
    assert measured["token_bias", "energy_relative"] == pytest.approx(np.median(4 / true[:, 0]))
    assert measured["token_bias", "pt_relative"] == pytest.approx(0.2)
    assert measured["token_rms", "pt"] == pytest.approx(0.2 * np.sqrt(np.mean(true[:, 1] ** 2)))
    assert measured["token_bias", "eta"] == pytest.approx(-0.5)
    assert measured["token_bias", "phi"] == pytest.approx(-0.1)
    assert measured["token_sigma68", "phi"] == pytest.approx(0, abs=1e-9)
    assert measured["token_dr_median", "all"] == pytest.approx(math.hypot(0.5, 0.1))


def test_distances_are_summed_up_by_their_quantiles():
    """Objects moved by 0, 0.01, ..., 1.00 in eta."""
    true = objects(101)
    made = true + np.arange(101)[:, None] / 100 * [0, 0, 1, 0]
    made[100, 2] += 5
    measured = table(token_metrics(made, true, np.ones(101, np.uint8), TYPES))
    assert measured["token_dr_median", "all"] == pytest.approx(0.5)
    assert measured["token_dr_q95", "all"] == pytest.approx(0.95)


def test_every_number_names_its_unit(met):
    true = objects(60)
    types, offsets = np.ones(60, np.uint8), np.array([0, 30, 60])
    rows = [
        *token_metrics(true, true, types, TYPES),
        *closure_metrics(true, true, types, TYPES, offsets),
        *met_metrics("head", met, met, SCALE_GEV),
    ]
    found = {(row.metric, row.group.partition(":")[0]): row.unit for row in rows}
    in_gev = {(f"token_{s}", q) for s in ("bias", "sigma68", "rms") for q in ("energy", "pt")}
    in_gev |= {key for key in found if key[0].startswith("event_")}
    in_gev |= {
        (f"met_{name}", "head")
        for name in (
            "component_rms",
            "magnitude_bias",
            "magnitude_sigma68",
            "parallel_sigma68",
            "perpendicular_sigma68",
            "parallel_sigma68_over_response",
            "perpendicular_sigma68_over_response",
        )
    }
    in_rad = {(f"token_{s}", "phi") for s in ("bias", "sigma68", "rms")}
    in_rad |= {(f"met_dphi_{s}", "head") for s in ("bias", "sigma68", "rms")}
    assert {key for key, unit in found.items() if unit == "GeV"} == in_gev
    assert {key for key, unit in found.items() if unit == "rad"} == in_rad
    assert {unit for key, unit in found.items() if key not in in_gev | in_rad} == {"1"}


def test_residuals_by_object_type():
    true = objects(100)
    types = np.where(np.arange(100) < 60, 1, 4).astype(np.uint8)
    made = true + np.where(types[:, None] == 4, [7.0, 0, 0, 0], 0)
    measured = table(token_metrics(made, true, types, TYPES))
    assert measured["token_bias", "energy:e-"] == pytest.approx(7)
    assert measured["token_bias", "energy:jet"] == 0
    assert ("token_bias", "energy:photon") not in measured


def test_unphysical_energies_are_counted():
    """E below pT cosh eta by more than 0.1 %."""
    true = objects(10)
    made = true.copy()
    made[:, 0] = made[:, 1] * np.cosh(made[:, 2]) * np.array([0.9985] * 3 + [0.9995] * 7)
    measured = table(token_metrics(made, true, np.ones(10, np.uint8), TYPES))
    assert measured["token_unphysical_fraction", "all"] == pytest.approx(0.3)


def test_quantities_of_one_event_by_hand():
    """Two jets back to back and an electron along y, all central and massless."""
    event = np.array([[30, 30, 0, 0], [20, 20, 0, np.pi], [5, 5, 0, np.pi / 2]], dtype=float)
    jets = np.array([True, True, False])
    ht, leading, mass, sum_pt = event_quantities(event, jets, np.array([0, 3]))[0]
    assert ht == pytest.approx(50)
    assert leading == pytest.approx(30)
    assert sum_pt == pytest.approx(math.hypot(10, 5))
    assert mass == pytest.approx(math.sqrt(55**2 - 10**2 - 5**2))


def test_an_energy_below_the_momentum_is_raised_for_the_mass():
    event = np.array([[1.0, 30, 0.5, 0], [30 * math.cosh(0.5), 30, 0.5, np.pi]])
    mass = event_quantities(event, np.array([True, True]), np.array([0, 2]))[0, 2]
    # Both massless: m = 2 pT for opposite azimuth and the same eta.
    assert mass == pytest.approx(60)


def test_closure_counts_jets_and_skips_empty_events():
    true = objects(6)
    made = true * [1.1, 1.1, 1, 1]
    types = np.array([1, 2, 3, 1, 1, 7], np.uint8)
    offsets = np.array([0, 3, 3, 6])
    measured = table(closure_metrics(made, true, types, TYPES, offsets))
    ht = [true[:2, 1].sum(), true[3:5, 1].sum()]
    assert measured["event_bias", "ht"] == pytest.approx(0.1 * np.mean(ht))
    leading = [true[:2, 1].max(), true[3:5, 1].max()]
    assert measured["event_bias", "leading_jet_pt"] == pytest.approx(0.1 * np.mean(leading))
    assert {"visible_mass", "sum_pt"} <= {group for _, group in measured}


def test_a_single_massless_object_has_no_mass():
    """Rounding may leave a mass squared just below 0, which has no root."""
    events = objects(200)
    events[:, 0] = events[:, 1] * np.cosh(events[:, 2])
    mass = event_quantities(events, np.ones(200, bool), np.arange(201))[:, 2]
    assert_allclose(mass, 0, atol=1e-3)


def test_nothing_to_measure():
    empty = np.empty((0, 4))
    types = np.empty(0, np.uint8)
    assert token_metrics(empty, empty, types, TYPES) == []
    assert closure_metrics(empty, empty, types, TYPES, np.array([0, 0])) == []


def test_mass_of_many_objects_against_four_vectors():
    """The sum of explicit four-vectors, one object at a time."""
    event = objects(9, seed=3)
    total = np.zeros(4)
    for energy, pt, eta, phi in event:
        momentum = [pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)]
        total += [energy, *momentum]
    mass = event_quantities(event, np.ones(9, bool), np.array([0, 9]))[0, 2]
    assert_allclose(mass, math.sqrt(total[0] ** 2 - (total[1:] ** 2).sum()))
