"""Samples: shards of known sizes and seeds, real shards, and the token file merged from them."""

import json

import h5py
import numpy as np
import pytest
from random_events import OBJECT_TYPES, read_events

from globals_heads.data import checks, detector, sample, scratch
from globals_heads.data.events import Events
from globals_heads.data.pythia import PROCESSES
from globals_heads.errors import UserError
from globals_heads.settings import SimulateSettings


def test_process_counts_are_exact_over_shards_and_within_one_event_in_each():
    fractions = {"ttZ": 1.0, "tttt": 3.0, "ttH": 1.0, "ttW": 1.0}
    shards = [sample.process_counts(fractions, 1000 * i, 1000) for i in range(3)]
    for counts in shards:
        assert sum(counts.values()) == 1000
        for name, count in counts.items():
            assert abs(count - 1000 * fractions[name] / 6) <= 1
    total = {name: sum(counts[name] for counts in shards) for name in fractions}
    assert total == {"tttt": 1500, "ttH": 500, "ttW": 500, "ttZ": 500}


def test_process_counts_of_single_events_add_up_to_those_of_the_whole():
    fractions = {"tttt": 0.61, "ttH": 0.1, "ttW": 0.29}
    singles = [sample.process_counts(fractions, i, 1) for i in range(50)]
    assert all(sum(c.values()) == 1 and min(c.values()) == 0 for c in singles)
    total = {name: sum(c[name] for c in singles) for name in fractions}
    assert total == sample.process_counts(fractions, 0, 50) == {"tttt": 31, "ttH": 5, "ttW": 14}


def test_every_shard_and_process_has_its_own_allowed_pythia_seed():
    seeds = [
        sample.pythia_seed(seed, shard, process)
        for seed in (0, 1, 1_000_000)
        for shard in range(200)
        for process in PROCESSES
    ]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1 and max(seeds) <= 900_000_000


SETTINGS = SimulateSettings(seed=3, shard_size=24)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    paths = [folder / f"{number}.h5" for number in range(2)]
    for number, path in enumerate(paths):
        sample.simulate_shard(SETTINGS, OBJECT_TYPES, number, 24, path)
    return paths


def contents(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][...] for name in file}, dict(file.attrs)


def test_a_shard_has_its_events_in_the_chosen_fractions_and_all_pass_the_cuts(shards):
    arrays, attributes = contents(shards[1])
    assert arrays["X"].shape == (24, 92) and arrays["X"].dtype == np.float32
    assert np.bincount(arrays["Y"]).tolist() == [0, 12, 4, 4, 0, 4]
    events = Events.from_rows(arrays["X"].astype(float), arrays["Y"])
    assert detector.accepted(events, OBJECT_TYPES, 400, 4).all()
    for counts in json.loads(attributes["counts"]).values():
        assert counts["generated"] >= counts["passed"] >= counts["kept"]
    assert json.loads(attributes["pythia_seeds"])["ttH"] == sample.pythia_seed(3, 1, "ttH")


def test_real_objects_are_physical(shards):
    arrays, _ = contents(shards[0])
    events = Events.from_rows(arrays["X"].astype(float), arrays["Y"])
    real = events.types > 0
    assert (np.diff(real.astype(int), axis=1) <= 0).all()  # padding at the end
    energy, pt, eta, phi = events.objects[real].T
    assert (energy >= pt * np.cosh(eta) * (1 - 1e-5)).all()
    assert (np.abs(eta) < 2.8).all() and (np.abs(phi) < 3.1416).all() and (pt > 10).all()
    assert not events.objects[~real].any()


def test_a_shard_made_twice_is_identical_and_shards_differ(shards, tmp_path):
    sample.simulate_shard(SETTINGS, OBJECT_TYPES, 0, 24, tmp_path / "again.h5")
    first, attributes = contents(shards[0])
    again, attributes_again = contents(tmp_path / "again.h5")
    other, _ = contents(shards[1])
    assert (first["X"] == again["X"]).all() and (first["Y"] == again["Y"]).all()
    assert attributes == attributes_again
    assert not set(first["X"][:, 18]) & set(other["X"][:, 18])


