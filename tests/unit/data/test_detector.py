"""The detector: every formula by hand, hand-made particles, and real collisions."""

from types import SimpleNamespace

import numpy as np
import pytest
from random_events import OBJECT_TYPES

from globals_heads.data import detector, towers, tracks
from globals_heads.data.events import Events
from globals_heads.data.pythia import (
    LABEL_OF,
    PROCESSES,
    Collisions,
    EventGenerator,
    Particles,
    heavy_flavour,
)
from globals_heads.settings import SimulateSettings

SETTINGS = SimulateSettings()
PERMUTED_TYPES = {1: "photon", 2: "mu+", 3: "mu-", 4: "b-jet", 5: "e-", 6: "jet", 7: "e+"}
PION, PHOTON, ELECTRON, MUON, NEUTRINO, B_MESON, D_MESON = 211, 22, 11, 13, 12, 521, 411


def particles(*rows):
    """Massless particles from rows of (event, pdg_id, pt, eta, phi)."""
    event, pdg_id, pt, eta, phi = (np.array(c) for c in zip(*rows, strict=True))
    pt, eta, phi = (np.asarray(x, dtype=float) for x in (pt, eta, phi))
    return Particles(event, pdg_id, pt, eta, phi, pt * np.cosh(eta))


NOTHING = particles((0, 0, 1.0, 0.0, 0.0))[:0]


@pytest.fixture
def exact(monkeypatch):
    """Switch smearing off, and let no draw fail; towers are seen at their centres."""
    for module in (towers, tracks):
        monkeypatch.setattr(module, "smear", lambda mean, sigma, rng: mean)
    return certain()


def certain(uniform=0.5):
    """Stand in for a random generator: every draw the same."""
    return SimpleNamespace(random=lambda n: np.full(n, uniform))


def array(*values):
    return np.array(values, dtype=float)


@pytest.mark.parametrize(
    ("pt", "eta", "pt_min", "expected"),
    [
        (10, 0, 10, 0),
        (10.1, 0, 10, 0.95),
        (19, 0, 20, 0),
        (50, -1.5, 10, 0.95),
        (50, 1.6, 10, 0.85),
        (50, -2.5, 10, 0.85),
        (50, -2.6, 10, 0),
    ],
)
def test_identification_efficiency(pt, eta, pt_min, expected):
    assert detector.identification_efficiency(array(pt), array(eta), array(pt_min)) == expected


