"""The calorimeters: edges and resolutions of the card, and hand-made particles."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from globals_heads.data import towers
from globals_heads.data.pythia import Particles
from globals_heads.data.towers import ECAL, HCAL
from globals_heads.data.tracks import Tracks

PION, PHOTON, ELECTRON, MUON, NEUTRINO = 211, 22, 11, 13, 12
KAON_SHORT, LAMBDA, NEUTRON = 310, 3122, 2112


def particles(*rows):
    """Massless particles from rows of (event, pdg_id, energy, eta, phi)."""
    event, pdg_id, energy, eta, phi = (np.array(c) for c in zip(*rows, strict=True))
    energy, eta, phi = (np.asarray(x, dtype=float) for x in (energy, eta, phi))
    return Particles(event, pdg_id, energy / np.cosh(eta), eta, phi, energy)


def tracks_of(measured, index, energy, resolution):
    """Tracks with the given energies of the particles `index`."""
    true = measured[np.array(index, dtype=int)]
    energy = np.array(energy, dtype=float)
    momenta = Particles(
        true.event, true.pdg_id, energy / np.cosh(true.eta), true.eta, true.phi, energy
    )
    return Tracks(np.array(index, dtype=int), momenta, np.array(resolution, dtype=float))


def exact(monkeypatch):
    """Switch smearing off, and return a generator that puts towers at their centres."""
    monkeypatch.setattr(towers, "smear", lambda mean, sigma, rng: mean)
    return SimpleNamespace(random=lambda n: np.full(n, 0.5))


def card_edges(calorimeter):
    """The card's lists of edges in eta, each with the number of towers below it in phi."""
    if calorimeter is ECAL:
        fine = [i * 0.0174 for i in range(-85, 87)]
        fine += [-2.958 + i * 0.0174 for i in range(1, 85)]
        fine += [1.4964 + i * 0.0174 for i in range(1, 85)]
        coarse = [-5, -4.7, -4.525, -4.35, -4.175, -4, -3.825, -3.65, -3.475, -3.3, -3.125, -2.958]
        coarse += [3.125, 3.3, 3.475, 3.65, 3.825, 4, 4.175, 4.35, 4.525, 4.7, 5]
        return sorted([(eta, 360) for eta in fine] + [(eta, 36) for eta in coarse])
    ten = [-3.2, *(i / 10 for i in range(-25, 27)), 3.3]
    twenty = [-4.9, -4.7, -4.5, -4.3, -4.1, -3.9, -3.7, -3.5, -3.3, -3, -2.8, -2.6]
    twenty += [2.8, 3, 3.2, 3.5, 3.7, 3.9, 4.1, 4.3, 4.5, 4.7, 4.9]
    return sorted([(eta, 36) for eta in ten] + [(eta, 18) for eta in twenty])


@pytest.mark.parametrize("calorimeter", [ECAL, HCAL], ids=["ecal", "hcal"])
def test_towers_are_those_of_the_card(calorimeter):
    edges = card_edges(calorimeter)
    number = 0
    for (low, _), (high, in_phi) in itertools.pairwise(edges):
        numbers = np.arange(number, number + in_phi)
        eta, phi = towers.tower_edges(calorimeter, numbers)
        assert eta[0] == pytest.approx(low) and eta[1] == pytest.approx(high)
        assert phi[0] == pytest.approx(-np.pi + 2 * np.pi * np.arange(in_phi) / in_phi)
        assert phi[1] == pytest.approx(phi[0] + 2 * np.pi / in_phi)
        inside = (eta.mean(axis=0), phi.mean(axis=0))
        assert (towers.tower_number(calorimeter, *inside) == numbers).all()
        number += in_phi
    assert number == 2 * sum(calorimeter.ring_towers)


def test_phi_of_pi_lies_in_the_last_tower():
    first, last = towers.tower_number(HCAL, np.full(2, 0.05), np.array([-np.pi, np.pi]))
    assert last - first == 35


@pytest.mark.parametrize(
    ("calorimeter", "eta", "expected"),
    [
        (ECAL, 0, 1.024207),  # sqrt(0.17^2 + 1.01^2)
        (ECAL, -3.2, 1.024207),
        (ECAL, 4, 4.513591),  # sqrt(3.5^2 + 2.85^2)
        (HCAL, 1.7, 6.224189),  # sqrt(3.02^2 + 5.205^2 + 1.59^2)
        (HCAL, -2, 8.651220),  # sqrt(5^2 + 7.06^2)
        (HCAL, 4, 13.738138),  # sqrt(9.42^2 + 10^2)
    ],
)
def test_resolution_of_100_gev(calorimeter, eta, expected):
    sigma = towers.energy_resolution(calorimeter, np.array([100.0]), np.array([float(eta)]))
    assert sigma == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("pdg_id", "ecal", "hcal"),
    [
        (-ELECTRON, 1, 0),
        (PHOTON, 1, 0),
        (-PION, 0, 1),
        (NEUTRON, 0, 1),
        (KAON_SHORT, 0.3, 0.7),
        (-LAMBDA, 0.3, 0.7),
        (-MUON, 0, 0),
        (NEUTRINO, 0, 0),
        (-14, 0, 0),
        (16, 0, 0),
    ],
)
def test_energy_fractions(pdg_id, ecal, hcal):
    assert towers.energy_fraction(ECAL, np.array([pdg_id])) == ecal
    assert towers.energy_fraction(HCAL, np.array([pdg_id])) == hcal


