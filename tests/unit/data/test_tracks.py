"""The tracker: its tables by hand, and hand-made particles."""

import numpy as np
import pytest
import pythia8mc

from globals_heads.data import tracks
from globals_heads.data.pythia import EventGenerator, Particles

PION, KAON_SHORT, ELECTRON, MUON, NEUTRINO, PHOTON = 211, 310, 11, 13, 12, 22


@pytest.mark.parametrize(
    ("pdg_id", "pt", "eta", "expected"),
    [
        (PION, 0.1, 0, 0),
        (PION, 0.5, 0, 0.70),
        (-PION, 1.0, -2, 0.60),
        (PION, 1.1, -1.5, 0.95),
        (PION, 200, 1.6, 0.85),
        (PION, 200, 2.6, 0),
        (ELECTRON, 0.5, 0, 0.73),
        (ELECTRON, 0.5, 2, 0.50),
        (-ELECTRON, 100, 1, 0.95),
        (ELECTRON, 101, 1, 0.99),
        (ELECTRON, 50, -2.5, 0.83),
        (ELECTRON, 101, -2.5, 0.90),
        (MUON, 0.5, 0, 0.75),
        (MUON, 0.5, 2, 0.70),
        (-MUON, 1.1, 1.5, 0.99),
        (MUON, 500, 2.5, 0.98),
        (MUON, 500, -2.6, 0),
    ],
)
def test_efficiency(pdg_id, pt, eta, expected):
    kind = tracks.track_kind(np.array([pdg_id]))
    assert tracks.track_efficiency(kind, np.array([pt]), np.array([eta])) == expected


@pytest.mark.parametrize(
    ("pdg_id", "pt", "eta", "expected"),
    [
        (PION, 100, 0.5, 0.1431782),  # sqrt(0.06^2 + 0.13^2)
        (PION, 100, -1, 0.1972308),  # sqrt(0.10^2 + 0.17^2)
        (PION, 100, 2, 0.3982462),  # sqrt(0.25^2 + 0.31^2)
        (ELECTRON, 100, 0, 0.1334166),  # sqrt(0.03^2 + 0.13^2)
        (ELECTRON, 100, 1.5, 0.1772005),  # sqrt(0.05^2 + 0.17^2)
        (ELECTRON, 100, -2, 0.3443835),  # sqrt(0.15^2 + 0.31^2)
        (MUON, 100, 0.5, 0.01414214),  # sqrt(0.01^2 + 0.01^2)
        (MUON, 100, -1, 0.02121320),  # sqrt(0.015^2 + 0.015^2)
        (MUON, 100, 2.4, 0.04301163),  # sqrt(0.025^2 + 0.035^2)
        (PION, 1000, 2, 1.0),  # Delphes cuts it off at 1
    ],
)
def test_resolution(pdg_id, pt, eta, expected):
    kind = tracks.track_kind(np.array([pdg_id]))
    resolution = tracks.track_resolution(kind, np.array([float(pt)]), np.array([float(eta)]))
    assert resolution == pytest.approx(expected, rel=1e-6)


def test_smear_keeps_mean_and_width_and_stays_positive():
    mean, sigma = np.full(200_000, 2.0), np.full(200_000, 1.5)
    smeared = tracks.smear(mean, sigma, np.random.default_rng(1))
    assert smeared.mean() == pytest.approx(2.0, rel=0.01)
    assert smeared.std() == pytest.approx(1.5, rel=0.03)
    assert smeared.min() > 0


def test_tracks_keep_direction_and_mass_and_smear_pt():
    n = 20_000
    mass, pt, eta = 0.5, 2.0, -1.0
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
    pdg_id = np.tile([KAON_SHORT, PION, NEUTRINO, -PION, PHOTON], n // 5)
    columns = [np.full(n, value) for value in (pt, eta, 0.3, energy)]
    particles = Particles(np.arange(n), pdg_id, *columns)
    measured = tracks.measure_tracks(particles, np.random.default_rng(0))
    momenta = measured.momenta
    assert set(pdg_id[measured.particle]) == {PION, -PION}
    assert len(momenta) / n == pytest.approx(0.4 * 0.95, rel=0.02)
    assert (momenta.event == measured.particle).all()
    assert (momenta.pdg_id == pdg_id[measured.particle]).all()
    assert (momenta.eta == eta).all() and (momenta.phi == 0.3).all()
    assert momenta.energy**2 - (momenta.pt * np.cosh(eta)) ** 2 == pytest.approx(mass**2)
    width = np.hypot(0.10, 1.7e-3 * pt)
    assert measured.resolution == pytest.approx(width)
    assert momenta.pt.mean() == pytest.approx(pt, rel=0.01)
    assert momenta.pt.std() / pt == pytest.approx(width, rel=0.05)


def test_the_list_of_neutral_particles_agrees_with_pythia():
    data = pythia8mc.Pythia("", False).particleData
    final = EventGenerator("tttt", 5, False).next_batch(30).final
    stable = {abs(int(i)) for i in np.unique(final.pdg_id)} | set(tracks.NEUTRAL)
    assert {i for i in stable if data.chargeType(i) == 0} == set(tracks.NEUTRAL)
