"""Pythia: heavy hadrons by their numbers, the event record as flat arrays, seeds and settings."""

import awkward as ak
import numpy as np
import pytest

from globals_heads.data.events import LABELS
from globals_heads.data.pythia import LABEL_OF, EventGenerator, collisions_from, heavy_flavour

PION, PHOTON, PROTON, B_MESON = 211, 22, 2212, 521


@pytest.mark.parametrize(
    ("pdg_id", "expected"),
    [
        (521, 5),
        (-511, 5),
        (5122, 5),
        (541, 5),  # B_c
        (20413, 4),
        (-4122, 4),
        (443, 4),
        (211, 0),
        (3122, 0),
        (5, 0),  # a quark is no hadron
        (5101, 0),  # nor is a diquark
        (22, 0),
        (1000045, 0),
        (2212, 0),
    ],
)
def test_heavy_flavour(pdg_id, expected):
    assert heavy_flavour(np.array([pdg_id])) == expected


def test_labels_are_those_of_the_token_file():
    assert LABEL_OF == {"tttt": 1, "ttH": 2, "ttW": 3, "ttZ": 5}
    assert all(LABELS[label] == name for name, label in LABEL_OF.items())


def test_event_record_becomes_flat_particles():
    def particle(pdg_id, status, px, py, pz, e):
        return {"id": pdg_id, "status": status, "p": {"px": px, "py": py, "pz": pz, "e": e}}

    record = ak.Array(
        [
            [particle(-B_MESON, -83, 5.0, 0.0, 0.0, 7.0), particle(PION, 83, 3.0, 4.0, -5.0, 9.0)],
            [particle(PHOTON, 91, 0.0, -2.0, 0.0, 2.0), particle(PROTON, 63, 0.0, 0.0, 6e3, 6e3)],
        ]
    )
    collisions = collisions_from(record)
    final, hadrons = collisions.final, collisions.heavy_hadrons
    assert collisions.num_events == 2
    assert final.event.tolist() == [0, 1, 1]
    assert final.pdg_id.tolist() == [PION, PHOTON, PROTON]
    assert final.pt == pytest.approx([5, 2, 0])
    assert final.eta == pytest.approx([-np.arcsinh(1), 0, np.inf])
    assert final.phi[:2] == pytest.approx([np.arctan2(4, 3), -np.pi / 2])
    assert final.energy == pytest.approx([9, 2, 6e3])
    assert (hadrons.event.tolist(), hadrons.pdg_id.tolist()) == ([0], [-B_MESON])


def test_the_generator_gives_other_events_with_another_seed_or_with_multiparton_interactions():
    def energies(seed, multiparton):
        return EventGenerator("ttH", seed, multiparton).next_batch(5).final.energy[:100].tolist()

    assert energies(1, False) == energies(1, False)
    assert energies(1, False) != energies(2, False)
    assert energies(1, True) != energies(1, False)
