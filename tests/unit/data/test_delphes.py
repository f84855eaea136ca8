"""Delphes files: every branch comes back with its meaning; what is missing is named."""

import awkward as ak
import numpy as np
import pytest
from event_files import delphes_events, sorted_by_pt, write_delphes
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES

from globals_heads.data import delphes
from globals_heads.data.delphes import read_delphes
from globals_heads.data.events import Events
from globals_heads.data.ragged import Labels, Tally
from globals_heads.errors import UserError
from globals_heads.settings import ReadSettings


def read(path, **settings):
    """Return all events of a file, in its unit, and the tally."""
    tally, chosen = Tally("event"), ReadSettings(**settings)
    blocks = list(read_delphes(path, chosen, OBJECT_TYPES, Labels(chosen.labels), tally))
    parts = ([getattr(block, name) for block in blocks] for name in Events.__annotations__)
    return Events(*(np.concatenate(part) for part in parts)), tally


def assert_same(found, events):
    events = sorted_by_pt(events)
    assert_array_equal(found.types, events.types)
    assert_allclose(found.objects, events.objects, rtol=1e-6)
    assert_allclose(found.met, events.met)


@pytest.mark.parametrize("block", [7, 20_000])
def test_events_come_back(tmp_path, monkeypatch, block):
    """E of jets from their mass, e+ and e- from the charge, b-jets from bit 0 of BTag."""
    monkeypatch.setattr(delphes, "BLOCK", block)
    events = delphes_events(40)
    found, tally = read(write_delphes(tmp_path / "ttbarZ.root", events))
    assert_same(found, events)
    assert (found.labels == 5).all()
    assert tally.num_places == 40 and not tally.num_skipped


def test_another_bit_is_another_working_point(tmp_path):
    """The helper sets bit 1 for all jets, and bit 5 for none."""
    path = write_delphes(tmp_path / "a.root", delphes_events(20))
    assert not (read(path, btag_bit=1)[0].types == 1).any()
    assert not (read(path, btag_bit=5)[0].types == 2).any()


def test_names_of_other_cards(tmp_path):
    def rename(branches):
        for name in list(branches):
            new = name.replace("Jet.", "JetPUPPI.").replace("MissingET", "PuppiMissingET")
            branches[new] = branches.pop(name)

    events = delphes_events(20)
    path = write_delphes(tmp_path / "a.root", events, rename, tree="events")
    branches = {"jet": "JetPUPPI", "met": "PuppiMissingET"}
    assert_same(read(path, tree="events", branches=branches)[0], events)


def test_names_as_uproot_writes_records(tmp_path):
    def underscores(branches):
        for name in list(branches):
            branches[name.replace(".", "_")] = branches.pop(name)

    events = delphes_events(20)
    assert_same(read(write_delphes(tmp_path / "a.root", events, underscores))[0], events)


def test_the_energy_of_a_file_comes_before_that_of_the_mass(tmp_path):
    def with_energy(branches):
        branches["Jet.E"] = branches["Jet.PT"] * 0 + 4321.0

    found, _ = read(write_delphes(tmp_path / "a.root", delphes_events(20), with_energy))
    jets = np.isin(found.types, [1, 2])
    assert (found.objects[jets][:, 0] == 4321).all()


def test_met_may_be_one_number_per_event(tmp_path):
    def flat(branches):
        for leaf in ("MET", "Phi"):
            values = branches[f"MissingET.{leaf}"]
            branches[f"MissingET.{leaf}"] = ak.flatten(values)

    events = delphes_events(20)
    assert_same(read(write_delphes(tmp_path / "a.root", events, flat))[0], events)


def test_events_with_other_than_one_met_are_skipped(tmp_path):
    def jagged(branches):
        for leaf in ("MET", "Phi"):
            values = branches[f"MissingET.{leaf}"].to_list()
            values[3], values[5] = [], values[5] * 2
            branches[f"MissingET.{leaf}"] = ak.Array(values)

    events = delphes_events(20)
    found, tally = read(write_delphes(tmp_path / "a.root", events, jagged))
    assert_same(found, events[~np.isin(np.arange(20), [3, 5])])
    assert tally.skipped == {"with other than one MissingET.MET": [3, 5]}


def drop(name):
    return lambda branches: branches.pop(name)


def shorten(name):
    def change(branches):
        branches[name] = branches[name][:, :0]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("Jet.PT"), r"has no branch Jet\.PT in the tree 'Delphes'; .*read\.branches\.jet"),
        (drop("MissingET.MET"), r"has no branch MissingET\.MET .*read\.branches\.met"),
        (drop("Muon.Charge"), r"no branch Muon\.Charge .*read\.branches\.muon"),
        (drop("Jet.BTag"), r"no branch Jet\.BTag"),
        (drop("Jet.Mass"), r"neither Jet\.Mass nor Jet\.E .*so the energy of a jet is unknown"),
        (shorten("Jet.Eta"), r"other numbers of Jet\.Eta than of Jet\.PT in the events 0 to 19"),
    ],
)
def test_a_branch_that_is_missing_or_short_is_named(tmp_path, change, message):
    path = write_delphes(tmp_path / "a.root", delphes_events(20), change)
    with pytest.raises(UserError, match=message):
        read(path)


def test_a_tree_that_is_missing_is_named(tmp_path):
    path = write_delphes(tmp_path / "a.root", delphes_events(4), tree="events")
    with pytest.raises(UserError, match=r"no tree 'Delphes' \(it has \['events'\]\); .*read\.tree"):
        read(path)


@pytest.mark.parametrize("keep", [10, 400, 0.5])
def test_a_damaged_file_is_refused(tmp_path, keep):
    path = write_delphes(tmp_path / "a.root", delphes_events(50))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: keep if keep > 1 else int(size * keep)])
    with pytest.raises(UserError, match=r"a\.root cannot be read as a ROOT file after event 0"):
        read(path)
