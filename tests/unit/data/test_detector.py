"""The detector: every formula by hand, hand-made particles, and real collisions."""

from types import SimpleNamespace

import numpy as np
import pytest
from random_events import OBJECT_TYPES

from globals_heads.data import detector
from globals_heads.data.events import Events
from globals_heads.data.pythia import (
    LABEL_OF,
    PROCESSES,
    Collisions,
    EventGenerator,
    Particles,
    heavy_flavour,
)

PERMUTED_TYPES = {1: "photon", 2: "mu+", 3: "mu-", 4: "b-jet", 5: "e-", 6: "jet", 7: "e+"}
PION, PHOTON, ELECTRON, MUON, NEUTRINO, B_MESON, D_MESON = 211, 22, 11, 13, 12, 521, 411


def particles(*rows):
    """Massless particles from rows of (event, pdg_id, pt, eta, phi)."""
    event, pdg_id, pt, eta, phi = (np.array(c) for c in zip(*rows, strict=True))
    pt, eta, phi = (np.asarray(x, dtype=float) for x in (pt, eta, phi))
    return Particles(event, pdg_id, pt, eta, phi, pt * np.cosh(eta))


NOTHING = particles((0, 0, 1.0, 0.0, 0.0))[:0]


def certain(uniform=0.5):
    """Stand in for a random generator: no smearing to speak of, every draw the same."""
    return SimpleNamespace(standard_normal=np.zeros, random=lambda n: np.full(n, uniform))


def array(*values):
    return np.array(values, dtype=float)


@pytest.mark.parametrize(
    ("formula", "first", "eta", "expected"),
    [
        (detector.electromagnetic_resolution, 100, 0, 1.024207),  # sqrt(0.17^2 + 1.01^2)
        (detector.electromagnetic_resolution, 100, -3.2, 1.024207),
        (detector.electromagnetic_resolution, 100, 4, 4.513591),  # sqrt(3.5^2 + 2.85^2)
        (detector.hadronic_resolution, 100, 1.7, 6.017676),  # sqrt(3.02^2 + 5.205^2)
        (detector.hadronic_resolution, 100, -2, 8.651220),  # sqrt(5^2 + 7.06^2)
        (detector.hadronic_resolution, 100, 4, 13.738138),  # sqrt(9.42^2 + 10^2)
        (detector.muon_resolution, 100, 0.5, 1.414214),  # 100 sqrt(0.01^2 + 0.01^2)
        (detector.muon_resolution, 100, -1, 2.121320),  # 100 sqrt(0.015^2 + 0.015^2)
        (detector.muon_resolution, 100, 2.6, 4.301163),  # 100 sqrt(0.025^2 + 0.035^2)
    ],
)
def test_resolution(formula, first, eta, expected):
    assert formula(array(first), array(eta)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("pt", "eta", "eta_max", "expected"),
    [
        (10, 0, 2.5, 0),
        (10.1, 0, 2.5, 0.95),
        (50, -1.5, 2.5, 0.95),
        (50, 1.6, 2.5, 0.85),
        (50, -2.6, 2.5, 0),
        (50, -2.6, 2.7, 0.85),
        (50, 2.8, 2.7, 0),
    ],
)
def test_identification_efficiency(pt, eta, eta_max, expected):
    assert detector.identification_efficiency(array(pt), array(eta), eta_max) == expected


@pytest.mark.parametrize(
    ("pt", "eta", "flavour", "expected"),
    [
        (100, 0, 5, 0.7282815),  # 0.80 tanh(0.3) 30 / 9.6
        (100, 0, 4, 0.1438847),  # 0.20 tanh(2) / 1.34
        (100, 0, 0, 0.00273),  # 0.002 + 0.00073
        (100, 2.5, 5, 0.7282815),
        (100, -2.6, 5, 0),
    ],
)
def test_b_tag_efficiency(pt, eta, flavour, expected):
    efficiency = detector.b_tag_efficiency(array(pt), array(eta), np.array([flavour]))
    assert efficiency == pytest.approx(expected, rel=1e-6)


def test_smear_keeps_mean_and_width_and_stays_positive():
    mean, sigma = np.full(200_000, 2.0), np.full(200_000, 1.5)
    smeared = detector.smear(mean, sigma, np.random.default_rng(1))
    assert smeared.mean() == pytest.approx(2.0, rel=0.01)
    assert smeared.std() == pytest.approx(1.5, rel=0.03)
    assert smeared.min() > 0


def test_met_is_minus_the_vector_sum_of_each_event():
    seen = particles(
        (0, PION, 30, 0, 0), (0, MUON, 40, 1, np.pi / 2), (2, PION, 10, -2, -np.pi / 2)
    )
    met = detector.missing_momentum(seen, 4)
    assert met[0] == pytest.approx([50, np.arctan2(-4, -3)])
    assert met[2] == pytest.approx([10, np.pi / 2])
    assert met[[1, 3], 0] == pytest.approx(0)