def test_merged_file_is_split_and_does_not_depend_on_the_order_of_shards(shards, tmp_path):
    for name, order in (("a.h5", shards), ("b.h5", shards[::-1])):
        sample.merge_shards(order, SETTINGS, OBJECT_TYPES, 48, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    splits = read_events(tmp_path / "a.h5")
    assert {name: len(events) for name, events in splits.items()} == {
        "train": 40,
        "val": 4,
        "test": 4,
    }
    merged = np.concatenate([events.rows for events in splits.values()])
    made = np.concatenate([contents(path)[0]["X"] for path in shards])
    assert sorted(map(tuple, merged)) == sorted(map(tuple, made))
    assert (merged != made).any()  # shuffled
    labels = np.concatenate([events.labels for events in splits.values()])
    assert np.bincount(labels).tolist() == [0, 24, 8, 8, 0, 8]


@pytest.mark.parametrize("size", [1, 7])
def test_merged_file_does_not_depend_on_the_sizes_of_blocks(shards, tmp_path, monkeypatch, size):
    sample.merge_shards(shards, SETTINGS, OBJECT_TYPES, 48, tmp_path / "a.h5")
    monkeypatch.setattr(scratch, "BUCKET", size)
    monkeypatch.setattr(scratch, "BLOCK", size)
    sample.merge_shards(shards, SETTINGS, OBJECT_TYPES, 48, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_merged_file_says_where_it_comes_from(shards, tmp_path):
    sample.merge_shards(shards, SETTINGS, OBJECT_TYPES, 48, tmp_path / "a.h5")
    _, attributes = contents(tmp_path / "a.h5")
    assert attributes["units"] == "GeV, radians"
    assert set(json.loads(attributes["generators"])) == {"pythia8mc", "fastjet", "globals-heads"}
    assert json.loads(attributes["settings"]) == SETTINGS.model_dump()
    assert {"Tune:pp = 14", "PDF:pSet = 13"} < set(json.loads(attributes["pythia_common"]))
    constants = json.loads(attributes["detector"])
    assert constants["detector"]["JET_ENERGY_SCALE"] == [3.0, 0.2]
    assert constants["towers"]["HCAL"]["resolution"][0] == [1.7, 0.0302, 0.5205, 1.59]
    assert constants["tracks"]["EFFICIENCY"][2][0] == [0.75, 0.99, 0.99]
    assert attributes["num_shards"] == 2
    firsts = json.loads(attributes["first_pythia_seeds"])
    for number, path in enumerate(shards):
        of_shard = json.loads(contents(path)[1]["pythia_seeds"])
        assert of_shard == {process: seed + number for process, seed in firsts.items()}
    for process in json.loads(attributes["processes"]).values():
        assert process["efficiency"] == process["passed"] / process["generated"]
    for statement in (
        "leading-order",
        "no pile-up",
        "multiparton interactions off",
        "decays inclusive",
        "400 GeV scalar",
        "two uncorrelated scatters",
        "no ttWW",
        "proportions of the processes are chosen",
        "HT above 400 GeV, at least 4 objects",
        "not physics",
    ):
        assert statement in attributes["description"]


@pytest.mark.parametrize("problem", ["missing", "twice", "other settings", "broken"])
def test_merging_refuses_what_is_not_this_sample(shards, tmp_path, problem):
    settings, paths, output = SETTINGS, list(shards), tmp_path / "a.h5"
    if problem == "missing":
        paths = paths[1:]
    elif problem == "twice":
        paths = [paths[0], paths[0]]
    elif problem == "other settings":
        settings = SETTINGS.model_copy(update={"min_objects": 5})
    else:
        paths[0] = tmp_path / "broken.h5"
        paths[0].write_bytes(b"nothing")
    with pytest.raises(UserError, match="made again"):
        sample.merge_shards(paths, settings, OBJECT_TYPES, 48, output)
    assert not output.exists()


def test_cuts_that_nothing_passes_end_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "MIN_GENERATED", 60)
    settings = SimulateSettings(fractions={"ttH": 1.0}, min_ht_gev=13_000)
    with pytest.raises(UserError, match=r"min_ht_gev 13000 .* ttH events.* lower them"):
        sample.simulate_shard(settings, OBJECT_TYPES, 0, 10, tmp_path / "0.h5")
    assert not list(tmp_path.iterdir())


SANITY = SimulateSettings(
    fractions={"tttt": 1.0, "ttH": 1.0, "ttW": 1.0, "ttZ": 3.0}, seed=12, shard_size=6000
)
# Prompt electrons and muons per event, also those from taus, by the branching fractions of W and Z,
# and of a Higgs boson (W pairs 0.216, tau pairs 0.063, Z pairs 0.027).
PER_W = 2 * 0.1086 + 0.1086 * 0.352
PER_Z = 2 * (2 * 0.0337 + 0.0337 * 0.352)
PER_H = 0.216 * 2 * PER_W + 0.063 * 2 * 0.352 + 0.027 * 2 * PER_Z
LEPTONS = {1: 4 * PER_W, 2: 2 * PER_W + PER_H, 3: 3 * PER_W, 5: 2 * PER_W + PER_Z}


@pytest.mark.slow
def test_a_sample_is_sane(tmp_path):
    """Z peak, charges, leptons per process, no row twice, mass shell and azimuth."""
    sample.simulate_shard(SANITY, OBJECT_TYPES, 0, 6000, tmp_path / "0.h5")
    arrays, _ = contents(tmp_path / "0.h5")
    events = Events.from_rows(arrays["X"].astype(float), arrays["Y"])
    energy, pt, eta, phi = np.moveaxis(events.objects, -1, 0)
    name = np.array(["", *OBJECT_TYPES.values()])[events.types]
    real, jet = events.types > 0, np.isin(name, ("jet", "b-jet"))

    assert len(np.unique(arrays["X"], axis=0)) == 6000
    mass_squared = energy**2 - (pt * np.cosh(eta)) ** 2
    assert (mass_squared[jet] > -1e-4 * energy[jet] ** 2).all()
    # Electrons and photons are massless; a muon weighs 0.1 GeV. The file has single precision.
    light = real & ~jet
    assert (np.abs(mass_squared[light]) < 0.02 + 2e-6 * energy[light] ** 2).all()

    # Uniform azimuth: the first harmonics vanish within four standard deviations.
    for angles in (phi[real & jet], phi[light], events.met[:, 1]):
        for k in (1, 2):
            assert abs(np.exp(1j * k * angles).mean()) < 4 / np.sqrt(len(angles))

    for minus, plus in (("e-", "e+"), ("mu-", "mu+")):
        a, b = (name == minus).sum(), (name == plus).sum()
        assert abs(a - b) < 4 * np.sqrt(a + b)

    lepton = np.isin(name, ("e-", "e+", "mu-", "mu+")).sum(axis=1)
    seen = {k: lepton[events.labels == k].mean() / LEPTONS[k] for k in LEPTONS}
    # About a third of the leptons is hard, isolated and identified, in all processes alike.
    assert all(0.2 < fraction < 0.5 for fraction in seen.values()), seen
    assert max(seen.values()) < 1.6 * min(seen.values()), seen

    masses = []
    for minus, plus in (("e-", "e+"), ("mu-", "mu+")):
        a, b = (np.where(name == n, pt, 0).argmax(axis=1) for n in (minus, plus))
        both = (name == minus).any(axis=1) & (name == plus).any(axis=1) & (events.labels == 5)
        rows = np.arange(6000)
        (pt_a, eta_a, phi_a), (pt_b, eta_b, phi_b) = (
            (pt[rows, i], eta[rows, i], phi[rows, i]) for i in (a, b)
        )
        squared = 2 * pt_a * pt_b * (np.cosh(eta_a - eta_b) - np.cos(phi_a - phi_b))
        masses.append(np.sqrt(squared[both]))
    mass = np.concatenate(masses)
    peak = mass[np.abs(mass - 91.2) < 15]
    assert len(peak) > 0.4 * len(mass) and len(peak) > 20
    assert np.median(peak) == pytest.approx(91.2, abs=1.5)
