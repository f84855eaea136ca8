"""A fast detector: the particles of a batch of collisions become reconstructed objects and MET.

It follows the public ATLAS card of Delphes (delphes/delphes, cards/delphes_card_ATLAS.tcl), called
"the card" below; docs/events.md lists all differences. All functions work on flat arrays of a whole
batch. The module knows nothing of seeds or files.
"""

from collections.abc import Mapping
from dataclasses import replace

import awkward as ak
import fastjet
import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.events import NUM_SLOTS, Events
from globals_heads.data.pythia import Collisions, Floats, Integers, Particles, heavy_flavour
from globals_heads.data.towers import ECAL, HCAL, Response, measure_towers
from globals_heads.data.tracks import Tracks, measure_tracks
from globals_heads.kinematics import delta_r, wrap_angle
from globals_heads.settings import SimulateSettings

Booleans = NDArray[np.bool_]

TRACKER_ETA_MAX = 2.5
# Of electrons, photons and muons for |eta| up to 1.5 and 2.5; the card's modules
# ElectronEfficiency, PhotonEfficiency and MuonEfficiency.
IDENTIFICATION_ETA_MAX = (1.5, 2.5)
IDENTIFICATION = (0.95, 0.85)
ISOLATION_RADIUS = 0.5
ISOLATION_PT_MIN_GEV = 0.5
ISOLATION_MAX = {11: 0.12, 22: 0.12, 13: 0.25}
JET_PT_MIN_GEV = 20.0  # before the energy scale, as the card's JetPTMin
JET_ETA_MAX = 2.8
# (a, b) of sqrt((a - b |eta|)^2 / pT + 1), pT in GeV; the card's module JetEnergyScale.
JET_ENERGY_SCALE = (3.0, 0.2)
FLAVOUR_RADIUS = 0.3
FLAVOUR_PT_MIN_GEV = 5.0
# The card's module BTagging: (a, b, c, d) of a tanh(b pT) c / (1 + d pT) for bottom and charm
# jets, (a, b) of a + b pT for lighter ones.
B_TAG_BOTTOM = (0.80, 0.003, 30.0, 0.086)
B_TAG_CHARM = (0.20, 0.02, 1.0, 0.0034)
B_TAG_LIGHT = (0.002, 7.3e-6)

# A kind is an index of KINDS. As in the public data, jets and b-jets fill the first slots, then
# electrons, muons and photons.
KINDS = ("jet", "b-jet", "e-", "e+", "mu-", "mu+", "photon")
SLOT_ORDER = (0, 0, 1, 1, 2, 2, 3)

# Otherwise FastJet would print its banner at the first clustering.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)


def identification_efficiency(pt: Floats, eta: Floats, pt_min: Floats) -> Floats:
    """Return the efficiency of electrons, photons and muons above their smallest pT in GeV."""
    plateau = np.append(IDENTIFICATION, 0.0)[np.searchsorted(IDENTIFICATION_ETA_MAX, np.abs(eta))]
    return np.where(pt > pt_min, plateau, 0.0)


def jet_energy_scale(pt: Floats, eta: Floats) -> Floats:
    """Return the factor that brings jets of `pt` GeV back to the energy of their particles."""
    offset, slope = JET_ENERGY_SCALE
    return np.sqrt((offset - slope * np.abs(eta)) ** 2 / pt + 1)


def b_tag_efficiency(pt: Floats, eta: Floats, flavour: Integers) -> Floats:
    """Return the probability that a jet of flavour 5, 4 or 0 (lighter) is tagged as a b-jet.

    From the card's module BTagging, which follows ATL-PHYS-PUB-2015-022; 0 outside the tracker.
    """
    bottom, charm = (
        a * np.tanh(b * pt) * c / (1 + d * pt) for a, b, c, d in (B_TAG_BOTTOM, B_TAG_CHARM)
    )
    light = B_TAG_LIGHT[0] + B_TAG_LIGHT[1] * pt
    efficiency = np.select([flavour == 5, flavour == 4], [bottom, charm], light)
    return np.where(np.abs(eta) <= TRACKER_ETA_MAX, efficiency, 0.0)


def relative_isolation(candidates: Particles, activity: Particles) -> Floats:
    """Return the sum of pT around each candidate, divided by its own pT.

    From the card's isolation modules. The sum takes all of `activity` within dR <= 0.5
    except the candidate itself.

    Parameters
    ----------
    candidates
        The electrons, photons and muons, shape (C,).
    activity
        The energy flow above 0.5 GeV without electrons and muons, event after event.

    Returns
    -------
    Floats
        Shape (C,).
    """
    candidate, other = _pairs_within_events(candidates.event, activity.event)
    distance = _distance(candidates[candidate], activity[other])
    # A photon is part of the energy flow, at a distance of exactly 0 from itself.
    near = (distance > 0) & (distance <= ISOLATION_RADIUS)
    cone = np.bincount(candidate[near], activity.pt[other[near]], minlength=len(candidates))
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