def test_met_phi_is_pi_and_never_minus_pi():
    # The sum points along +x, and its y component turns into -0.0: arctan2 says -pi.
    met = detector.missing_momentum(particles((0, PION, 10, 0, 0)), 1)
    assert met[0, 1] == np.pi


def test_relative_isolation_by_hand():
    candidates = particles((0, ELECTRON, 50, 0, 3.1), (1, MUON, 20, 1, 0))
    activity = particles(
        (0, ELECTRON, 50, 0, 3.1),  # the candidate itself
        (0, PION, 2, 0.3, 3.1),
        (0, PHOTON, 3, 0, -3.1),  # near, across the seam of phi
        (0, PION, 0.4, 0.1, 3.1),  # below 0.5 GeV
        (0, ELECTRON, 9, 0.1, 3.1),  # electrons do not count
        (0, PION, 9, 0.6, 3.1),  # too far away
        (1, PION, 6, 1, 0.2),
        (2, PION, 7, 1, 0.2),  # another event
    )
    assert detector.relative_isolation(candidates, activity) == pytest.approx([5 / 50, 6 / 20])


def test_jet_flavour_prefers_bottom_and_needs_a_hard_near_hadron():
    jets = particles(*[(0, 0, 50, 0, phi) for phi in (0, 1, 2, 3)], (1, 0, 50, 0, 0))
    hadrons = particles(
        (0, B_MESON, 20, 0, 0.2),
        (0, D_MESON, 10, 0, 0.1),
        (0, D_MESON, 10, 0.1, 1),
        (0, B_MESON, 4, 0, 2),  # below 5 GeV
        (0, -B_MESON, 20, 0.31, 3),  # just too far
    )
    assert detector.jet_flavour(jets, hadrons).tolist() == [5, 4, 0, 0, 0]


def test_jets_are_anti_kt_sums_above_threshold_and_inside_eta():
    jets = detector.cluster_jets(
        particles(
            (0, PION, 15, 0, 0.1),
            (0, PION, 15, 0, -0.1),
            (0, PION, 19, 0, 2),  # below 20 GeV
            (0, PION, 50, 2.9, -2),  # beyond |eta| 2.8
            (2, PION, 25, -2.7, 1),
        ),
        num_events=3,
    )
    assert jets.event.tolist() == [0, 2]
    assert jets.pt == pytest.approx([30 * np.cos(0.1), 25])
    assert jets.eta == pytest.approx([0, -2.7], abs=1e-9)
    assert jets.phi == pytest.approx([0, 1], abs=1e-9)
    assert jets.energy == pytest.approx([30, 25 * np.cosh(2.7)])


FINAL = particles(
    (0, PION, 100, 0.5, 2.0),  # with a b hadron: a b-jet
    (0, -PION, 60, -1.0, 0.9),  # a jet
    (0, ELECTRON, 50, 0, 0.0),
    (0, -ELECTRON, 45, 0, -0.7),
    (0, MUON, 40, 2.6, -2.0),
    (0, -MUON, 35, 0, -1.4),
    (0, PHOTON, 30, 2, 3.0),
    (0, NEUTRINO, 80, 0, -3.0),
    (0, PION, 500, 5.0, 1.0),  # beyond the calorimeters
    (1, NEUTRINO, 10, 0, 0.0),
    (2, ELECTRON, 50, 0, 0.0),  # beside a pion: part of a jet
    (2, PION, 30, 0.2, 0.0),
    (2, MUON, 40, 0, 1.0),  # beside a pion: seen, but not an object
    (2, PION, 30, 0.2, 1.0),
    (2, PHOTON, 40, 2.6, -2.0),  # beyond the tracker: a jet
)
COLLISIONS = Collisions(3, FINAL, particles((0, B_MESON, 90, 0.5, 2.0)))


def names_of(types, object_types):
    return [object_types[code] for code in types.tolist() if code]


@pytest.mark.parametrize("object_types", [OBJECT_TYPES, PERMUTED_TYPES])
def test_detector_names_each_object_with_the_codes_of_the_mapping(object_types):
    events = detector.detect(COLLISIONS, 5, object_types, certain())
    expected = ["b-jet", "jet", "e-", "e+", "mu-", "mu+", "photon"]
    assert names_of(events.types[0], object_types) == expected
    assert names_of(events.types[1], object_types) == []
    assert names_of(events.types[2], object_types) == ["jet", "jet", "jet"]
    assert events.labels.tolist() == [5, 5, 5]


def test_detector_measures_objects_and_met():
    events = detector.detect(COLLISIONS, 1, OBJECT_TYPES, certain())
    energy, pt, eta, phi = np.moveaxis(events.objects[0, :7], 1, 0)
    assert pt == pytest.approx([100, 60, 50, 45, 40, 35, 30], rel=0.01)
    assert eta == pytest.approx([0.5, -1, 0, 0, 2.6, 0, 2])
    assert phi == pytest.approx([2, 0.9, 0, -0.7, -2, -1.4, 3])
    assert energy == pytest.approx(pt * np.cosh(eta))
    assert not events.objects[0, 7:].any()
    # All of event 0 is in its objects, so that MET must balance them exactly.
    total = (pt * np.exp(1j * phi)).sum()
    assert events.met[0] == pytest.approx([abs(total), np.angle(-total)])
    assert events.met[1, 0] == 0
    # The muon inside the jet is no object, but MET knows it; the electron counts once.
    seen = FINAL[FINAL.event == 2]
    total = (seen.pt * np.exp(1j * seen.phi)).sum()
    assert events.met[2] == pytest.approx([abs(total), np.angle(-total)], rel=0.02)


