"""A fast detector: the particles of a batch of collisions become reconstructed objects and MET.

It follows the parametrisation of the public ATLAS card of Delphes (delphes/delphes,
cards/delphes_card_ATLAS.tcl), called "the card" below. Delphes smears calorimeter cells; this
detector smears single particles. All functions work on flat arrays of a whole batch. The module
knows nothing of processes, seeds or files.
"""

from collections.abc import Mapping

import awkward as ak
import fastjet
import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.events import NUM_SLOTS, Events
from globals_heads.data.pythia import Collisions, Floats, Integers, Particles, heavy_flavour
from globals_heads.kinematics import delta_r, wrap_angle

Booleans = NDArray[np.bool_]

CALORIMETER_ETA_MAX = 4.9
TRACKER_ETA_MAX = 2.5
MUON_ETA_MAX = 2.7
LEPTON_PT_MIN_GEV = 10.0
JET_RADIUS = 0.4
JET_PT_MIN_GEV = 20.0  # the card's JetPTMin
JET_ETA_MAX = 2.8
ISOLATION_RADIUS = 0.5
ISOLATION_PT_MIN_GEV = 0.5
ISOLATION_MAX = {11: 0.12, 22: 0.12, 13: 0.25}
FLAVOUR_RADIUS = 0.3
FLAVOUR_PT_MIN_GEV = 5.0

NEUTRINOS = (12, 14, 16)
# A kind is an index of KINDS. As in the public data, jets and b-jets fill the first slots, then
# electrons, muons and photons.
KINDS = ("jet", "b-jet", "e-", "e+", "mu-", "mu+", "photon")
SLOT_ORDER = np.array([0, 0, 1, 1, 2, 2, 3])

# Otherwise FastJet would print its banner at the first clustering.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)


def electromagnetic_resolution(energy: Floats, eta: Floats) -> Floats:
    """Return sigma(E) in GeV of electrons and photons; the card's module ECal."""
    central = np.abs(eta) <= 3.2
    constant = np.where(central, 0.0017, 0.035)
    stochastic = np.where(central, 0.101, 0.285)
    return np.sqrt((constant * energy) ** 2 + stochastic**2 * energy)


def hadronic_resolution(energy: Floats, eta: Floats) -> Floats:
    """Return sigma(E) in GeV of hadrons; the card's module HCal.

    The card's noise of 1.59 GeV in the barrel is left out: it is the noise of a whole cell, and
    here it would be added to every single particle in it.
    """
    regions = [np.abs(eta) <= 1.7, np.abs(eta) <= 3.2]
    constant = np.select(regions, [0.0302, 0.05], 0.0942)
    stochastic = np.select(regions, [0.5205, 0.706], 1.0)
    return np.sqrt((constant * energy) ** 2 + stochastic**2 * energy)


def muon_resolution(pt: Floats, eta: Floats) -> Floats:
    """Return sigma(pT) in GeV of muons; the card's module MuonMomentumSmearing.

    The card's last region ends with its tracker at |eta| = 2.5. Here it ends at 2.7, the end of
    the card's muon efficiency.
    """
    regions = [np.abs(eta) <= 0.5, np.abs(eta) <= 1.5]
    constant = np.select(regions, [0.01, 0.015], 0.025)
    slope = np.select(regions, [1.0e-4, 1.5e-4], 3.5e-4)
    return pt * np.sqrt(constant**2 + (slope * pt) ** 2)