@pytest.mark.parametrize(
    ("pt", "eta", "expected"),
    [
        (20, 0, 1.204159),  # sqrt(9 / 20 + 1)
        (50, 0, 1.086278),  # sqrt(9 / 50 + 1)
        (20, -2.5, 1.145644),  # sqrt(2.5^2 / 20 + 1)
        (200, 2.5, 1.015505),
    ],
)
def test_jet_energy_scale(pt, eta, expected):
    assert detector.jet_energy_scale(array(pt), array(eta)) == pytest.approx(expected, rel=1e-6)


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
    candidates = particles((0, PHOTON, 50, 0, 3.1), (1, MUON, 20, 1, 0))
    activity = particles(
        (0, PHOTON, 50, 0, 3.1),  # the candidate itself
        (0, PION, 2, 0.3, 3.1),
        (0, PHOTON, 3, 0, -3.1),  # near, across the seam of phi
        (0, PION, 9, 0.51, 3.1),  # too far away
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


def jets_of(deposits, overlaps=None, num_events=3, radius=0.4):
    overlaps = np.zeros(len(deposits), bool) if overlaps is None else np.array(overlaps)
    return detector.cluster_jets(deposits, overlaps, num_events, radius)


DEPOSITS = particles(
    (0, PION, 15, 0, 0.1),
    (0, PION, 15, 0, -0.1),
    (0, PION, 19, 0, 2),  # below 20 GeV, although not after the energy scale
    (0, PION, 50, 2.9, -2),  # beyond |eta| 2.8
    (2, PION, 25, -2.7, 1),
    (2, PION, 40, 0.0, 1),
    (2, PION, 30, 0.5, 1),
)


def test_jets_are_scaled_anti_kt_sums_above_threshold_and_inside_eta():
    jets = jets_of(DEPOSITS)
    raw = np.array([30 * np.cos(0.1), 40, 30, 25])
    scale = np.sqrt(np.array([3, 3, 2.9, 2.46]) ** 2 / raw + 1)
    assert jets.event.tolist() == [0, 2, 2, 2]
    assert sorted(jets.pt) == pytest.approx(sorted(raw * scale))
    assert sorted(jets.eta) == pytest.approx([-2.7, 0, 0, 0.5], abs=1e-9)
    assert jets.phi == pytest.approx([0, 1, 1, 1], abs=1e-9)
    assert jets.energy[0] == pytest.approx(30 * scale[0])
    assert jets.energy[np.argmin(jets.eta)] == pytest.approx(25 * np.cosh(2.7) * scale[3])


def test_the_radius_decides_what_a_jet_holds():
    assert len(jets_of(DEPOSITS, radius=0.6)) == 3


def test_a_jet_that_holds_a_deposit_of_an_isolated_object_is_dropped():
    jets = jets_of(DEPOSITS, [False, True, False, False, False, False, True])
    assert sorted(jets.eta) == pytest.approx([-2.7, 0], abs=1e-9)
    assert jets.event.tolist() == [2, 2]


def degrees(x):
    return np.deg2rad(x)


# Hadrons are at the centres of their towers of 0.1 x 10 degrees, photons at those of 0.0174 x 1.
FINAL = particles(
    (0, PION, 100, 0.55, degrees(115)),  # with a b hadron: a b-jet
    (0, -PION, 60, -1.05, degrees(55)),  # a jet
    (0, ELECTRON, 50, 0.0087, degrees(0.5)),
    (0, -ELECTRON, 45, 0.0087, degrees(-40.5)),
    (0, MUON, 40, 2.4, degrees(-115)),
    (0, -MUON, 35, 0, degrees(-80)),
    (0, PHOTON, 30, 115.5 * 0.0174, degrees(170.5)),
    (0, NEUTRINO, 80, 0, degrees(-170)),
    (0, PION, 500, 5.1, 1.0),  # beyond the calorimeters
    (1, NEUTRINO, 10, 0, 0.0),
    (2, ELECTRON, 50, 0.0087, degrees(0.5)),  # beside a pion: part of a jet
    (2, PION, 30, 0.15, degrees(5)),
    (2, MUON, 40, 0.05, degrees(65)),  # beside a pion with a b hadron: part of a b-jet
    (2, PION, 30, 0.15, degrees(65)),
    (2, PHOTON, 40, 149.5 * 0.0174, degrees(-114.5)),  # beyond the tracker: a jet
    (2, MUON, 60, 2.6, degrees(170)),  # beyond the tracker: not seen
)
COLLISIONS = Collisions(
    3, FINAL, particles((0, B_MESON, 90, 0.5, 2.0), (2, B_MESON, 75, 0.1, degrees(65)))
)


def transverse(objects):
    """Complex transverse momenta of particles or of rows (E, pT, eta, phi)."""
    pt, phi = (objects.pt, objects.phi) if isinstance(objects, Particles) else objects.T[[1, 3]]
    return pt * np.exp(1j * phi)


def names_of(types, object_types):
    return [object_types[code] for code in types.tolist() if code]


@pytest.mark.parametrize("object_types", [OBJECT_TYPES, PERMUTED_TYPES])
def test_detector_names_each_object_with_the_codes_of_the_mapping(object_types, exact):
    events = detector.detect(COLLISIONS, 5, object_types, SETTINGS, exact)
    expected = ["b-jet", "jet", "e-", "e+", "mu-", "mu+", "photon"]
    assert names_of(events.types[0], object_types) == expected
    assert names_of(events.types[1], object_types) == []
    assert names_of(events.types[2], object_types) == ["jet", "b-jet", "jet"]
    assert events.labels.tolist() == [5, 5, 5]


def test_detector_measures_objects_and_met(exact):
    events = detector.detect(COLLISIONS, 1, OBJECT_TYPES, SETTINGS, exact)
    energy, pt, eta, phi = np.moveaxis(events.objects[0, :7], 1, 0)
    scale = np.sqrt(np.array([2.89, 2.79]) ** 2 / [100, 60] + 1)
    assert pt == pytest.approx([100 * scale[0], 60 * scale[1], 50, 45, 40, 35, 30])
    assert eta == pytest.approx([0.55, -1.05, 0.0087, 0.0087, 2.4, 0, 115.5 * 0.0174])
    assert np.rad2deg(phi) == pytest.approx([115, 55, 0.5, -40.5, -115, -80, 170.5])
    assert energy == pytest.approx(pt * np.cosh(eta))
    assert not events.objects[0, 7:].any()
    # MET balances all that is seen, at the scale of the towers.
    total = transverse(FINAL[:7]).sum()
    assert events.met[0] == pytest.approx([abs(total), np.angle(-total)])
    assert events.met[1, 0] == 0


def test_a_muon_in_a_b_jet_is_in_the_jet_and_in_met(exact):
    events = detector.detect(COLLISIONS, 1, OBJECT_TYPES, SETTINGS, exact)
    names = names_of(events.types[2], OBJECT_TYPES)
    jet = events.objects[2, names.index("b-jet")]
    total = transverse(FINAL[12:14]).sum()
    assert jet[1] == pytest.approx(abs(total) * detector.jet_energy_scale(abs(total), jet[2]))
    assert jet[3] == pytest.approx(np.angle(total))
    total = transverse(FINAL[10:15]).sum()
    assert events.met[2] == pytest.approx([abs(total), np.angle(-total)])


def test_a_lost_identification_moves_no_met_and_makes_a_jet(exact):
    muons = FINAL[(np.abs(FINAL.pdg_id) == MUON) & (FINAL.event == 0)]
    lone = Collisions(1, muons, NOTHING)
    found = detector.detect(lone, 1, OBJECT_TYPES, SETTINGS, exact)
    # Tracking succeeds in 0.98 of the cases, identification in 0.95 or 0.85.
    lost = detector.detect(lone, 1, OBJECT_TYPES, SETTINGS, certain(uniform=0.97))
    assert names_of(found.types[0], OBJECT_TYPES) == ["mu-", "mu+"]
    assert names_of(lost.types[0], OBJECT_TYPES) == ["jet", "jet"]
    assert (found.met == lost.met).all() and found.met[0, 0] > 10


def test_an_electron_without_a_track_is_a_photon(exact, monkeypatch):
    def efficiency(kind, pt, eta):
        return np.where((kind == tracks.ELECTRON) | (np.abs(eta) > 2.5), 0.0, 1.0)

    monkeypatch.setattr(tracks, "track_efficiency", efficiency)
    events = detector.detect(COLLISIONS, 1, OBJECT_TYPES, SETTINGS, exact)
    expected = ["b-jet", "jet", "mu-", "mu+", "photon", "photon", "photon"]
    assert names_of(events.types[0], OBJECT_TYPES) == expected
    assert events.objects[0, 4:7, 1] == pytest.approx([50, 45, 30])


def test_a_photon_in_the_tower_of_an_electron_takes_precedence(exact, monkeypatch):
    # The track measures much less than the tower holds, so both are seen.
    def short(mean, sigma, rng):
        return 0.4 * mean

    monkeypatch.setattr(tracks, "smear", short)
    lone = Collisions(1, FINAL[2:3], NOTHING)
    events = detector.detect(lone, 1, OBJECT_TYPES, SETTINGS, exact)
    assert names_of(events.types[0], OBJECT_TYPES) == ["photon"]
    assert events.objects[0, 0, 1] == pytest.approx(30)


def test_objects_below_the_thresholds_of_the_settings_are_parts_of_jets(exact):
    settings = SimulateSettings(lepton_pt_min_gev=42, photon_pt_min_gev=31)
    events = detector.detect(COLLISIONS, 1, OBJECT_TYPES, settings, exact)
    expected = ["b-jet", "jet", "jet", "jet", "jet", "e-", "e+"]
    assert names_of(events.types[0], OBJECT_TYPES) == expected


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
    events = detector.detect(dark, 1, OBJECT_TYPES, SETTINGS, np.random.default_rng(0))
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
    events = detector.detect(collisions, LABEL_OF[process], OBJECT_TYPES, SETTINGS, rng)
    final = collisions.final
    assert collisions.num_events == len(events) == 60
    assert (np.diff(final.event) >= 0).all()
    # Momentum is conserved: all final particles balance in the transverse plane.
    assert detector.missing_momentum(final, 60)[:, 0].max() < 1e-3
    neutrinos = final[np.isin(np.abs(final.pdg_id), (12, 14, 16))]
    away, phi = detector.missing_momentum(neutrinos, 60).T
    true = -away * np.exp(1j * phi)
    seen = events.met[:, 0] * np.exp(1j * events.met[:, 1])
    cosine = (true * seen.conj()).real.sum() / np.linalg.norm(true) / np.linalg.norm(seen)
    assert cosine > 0.9
    bottom = heavy_flavour(collisions.heavy_hadrons.pdg_id) == 5
    assert len(np.unique(collisions.heavy_hadrons.event[bottom])) == 60
    assert capfd.readouterr() == ("", "")