def test_particles_share_towers_and_each_event_has_its_own(monkeypatch):
    rng = exact(monkeypatch)
    hit = particles(
        (0, PION, 20, 0.51, 0.01),
        (0, NEUTRON, 10, 0.59, 0.17),  # the same tower: 0.5 to 0.6, 0 to 10 degrees
        (0, KAON_SHORT, 100, 0.55, 0.18),  # the next one in phi, with 0.7 of its energy
        (0, PHOTON, 50, 0.55, 0.01),  # stops before
        (0, PION, 70, 4.95, 0),  # beyond
        (2, PION, 30, 0.51, 0.01),
    )
    response = towers.measure_towers(HCAL, hit, tracks_of(hit, [], [], []), rng)
    assert response.tower_of.tolist() == [0, 0, 1, -1, -1, 2]
    assert response.towers.event.tolist() == [0, 0, 2]
    assert response.towers.energy == pytest.approx([30, 70, 30])
    assert response.towers.pt == pytest.approx(np.array([30, 70, 30]) / np.cosh(0.55))
    assert response.towers.eta == pytest.approx([0.55] * 3)
    assert response.towers.phi == pytest.approx(np.deg2rad([5, 15, 5]))


@pytest.mark.parametrize(
    ("calorimeter", "pdg_id", "eta", "threshold"),
    [
        (ECAL, PHOTON, 0.0, 0.5),
        # E = 2 sigma(E): E^2 (1 - 4 a^2) = 4 b^2 E + 4 c^2
        (HCAL, PION, 0.05, 3.775724),
        (HCAL, PION, 2.0, 2.013883),
        (HCAL, PION, 4.0, 4.147203),
        (ECAL, PHOTON, 4.0, 0.5),
    ],
)
def test_a_tower_below_its_threshold_is_dropped(calorimeter, pdg_id, eta, threshold, monkeypatch):
    rng = exact(monkeypatch)
    hit = particles((0, pdg_id, 0.999 * threshold, eta, 1), (1, pdg_id, 1.001 * threshold, eta, 1))
    response = towers.measure_towers(calorimeter, hit, tracks_of(hit, [], [], []), rng)
    assert response.towers.energy == pytest.approx([0, 1.001 * threshold])
    assert response.towers.pt[0] == 0


def test_noise_has_the_width_of_the_card():
    n = 40_000
    hit = particles(*zip(range(n), [PION] * n, [20.0] * n, [0.05] * n, [1.0] * n, strict=True))
    response = towers.measure_towers(
        HCAL, hit, tracks_of(hit, [], [], []), np.random.default_rng(3)
    )
    # sqrt((0.0302 20)^2 + 0.5205^2 20 + 1.59^2); without the noise term 2.405
    assert response.towers.energy.std() == pytest.approx(2.883, rel=0.02)
    assert response.towers.energy.mean() == pytest.approx(20, rel=0.01)
    # Towers are seen at random places between their edges.
    for value, low, high in (
        (response.towers.eta, 0.0, 0.1),
        (response.towers.phi, np.deg2rad(50), np.deg2rad(60)),
    ):
        assert low <= value.min() and value.max() <= high
        assert value.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.02)


def test_energy_flow_by_hand(monkeypatch):
    rng = exact(monkeypatch)
    hit = particles(
        (0, PION, 50, 2.05, 0.1),
        (0, NEUTRON, 50, 2.05, 0.1),  # a significant excess beside a track
        (0, PION, 50, -2.05, 0.1),  # the tower improves its two tracks
        (0, PION, 30, -2.05, 0.1),
        (0, NEUTRON, 40, 2.05, 2.0),  # no track
        (0, PION, 50, 2.05, 3.0),  # a track that measures too much
    )
    found = tracks_of(hit, [0, 2, 3, 5], [50, 48, 28, 60], [0.1, 0.1, 0.1, 0.2])
    response = towers.measure_towers(HCAL, hit, found, rng)
    tower = response.tower_of

    def sigma_squared(energy):
        return (0.05 * energy) ** 2 + 0.706**2 * energy

    excess, scale = np.zeros(4), np.ones(4)
    excess[tower[0]] = 50  # sqrt(5^2 + 8.65^2) = 9.99, so 5 standard deviations
    excess[tower[4]] = 40
    variance = 4.8**2 + 2.8**2
    best = (76 * sigma_squared(80) + 80 * variance) / (variance + sigma_squared(80))
    scale[tower[2]] = best / 76
    best = (60 * sigma_squared(50) + 50 * 12**2) / (12**2 + sigma_squared(50))
    scale[tower[5]] = best / 60
    assert response.excess.energy == pytest.approx(excess)
    assert response.track_scale == pytest.approx(scale)
    assert 1 < scale[tower[2]] < 80 / 76 and 50 / 60 < scale[tower[5]] < 1
    assert (response.excess.eta == response.towers.eta).all()


def test_tracks_of_particles_that_pass_through_change_nothing(monkeypatch):
    rng = exact(monkeypatch)
    hit = particles((0, PHOTON, 50, 0.5, 0.1), (0, MUON, 40, 0.5, 0.1), (0, PION, 30, 0.5, 0.1))
    response = towers.measure_towers(ECAL, hit, tracks_of(hit, [1, 2], [40, 30], [0.01] * 2), rng)
    assert response.excess.energy == pytest.approx([50])
    assert response.track_scale == pytest.approx([1])