def smear(mean: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """Return log-normal numbers of the given mean and standard deviation.

    Delphes draws from the same distribution. All its values are positive, so soft particles keep
    their mean energy; a cut-off Gaussian would raise it.
    """
    width = np.sqrt(np.log1p((sigma / mean) ** 2))
    return np.asarray(mean * np.exp(width * rng.standard_normal(len(mean)) - width**2 / 2))


def identification_efficiency(pt: Floats, eta: Floats, eta_max: float) -> Floats:
    """Return the efficiency of electrons, photons (`eta_max` 2.5) or muons (2.7).

    From the card's modules ElectronEfficiency, PhotonEfficiency and MuonEfficiency.
    """
    plateau = np.where(np.abs(eta) <= 1.5, 0.95, 0.85)
    return np.where((pt > LEPTON_PT_MIN_GEV) & (np.abs(eta) <= eta_max), plateau, 0.0)


def b_tag_efficiency(pt: Floats, eta: Floats, flavour: Integers) -> Floats:
    """Return the probability that a jet of flavour 5, 4 or 0 (lighter) is tagged as a b-jet.

    From the card's module BTagging, which follows ATL-PHYS-PUB-2015-022; 0 outside the tracker.
    """
    bottom = 0.80 * np.tanh(0.003 * pt) * 30 / (1 + 0.086 * pt)
    charm = 0.20 * np.tanh(0.02 * pt) / (1 + 0.0034 * pt)
    light = 0.002 + 7.3e-6 * pt
    efficiency = np.select([flavour == 5, flavour == 4], [bottom, charm], light)
    return np.where(np.abs(eta) <= TRACKER_ETA_MAX, efficiency, 0.0)


def relative_isolation(candidates: Particles, activity: Particles) -> Floats:
    """Return the sum of pT around each candidate, divided by its own pT.

    From the card's isolation modules. The sum takes all particles with pT > 0.5 GeV within
    dR < 0.5, except electrons, muons and the candidate itself.

    Parameters
    ----------
    candidates
        The electrons, photons and muons, shape (C,).
    activity
        All calorimeter deposits, candidates included.

    Returns
    -------
    Floats
        Shape (C,).
    """
    counted = activity[(activity.pt > ISOLATION_PT_MIN_GEV) & (np.abs(activity.pdg_id) != 11)]
    candidate, other = _pairs_within_events(candidates.event, counted.event)
    distance = _distance(candidates[candidate], counted[other])
    # The candidate itself is at a distance of exactly 0.
    near = (distance > 0) & (distance < ISOLATION_RADIUS)
    cone = np.bincount(candidate[near], counted.pt[other[near]], minlength=len(candidates))
    return cone / candidates.pt


def jet_flavour(jets: Particles, heavy_hadrons: Particles) -> Integers:
    """Return the true flavour of jets: 5 near a b hadron, else 4 near a c hadron, else 0.

    Near means dR < 0.3 of a hadron above 5 GeV, as ATLAS labels simulated jets when it measures
    its b-tagging.
    """
    hadrons = heavy_hadrons[heavy_hadrons.pt > FLAVOUR_PT_MIN_GEV]
    jet, hadron = _pairs_within_events(jets.event, hadrons.event)
    near = _distance(jets[jet], hadrons[hadron]) < FLAVOUR_RADIUS
    flavour = np.zeros(len(jets), dtype=np.int64)
    np.maximum.at(flavour, jet[near], heavy_flavour(hadrons.pdg_id[hadron[near]]))
    return flavour


def cluster_jets(deposits: Particles, num_events: int) -> Particles:
    """Return the anti-kt jets (R = 0.4, arXiv:0802.1189) above 20 GeV with |eta| < 2.8.

    Parameters
    ----------
    deposits
        All calorimeter deposits, event after event.
    num_events
        Number of events in the batch.

    Returns
    -------
    Particles
        The jets, with pdg_id 0; a jet is massive, so E >= pT cosh(eta).
    """
    momenta = ak.zip(
        {
            "px": deposits.pt * np.cos(deposits.phi),
            "py": deposits.pt * np.sin(deposits.phi),
            "pz": deposits.pt * np.sinh(deposits.eta),
            "E": deposits.energy,
        }
    )
    counts = np.bincount(deposits.event, minlength=num_events)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)
    sequence = fastjet.ClusterSequence(ak.unflatten(momenta, counts), definition)
    jets = sequence.inclusive_jets(JET_PT_MIN_GEV)
    event = np.repeat(np.arange(num_events), ak.to_numpy(ak.num(jets)))
    flat = ak.flatten(jets)
    px, py, pz, energy = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / pt)
    everything = Particles(event, np.zeros_like(event), pt, eta, np.arctan2(py, px), energy)
    return everything[np.abs(eta) < JET_ETA_MAX]


