"""The calorimeters: particles deposit energy in towers, and towers and tracks become energy flow.

Both calorimeters follow the card's modules ECal and HCal, which Delphes computes in
modules/SimpleCalorimeter.cc.
"""

from dataclasses import dataclass

import numpy as np

from globals_heads.data.pythia import Floats, Integers, Particles
from globals_heads.data.tracks import Tracks, smear

# A tower counts if its energy exceeds this many standard deviations of its resolution.
SIGNIFICANCE_MIN = 2.0


@dataclass(frozen=True)
class Calorimeter:
    """One calorimeter; its towers form rings around the beam, the same on both sides.

    Attributes
    ----------
    ring_edges
        Boundaries in |eta| of the R rings of one side, from 0 outwards, shape (R + 1,).
    ring_towers
        Number of towers in each ring, shape (R,).
    energy_min_gev
        Smallest energy of a tower.
    resolution
        Rows (largest |eta|, a, b, c) of sigma(E) = sqrt((a E)^2 + b^2 E + c^2), E in GeV.
    fractions
        Fraction of its energy that a particle deposits, by the absolute value of its PDG id.
    other_fraction
        The same for all other particles.
    """

    ring_edges: tuple[float, ...]
    ring_towers: tuple[int, ...]
    energy_min_gev: float
    resolution: tuple[tuple[float, float, float, float], ...]
    fractions: dict[int, float]
    other_fraction: float


# Towers of 0.0174 x 1 degree up to |eta| = 2.958, then of 10 degrees.
_ECAL_FORWARD = (3.125, 3.3, 3.475, 3.65, 3.825, 4.0, 4.175, 4.35, 4.525, 4.7, 5.0)
ECAL = Calorimeter(
    ring_edges=(*(0.0174 * i for i in range(171)), *_ECAL_FORWARD),
    ring_towers=(360,) * 170 + (36,) * len(_ECAL_FORWARD),
    energy_min_gev=0.5,
    resolution=((3.2, 0.0017, 0.101, 0.0), (4.9, 0.0350, 0.285, 0.0)),
    fractions={11: 1.0, 22: 1.0, 310: 0.3, 3122: 0.3},
    other_fraction=0.0,
)
# Towers of 0.1 x 10 degrees up to |eta| = 2.6, then of 20 degrees. The card lists the edge 3.3 (on
# one side 3.2) among those of 10 degrees, so the narrow ring between them has such towers, too.
_HCAL_FORWARD = (2.8, 3.0, 3.2, 3.3, 3.5, 3.7, 3.9, 4.1, 4.3, 4.5, 4.7, 4.9)
HCAL = Calorimeter(
    ring_edges=(*(i / 10 for i in range(27)), *_HCAL_FORWARD),
    ring_towers=(36,) * 26 + (18, 18, 18, 36) + (18,) * 8,
    energy_min_gev=1.0,
    resolution=((1.7, 0.0302, 0.5205, 1.59), (3.2, 0.0500, 0.706, 0.0), (4.9, 0.0942, 1.0, 0.0)),
    fractions={11: 0.0, 22: 0.0, 310: 0.7, 3122: 0.7, 12: 0.0, 13: 0.0, 14: 0.0, 16: 0.0},
    other_fraction=1.0,
)


@dataclass(frozen=True)
class Response:
    """What one calorimeter makes of a batch of particles and their tracks.

    Attributes
    ----------
    tower_of
        Index of the tower that each particle hits, -1 for none, shape (P,).
    towers
        All towers that are hit, massless, event after event, shape (T,). The energy of a tower
        below the thresholds is 0.
    excess
        The energy of each tower beyond the tracks that end in it, shape (T,); 0 if it is not
        significant. This is how photons and neutral hadrons are seen.
    track_scale
        Factor that turns the momenta of the tracks of a tower into the best estimate from tracks
        and tower together, shape (T,).
    """

    tower_of: Integers
    towers: Particles
    excess: Particles
    track_scale: Floats


def energy_fraction(calorimeter: Calorimeter, pdg_id: Integers) -> Floats:
    """Return the fraction of its energy that each particle deposits."""
    fraction = np.full(len(pdg_id), calorimeter.other_fraction)
    for code, value in calorimeter.fractions.items():
        fraction[np.abs(pdg_id) == code] = value
    return fraction


def energy_resolution(calorimeter: Calorimeter, energy: Floats, eta: Floats) -> Floats:
    """Return sigma(E) in GeV of energies at `eta`."""
    table = np.array(calorimeter.resolution)
    region = np.searchsorted(table[:, 0], np.abs(eta))
    constant, stochastic, noise = table[region, 1:].T
    return np.asarray(np.sqrt((constant * energy) ** 2 + stochastic**2 * energy + noise**2))