def cluster_jets(
    deposits: Particles, overlaps: Booleans, num_events: int, radius: float
) -> Particles:
    """Return the anti-kt jets (arXiv:0802.1189), at the card's energy scale.

    Parameters
    ----------
    deposits
        Towers and muons, event after event, shape (D,).
    overlaps
        Which deposits are those of isolated objects. A jet that holds one of them is dropped, as by
        the card's module UniqueObjectFinder.
    num_events
        Number of events in the batch.
    radius
        Radius parameter R.

    Returns
    -------
    Particles
        The jets above 20 GeV before the energy scale and with |eta| < 2.8; pdg_id is 0. A jet is
        massive, so E >= pT cosh(eta).
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
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(ak.unflatten(momenta, counts), definition)
    jets = sequence.inclusive_jets(JET_PT_MIN_GEV)
    event = np.repeat(np.arange(num_events), ak.to_numpy(ak.num(jets)))
    flat = ak.flatten(jets)
    px, py, pz, energy = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / pt)
    scale = jet_energy_scale(pt, eta)
    everything = Particles(
        event, np.zeros_like(event), scale * pt, eta, np.arctan2(py, px), scale * energy
    )
    # The constituents are numbered within their event, and listed in the order of the jets.
    constituents = ak.flatten(sequence.constituent_index(JET_PT_MIN_GEV))
    jet = np.repeat(np.arange(len(event)), ak.to_numpy(ak.num(constituents)))
    deposit = ak.to_numpy(ak.flatten(constituents)) + (np.cumsum(counts) - counts)[event[jet]]
    num_overlaps = np.bincount(jet, overlaps[deposit], minlength=len(event))
    return everything[(num_overlaps == 0) & (np.abs(eta) < JET_ETA_MAX)]


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
    settings: SimulateSettings,
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
    settings
        The jet radius and the smallest pT of leptons and photons.
    rng
        Source of all random numbers of the detector.

    Returns
    -------
    Events
        All events of the batch, accepted or not. The 18 hardest objects of each are kept: jets
        and b-jets first, then electrons, muons and photons, each group by falling pT.
    """
    num_events = collisions.num_events
    tracks = measure_tracks(collisions.final, rng)
    ecal = measure_towers(ECAL, collisions.final, tracks, rng)
    hcal = measure_towers(HCAL, collisions.final, tracks, rng)
    muons = tracks.momenta[np.abs(tracks.momenta.pdg_id) == 13]
    deposits = Particles.concatenate([ecal.towers, hcal.towers, muons])

    candidates, deposit = _candidates(tracks, ecal, len(deposits) - len(muons))
    pt_min = np.where(
        candidates.pdg_id == 22, settings.photon_pt_min_gev, settings.lepton_pt_min_gev
    )
    efficiency = identification_efficiency(candidates.pt, candidates.eta, pt_min)
    chosen = np.flatnonzero(rng.random(len(candidates)) < efficiency)
    activity = _isolation_activity(tracks, ecal, hcal)
    chosen = chosen[_isolated(candidates[chosen], activity)]
    # A photon whose tower an electron hits takes precedence over the electron.
    photon = candidates.pdg_id[chosen] == 22
    chosen = chosen[photon | ~np.isin(deposit[chosen], deposit[chosen[photon]])]
    leptons_photons = candidates[chosen]

    overlaps = np.zeros(len(deposits), dtype=np.bool_)
    overlaps[deposit[chosen]] = True
    seen = np.flatnonzero(deposits.energy > 0)
    seen = seen[np.argsort(deposits.event[seen], kind="stable")]
    jets = cluster_jets(deposits[seen], overlaps[seen], num_events, settings.jet_radius)
    flavour = jet_flavour(jets, collisions.heavy_hadrons)
    tagged = rng.random(len(jets)) < b_tag_efficiency(jets.pt, jets.eta, flavour)

    objects = Particles.concatenate([jets, leptons_photons])
    kinds = np.concatenate([tagged.astype(np.int64), kind_of(leptons_photons.pdg_id)])
    types, momenta = fill_slots(objects, kinds, num_events, object_types)
    return Events(
        types=types,
        objects=momenta,
        met=missing_momentum(deposits, num_events),
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
    group = np.array(SLOT_ORDER)[kinds[kept]]
    kept = kept[np.lexsort((-objects.pt[kept], group, objects.event[kept]))]
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


def _candidates(tracks: Tracks, ecal: Response, first_muon: int) -> tuple[Particles, Integers]:
    """Return all photons, electrons and muons, and the index of the deposit of each.

    The towers of the electromagnetic calorimeter are the first deposits; the muons begin at
    `first_muon`. An electron without a track leaves an excess in its tower: it is a photon.
    """
    kind = np.abs(tracks.momenta.pdg_id)
    electron, muons = kind == 11, tracks.momenta[kind == 13]
    photons = replace(ecal.excess, pdg_id=np.full(len(ecal.excess), 22))
    tower = ecal.tower_of[tracks.particle[electron]]
    electrons = _scaled(tracks.momenta[electron], ecal.track_scale[tower])
    deposit = [np.arange(len(photons)), tower, first_muon + np.arange(len(muons))]
    return Particles.concatenate([photons, electrons, muons]), np.concatenate(deposit)


def _isolation_activity(tracks: Tracks, ecal: Response, hcal: Response) -> Particles:
    """Return the energy flow of charged hadrons, photons and neutral hadrons, event after event."""
    hadron = ~np.isin(np.abs(tracks.momenta.pdg_id), (11, 13))
    tower = hcal.tower_of[tracks.particle[hadron]]
    hadrons = _scaled(tracks.momenta[hadron], hcal.track_scale[tower])
    flow = Particles.concatenate([hadrons, ecal.excess, hcal.excess])
    flow = flow[flow.pt >= ISOLATION_PT_MIN_GEV]
    return flow[np.argsort(flow.event, kind="stable")]


def _scaled(particles: Particles, factor: Floats) -> Particles:
    return replace(particles, pt=factor * particles.pt, energy=factor * particles.energy)


def _isolated(candidates: Particles, activity: Particles) -> Booleans:
    kind = np.abs(candidates.pdg_id)
    limit = np.select([kind == i for i in ISOLATION_MAX], list(ISOLATION_MAX.values()))
    return relative_isolation(candidates, activity) <= limit


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