def test_unlucky_particles_are_not_identified():
    events = detector.detect(COLLISIONS, 1, OBJECT_TYPES, certain(uniform=0.99))
    # Electrons and photons are jets then, the b-jet has no tag, and the muons are not seen.
    assert names_of(events.types[0], OBJECT_TYPES) == ["jet"] * 5
    jets = events.objects[0, :5]
    total = (jets[:, 1] * np.exp(1j * jets[:, 3])).sum()
    assert events.met[0] == pytest.approx([abs(total), np.angle(-total)])


def test_the_18_hardest_are_kept_in_order_and_padding_is_at_the_end():
    pt = np.random.default_rng(2).permutation(np.arange(20.0, 45.0))
    kinds = np.arange(25) % len(detector.KINDS)
    objects = particles(*[(0, 0, p, 0.1, 0.2) for p in pt], (1, 0, 30, 1, 1))
    types, momenta = detector.fill_slots(objects, np.append(kinds, 6), 3, OBJECT_TYPES)
    assert sorted(momenta[0, :, 1]) == list(np.arange(27.0, 45.0))
    group = [
        {"j": 0, "b": 0, "e": 1, "m": 2, "p": 3}[n[0]] for n in names_of(types[0], OBJECT_TYPES)
    ]
    assert [(g, -p) for g, p in zip(group, momenta[0, :, 1], strict=True)] == sorted(
        (g, -p) for g, p in zip(group, momenta[0, :, 1], strict=True)
    )
    by_pt = dict(zip(pt, kinds, strict=True))
    kept = [detector.KINDS[by_pt[p]] for p in momenta[0, :, 1]]
    assert names_of(types[0], OBJECT_TYPES) == kept
    assert (types[1] > 0).tolist() == [True] + [False] * 17
    assert not types[2].any() and not momenta[2].any()


def test_detector_survives_a_batch_in_which_nothing_is_seen():
    dark = Collisions(2, particles((1, NEUTRINO, 5, 0, 0)), NOTHING)
    events = detector.detect(dark, 1, OBJECT_TYPES, np.random.default_rng(0))
    assert len(events) == 2 and not events.rows.any()


def test_selection_needs_ht_of_jets_and_enough_objects():
    def event(*objects):
        types, objects_array = np.zeros(18, np.uint8), np.zeros((18, 4))
        for slot, (name, pt) in enumerate(objects):
            types[slot] = next(c for c, n in PERMUTED_TYPES.items() if n == name)
            objects_array[slot] = (2 * pt, pt, 0, 0)
        return types, objects_array

    rows = [
        event(("jet", 300), ("b-jet", 101), ("e-", 20), ("mu+", 20)),
        event(("jet", 300), ("b-jet", 100), ("e-", 90), ("mu+", 20)),  # HT 400 is not above 400
        event(("jet", 300), ("b-jet", 300), ("photon", 20)),  # three objects
    ]
    types, objects = (np.stack(parts) for parts in zip(*rows, strict=True))
    events = Events(types, objects, np.zeros((3, 2)), np.ones(3, np.int64))
    assert detector.accepted(events, PERMUTED_TYPES, 400, 4).tolist() == [True, False, False]


@pytest.mark.parametrize("process", PROCESSES)
def test_real_collisions_are_quiet_and_met_points_along_the_neutrinos(process, capfd):
    collisions = EventGenerator(process, 11, False).next_batch(60)
    rng = np.random.default_rng(0)
    events = detector.detect(collisions, LABEL_OF[process], OBJECT_TYPES, rng)
    final = collisions.final
    assert collisions.num_events == len(events) == 60
    assert (np.diff(final.event) >= 0).all()
    # Momentum is conserved: all final particles balance in the transverse plane.
    assert detector.missing_momentum(final, 60)[:, 0].max() < 1e-3
    neutrinos = final[np.isin(np.abs(final.pdg_id), detector.NEUTRINOS)]
    away, phi = detector.missing_momentum(neutrinos, 60).T
    true = -away * np.exp(1j * phi)
    seen = events.met[:, 0] * np.exp(1j * events.met[:, 1])
    cosine = (true * seen.conj()).real.sum() / np.linalg.norm(true) / np.linalg.norm(seen)
    assert cosine > 0.9
    bottom = heavy_flavour(collisions.heavy_hadrons.pdg_id) == 5
    assert len(np.unique(collisions.heavy_hadrons.event[bottom])) == 60
    assert capfd.readouterr() == ("", "")