def missing_momentum(seen: Particles, num_events: int) -> Floats:
    """Return (MET, METphi) of each event: minus the vector sum of all measured particles.

    Returns
    -------
    Floats
        Shape (num_events, 2), in GeV and radians in (-pi, pi].
    """
    x = -np.bincount(seen.event, seen.pt * np.cos(seen.phi), minlength=num_events)
    y = -np.bincount(seen.event, seen.pt * np.sin(seen.phi), minlength=num_events)
    return np.stack([np.hypot(x, y), wrap_angle(np.arctan2(y, x))], axis=1)


def detect(
    collisions: Collisions,
    label: int,
    object_types: Mapping[int, str],
    rng: np.random.Generator,
) -> Events:
    """Return the reconstructed objects and MET of a batch of collisions.

    Parameters
    ----------
    collisions
        The generated events.
    label
        Process of the events, a key of `events.LABELS`.
    object_types
        Meaning of each object-type code.
    rng
        Source of all random numbers of the detector.

    Returns
    -------
    Events
        All events of the batch, accepted or not. The 18 hardest objects of each are kept: jets
        and b-jets first, then electrons, muons and photons, each group by falling pT.
    """
    num_events = collisions.num_events
    deposits = _calorimeter(collisions.final, rng)
    muons = _muon_system(collisions.final, rng)
    candidate = _identified(deposits, TRACKER_ETA_MAX, rng) & np.isin(
        np.abs(deposits.pdg_id), (11, 22)
    )
    candidate[candidate] = _isolated(deposits[candidate], deposits)
    # Isolated electrons and photons are left out of the jets, so no energy counts twice.
    jets = cluster_jets(deposits[~candidate], num_events)
    flavour = jet_flavour(jets, collisions.heavy_hadrons)
    tagged = rng.random(len(jets)) < b_tag_efficiency(jets.pt, jets.eta, flavour)
    leptons_photons = Particles.concatenate(
        [deposits[candidate], muons[_isolated(muons, deposits)]]
    )
    objects = Particles.concatenate([jets, leptons_photons])
    kinds = np.concatenate([tagged.astype(np.int64), kind_of(leptons_photons.pdg_id)])
    types, momenta = fill_slots(objects, kinds, num_events, object_types)
    return Events(
        types=types,
        objects=momenta,
        met=missing_momentum(Particles.concatenate([deposits, muons]), num_events),
        labels=np.full(num_events, label, dtype=np.int64),
    )


def kind_of(pdg_id: Integers) -> Integers:
    """Return the indices in `KINDS` of electrons, muons and photons, given their PDG ids.

    Positive ids have negative charge: 11 is e-, -11 is e+.
    """
    conditions = [pdg_id == 11, pdg_id == -11, pdg_id == 13, pdg_id == -13]
    indices = [KINDS.index(name) for name in ("e-", "e+", "mu-", "mu+")]
    return np.select(conditions, indices, KINDS.index("photon"))


def fill_slots(
    objects: Particles, kinds: Integers, num_events: int, object_types: Mapping[int, str]
) -> tuple[NDArray[np.uint8], Floats]:
    """Return the 18 hardest objects of each event in padded arrays.

    Parameters
    ----------
    objects
        The reconstructed objects, shape (O,), in any order.
    kinds
        Indices of `KINDS`, shape (O,).
    num_events
        Number of events in the batch.
    object_types
        Meaning of each object-type code.

    Returns
    -------
    types
        Codes, shape (num_events, 18); 0 in the empty slots, which are the last ones.
    momenta
        (E, pT, eta, phi), shape (num_events, 18, 4).
    """
    by_pt = np.lexsort((-objects.pt, objects.event))
    kept = by_pt[_rank_in_event(objects.event[by_pt]) < NUM_SLOTS]
    kept = kept[np.lexsort((-objects.pt[kept], SLOT_ORDER[kinds[kept]], objects.event[kept]))]
    event = objects.event[kept]
    slot = _rank_in_event(event)
    code_of = {name: code for code, name in object_types.items()}
    codes = np.array([code_of[name] for name in KINDS], dtype=np.uint8)
    types = np.zeros((num_events, NUM_SLOTS), dtype=np.uint8)
    types[event, slot] = codes[kinds[kept]]
    momenta = np.zeros((num_events, NUM_SLOTS, 4))
    columns = (objects.energy, objects.pt, objects.eta, objects.phi)
    momenta[event, slot] = np.stack(columns, axis=1)[kept]
    return types, momenta


