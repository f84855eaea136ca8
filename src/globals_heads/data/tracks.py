"""The tracker: which charged particles leave a track, and what pT is measured for them.

Efficiencies and resolutions are those of the public ATLAS card of Delphes (delphes/delphes,
cards/delphes_card_ATLAS.tcl), called "the card" here and in the other modules of the detector.
"""

from dataclasses import dataclass

import numpy as np

from globals_heads.data.pythia import Floats, Integers, Particles

# The long-lived neutral particles: photon, K0L, K0S, neutron, Lambda, Xi0; and the neutrinos.
NEUTRAL = (22, 130, 310, 2112, 3122, 3322, 12, 14, 16)
# The three kinds of tracks, in the order of the tables below.
CHARGED_HADRON, ELECTRON, MUON = range(3)
# The card's modules ChargedHadronTrackingEfficiency, ElectronTrackingEfficiency and
# MuonTrackingEfficiency. Rows: |eta| up to 1.5 and 2.5. Columns: pT above 0.1, 1 and 100 GeV.
EFFICIENCY_ETA_MAX = (1.5, 2.5)
EFFICIENCY_PT_MIN_GEV = (0.1, 1.0, 100.0)
EFFICIENCY = (
    ((0.70, 0.95, 0.95), (0.60, 0.85, 0.85)),
    ((0.73, 0.95, 0.99), (0.50, 0.83, 0.90)),
    ((0.75, 0.99, 0.99), (0.70, 0.98, 0.98)),
)
# The card's modules ChargedHadronMomentumSmearing, ElectronMomentumSmearing and
# MuonMomentumSmearing: (a, b) of sigma(pT) / pT = sqrt(a^2 + (b pT)^2) for |eta| up to 0.5, 1.5
# and 2.5.
RESOLUTION_ETA_MAX = (0.5, 1.5, 2.5)
RESOLUTION = (
    ((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3)),
    ((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3)),
    ((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4)),
)


@dataclass(frozen=True)
class Tracks:
    """Measured tracks of charged particles.

    Attributes
    ----------
    particle
        Index of the particle of each track, shape (T,).
    momenta
        What is measured: the particle's direction and mass, and a smeared pT.
    resolution
        sigma(pT) / pT.
    """

    particle: Integers
    momenta: Particles
    resolution: Floats


def smear(mean: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """Return log-normal numbers of the given mean and standard deviation.

    Delphes draws from the same distribution. All its values are positive, so soft particles keep
    their mean energy; a cut-off Gaussian would raise it.
    """
    width = np.sqrt(np.log1p((sigma / mean) ** 2))
    return np.asarray(mean * np.exp(width * rng.standard_normal(len(mean)) - width**2 / 2))


def track_kind(pdg_id: Integers) -> Integers:
    """Return the kind of track, an index of the tables, of charged particles."""
    number = np.abs(pdg_id)
    return np.select([number == 11, number == 13], [ELECTRON, MUON], CHARGED_HADRON)


def track_efficiency(kind: Integers, pt: Floats, eta: Floats) -> Floats:
    """Return the probability that charged particles leave a track; 0 beyond |eta| = 2.5."""
    # One more column for the softest particles and one more row for those beyond the tracker.
    table = np.pad(EFFICIENCY, ((0, 0), (0, 1), (1, 0)))
    row = np.searchsorted(EFFICIENCY_ETA_MAX, np.abs(eta))
    column = np.searchsorted(EFFICIENCY_PT_MIN_GEV, pt)
    return np.asarray(table[kind, row, column])


def track_resolution(kind: Integers, pt: Floats, eta: Floats) -> Floats:
    """Return sigma(pT) / pT, at most 1, of tracks within |eta| = 2.5."""
    region = np.searchsorted(RESOLUTION_ETA_MAX, np.abs(eta))
    constant, slope = np.moveaxis(np.array(RESOLUTION)[kind, region], -1, 0)
    return np.asarray(np.minimum(np.hypot(constant, slope * pt), 1.0))


def measure_tracks(particles: Particles, rng: np.random.Generator) -> Tracks:
    """Return the tracks that the charged ones among `particles` leave."""
    charged = np.flatnonzero(~np.isin(np.abs(particles.pdg_id), NEUTRAL))
    true = particles[charged]
    efficiency = track_efficiency(track_kind(true.pdg_id), true.pt, true.eta)
    tracked = rng.random(len(true)) < efficiency
    true = true[tracked]
    resolution = track_resolution(track_kind(true.pdg_id), true.pt, true.eta)
    pt = smear(true.pt, resolution * true.pt, rng)
    mass_squared = np.maximum(true.energy**2 - (true.pt * np.cosh(true.eta)) ** 2, 0)
    energy = np.sqrt((pt * np.cosh(true.eta)) ** 2 + mass_squared)
    momenta = Particles(true.event, true.pdg_id, pt, true.eta, true.phi, energy)
    return Tracks(charged[tracked], momenta, resolution)