def tower_number(calorimeter: Calorimeter, eta: Floats, phi: Floats) -> Integers:
    """Return the number of the tower at each place inside the calorimeter, from 0."""
    edges, towers_in_ring, first_of_ring = _rings(calorimeter)
    ring = np.searchsorted(edges, eta, side="right") - 1
    column = ((phi + np.pi) / (2 * np.pi) * towers_in_ring[ring]).astype(np.int64)
    # phi = pi is the upper edge of the last tower.
    return first_of_ring[ring] + np.minimum(column, towers_in_ring[ring] - 1)


def tower_edges(calorimeter: Calorimeter, number: Integers) -> tuple[Floats, Floats]:
    """Return the lower and upper edges of towers in eta and in phi, both of shape (2, T)."""
    edges, towers_in_ring, first_of_ring = _rings(calorimeter)
    ring = np.searchsorted(first_of_ring, number, side="right") - 1
    column = number - first_of_ring[ring]
    phi = 2 * np.pi * np.stack([column, column + 1]) / towers_in_ring[ring] - np.pi
    return np.stack([edges[ring], edges[ring + 1]]), phi


def measure_towers(
    calorimeter: Calorimeter, particles: Particles, tracks: Tracks, rng: np.random.Generator
) -> Response:
    """Return the response of one calorimeter.

    Parameters
    ----------
    calorimeter
        `ECAL` or `HCAL`.
    particles
        Stable particles, event after event, shape (P,).
    tracks
        The tracks of `particles`. Tracks of particles that deposit all their energy here are
        compared with the towers; the others pass unchanged.
    rng
        Source of the smeared energies and of the places of towers.
    """
    fraction = energy_fraction(calorimeter, particles.pdg_id)
    inside = np.abs(particles.eta) < calorimeter.ring_edges[-1]
    hit = np.flatnonzero(inside & (fraction > 0))
    hits = particles[hit]
    num_towers = 2 * sum(calorimeter.ring_towers)
    number = tower_number(calorimeter, hits.eta, hits.phi)
    # Equal keys are hits of one tower; the keys rise with the event, so the towers do, too.
    keys, tower = np.unique(hits.event * num_towers + number, return_inverse=True)
    event, number = np.divmod(keys, num_towers)
    tower_of = np.full(len(particles), -1)
    tower_of[hit] = tower

    eta_edges, phi_edges = tower_edges(calorimeter, number)
    center = eta_edges.mean(axis=0)
    true = np.bincount(tower, hits.energy * fraction[hit], minlength=len(keys)).astype(np.float64)
    energy = smear(true, energy_resolution(calorimeter, true, center), rng)
    sigma = energy_resolution(calorimeter, energy, center)
    energy_min = np.maximum(calorimeter.energy_min_gev, SIGNIFICANCE_MIN * sigma)
    energy = np.where(energy >= energy_min, energy, 0.0)
    excess, scale = _energy_flow(calorimeter, energy, sigma, tower_of[tracks.particle], tracks)

    # As in Delphes, a tower is seen at a random place between its edges.
    eta, phi = (low + (high - low) * rng.random(len(keys)) for low, high in (eta_edges, phi_edges))

    def massless(energy: Floats) -> Particles:
        return Particles(event, np.zeros_like(event), energy / np.cosh(eta), eta, phi, energy)

    return Response(tower_of, massless(energy), massless(excess), scale)


def _rings(calorimeter: Calorimeter) -> tuple[Floats, Integers, Integers]:
    """Return edges in eta, numbers of towers and numbers of the first towers of all rings."""
    half_edges, half_towers = (
        np.array(x) for x in (calorimeter.ring_edges, calorimeter.ring_towers)
    )
    towers = np.concatenate([half_towers[::-1], half_towers])
    return np.concatenate([-half_edges[:0:-1], half_edges]), towers, np.cumsum(towers) - towers


def _energy_flow(
    calorimeter: Calorimeter, energy: Floats, sigma: Floats, tower: Integers, tracks: Tracks
) -> tuple[Floats, Floats]:
    """Return the excess of each tower over its tracks, and the factor of its tracks.

    `energy` and `sigma` are those of the towers, shape (T,), and `tower` is the index of the tower
    in which each track ends, -1 for none. A tower has either a significant excess, which is
    measured beside the tracks, or none: then its energy improves the measurement of its tracks.
    """
    ends = tower >= 0
    track_energy = tracks.momenta.energy[ends]
    track_variance = (tracks.resolution[ends] * track_energy) ** 2
    tracked = np.bincount(tower[ends], track_energy, minlength=len(energy))
    variance = np.bincount(tower[ends], track_variance, minlength=len(energy))
    excess = np.maximum(energy - tracked, 0)
    excess_min = np.maximum(
        calorimeter.energy_min_gev, SIGNIFICANCE_MIN * np.sqrt(variance + sigma**2)
    )
    significant = excess > excess_min
    best = (tracked * sigma**2 + energy * variance) / (variance + sigma**2)
    improved = ~significant & (tracked > 0)
    scale = np.divide(best, tracked, out=np.ones_like(energy), where=improved)
    return np.where(significant, excess, 0.0), scale