def accepted(
    events: Events, object_types: Mapping[int, str], min_ht_gev: float, min_objects: int
) -> Booleans:
    """Return which events have HT > `min_ht_gev` and at least `min_objects` objects.

    HT is the scalar pT sum in GeV of the jets and b-jets among the 18 kept objects, so every
    event in the file passes both cuts.
    """
    jet_codes = [code for code, name in object_types.items() if name in ("jet", "b-jet")]
    ht = np.where(np.isin(events.types, jet_codes), events.objects[..., 1], 0).sum(axis=1)
    num_objects = (events.types > 0).sum(axis=1)
    passes: Booleans = (ht > min_ht_gev) & (num_objects >= min_objects)
    return passes


def _calorimeter(final: Particles, rng: np.random.Generator) -> Particles:
    """Return massless deposits of all particles within |eta| < 4.9 but muons and neutrinos.

    Their energies are smeared.
    """
    unseen = np.isin(np.abs(final.pdg_id), (13, *NEUTRINOS))
    hit = final[~unseen & (np.abs(final.eta) < CALORIMETER_ETA_MAX)]
    sigma = np.where(
        np.isin(np.abs(hit.pdg_id), (11, 22)),
        electromagnetic_resolution(hit.energy, hit.eta),
        hadronic_resolution(hit.energy, hit.eta),
    )
    energy = smear(hit.energy, sigma, rng)
    return Particles(hit.event, hit.pdg_id, energy / np.cosh(hit.eta), hit.eta, hit.phi, energy)


def _muon_system(final: Particles, rng: np.random.Generator) -> Particles:
    """Return all identified muons, massless and with smeared pT, before the isolation cut."""
    muons = final[(np.abs(final.pdg_id) == 13) & (np.abs(final.eta) <= MUON_ETA_MAX)]
    pt = smear(muons.pt, muon_resolution(muons.pt, muons.eta), rng)
    energy = pt * np.cosh(muons.eta)
    seen = Particles(muons.event, muons.pdg_id, pt, muons.eta, muons.phi, energy)
    return seen[_identified(seen, MUON_ETA_MAX, rng)]


def _identified(particles: Particles, eta_max: float, rng: np.random.Generator) -> Booleans:
    efficiency = identification_efficiency(particles.pt, particles.eta, eta_max)
    return rng.random(len(particles)) < efficiency


def _isolated(candidates: Particles, activity: Particles) -> Booleans:
    kind = np.abs(candidates.pdg_id)
    limit = np.select([kind == i for i in ISOLATION_MAX], list(ISOLATION_MAX.values()))
    return relative_isolation(candidates, activity) < limit


def _distance(a: Particles, b: Particles) -> Array:
    return delta_r(a.eta, a.phi, b.eta, b.phi)


def _pairs_within_events(event_a: Integers, event_b: Integers) -> tuple[Integers, Integers]:
    """Return the indices of all pairs (a, b) within the same event; `event_b` must be sorted."""
    first = np.searchsorted(event_b, event_a, side="left")
    count = np.searchsorted(event_b, event_a, side="right") - first
    a = np.repeat(np.arange(len(event_a)), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return a, np.repeat(first, count) + place


def _rank_in_event(event: Integers) -> Integers:
    """Return the numbers 0, 1, 2, ... of the entries of each event; `event` must be sorted."""
    return np.arange(len(event)) - np.searchsorted(event, event, side="left")
