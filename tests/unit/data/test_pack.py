"""Packing: real objects only, normalised by the training split, and back."""

import json
import math

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES, pack_random, random_events

from globals_heads.data.token_file import Events
from globals_heads.errors import UserError
from globals_heads.kinematics import wrap_angle
from globals_heads.packed import open_packed, pack
from globals_heads.settings import PackSettings


@pytest.fixture(params=["log", "raw"])
def features(request):
    return request.param


@pytest.fixture(params=["components", "polar"])
def target(request):
    return request.param


def test_objects_come_back_in_gev_and_radians(tmp_path, features):
    data = pack_random(tmp_path / "packed.h5", PackSettings(features=features))
    for i, split in enumerate(("train", "val", "test")):
        events = random_events(60, i)
        real = events.types > 0
        objects = data.info.objects(getattr(data, split).features)
        assert_allclose(objects, events.objects[real], rtol=1e-5, atol=1e-5)
        assert_array_equal(getattr(data, split).types, events.types[real])
        assert_array_equal(np.diff(getattr(data, split).offsets), real.sum(axis=1))


def test_met_comes_back_in_gev(tmp_path, target):
    data = pack_random(tmp_path / "packed.h5", PackSettings(globals_target=target))
    met, metphi = random_events(60, 2).met.T
    expected = np.column_stack([met * np.cos(metphi), met * np.sin(metphi)])
    assert_allclose(data.info.met_components(data.test.globals), expected, atol=1e-3)


def test_features_are_those_of_the_definition(packed):
    """Computed again, one object at a time, from the events."""
    events = random_events(60, 0)
    rows = [
        (np.log(e), np.log(pt), eta, np.cos(phi), np.sin(phi))
        for types, objects in zip(events.types, events.objects, strict=True)
        for kind, (e, pt, eta, phi) in zip(types, objects, strict=True)
        if kind > 0
    ]
    assert_allclose(packed.info.features.denormalise(packed.train.features), rows, atol=1e-5)


def test_the_training_split_alone_sets_the_scale(packed):
    """Its real objects have mean 0 and variance 1; padding or another split would shift them."""
    assert_allclose(packed.train.features.mean(axis=0), 0, atol=1e-5)
    assert_allclose(packed.train.features.std(axis=0), 1, atol=1e-5)
    assert abs(packed.val.features.mean(axis=0)).max() > 1e-3


def test_met_components_share_one_scale(packed):
    assert packed.info.globals.scale[0] == packed.info.globals.scale[1]
    assert packed.info.met_scale_gev == packed.info.globals.scale[0]
    assert (packed.train.globals**2).mean() == pytest.approx(1, abs=1e-5)


def test_angles_have_a_period_and_no_mean(tmp_path):
    settings = PackSettings(features="raw", globals_target="polar")
    info = pack_random(tmp_path / "packed.h5", settings).info
    assert info.features.period == (0, 0, 0, 2 * np.pi)
    assert info.globals.period == (0, 2 * np.pi)
    assert info.features.mean[3] == info.globals.mean[1] == 0


def test_azimuths_of_any_turn_are_the_same(tmp_path, features):
    """A file may count phi from 0 to 2 pi; the network sees it between -pi and pi."""
    events, splits = random_events(60), []
    for turn in (0, 2 * np.pi):
        objects = events.objects + np.array([0, 0, 0, turn]) * (events.objects[..., 1:2] > 0)
        turned = Events(events.types, objects, events.met, events.labels)
        path = tmp_path / f"{turn}.h5"
        pack(
            dict.fromkeys(("train", "val", "test"), turned),
            OBJECT_TYPES,
            PackSettings(features=features),
            "turned",
            path,
        )
        splits.append(open_packed(path).train)
    assert_allclose(splits[1].features, splits[0].features, atol=1e-5)


def test_a_feature_that_never_changes_is_only_shifted(tmp_path):
    events = random_events(60)
    objects = events.objects * [1, 1, 0, 1]
    central = Events(events.types, objects, events.met, events.labels)
    splits = dict.fromkeys(("train", "val", "test"), central)
    pack(splits, OBJECT_TYPES, PackSettings(), "central", tmp_path / "packed.h5")
    data = open_packed(tmp_path / "packed.h5")
    assert data.info.features.scale[2] == 1
    assert (data.train.features[:, 2] == 0).all()


def test_slots_are_those_of_the_file_not_the_objects_of_the_fullest_event(packed):
    assert packed.info.num_slots == 18


def test_runs_read_it_memory_mapped(packed):
    for array in (packed.train.features, packed.train.types, packed.train.offsets):
        assert isinstance(array, np.memmap)


def test_gather_keeps_objects_with_their_event(packed):
    order = np.random.default_rng(0).permutation(60)
    gathered = packed.train.gather(order)
    for i, event in enumerate(order):
        old = slice(*packed.train.offsets[event : event + 2])
        new = slice(*gathered.offsets[i : i + 2])
        assert_array_equal(gathered.features[new], packed.train.features[old])
        assert_array_equal(gathered.types[new], packed.train.types[old])
        assert_array_equal(gathered.globals[i], packed.train.globals[event])


def test_info_survives_a_round_trip(packed):
    assert type(packed.info).from_dict(packed.info.as_dict()) == packed.info


def test_padding_in_the_middle_does_not_count(tmp_path):
    events = random_events(30)
    order = np.random.default_rng(0).permutation(18)
    shuffled = Events(events.types[:, order], events.objects[:, order], events.met, events.labels)
    splits = dict.fromkeys(("train", "val", "test"), shuffled)
    pack(splits, OBJECT_TYPES, PackSettings(), "shuffled", tmp_path / "packed.h5")
    assert len(open_packed(tmp_path / "packed.h5").train.features) == (events.types > 0).sum()


def test_logarithms_of_zero_are_refused_with_the_remedy(tmp_path):
    events = random_events(30)
    events.objects[events.types > 0] *= [0, 1, 1, 1]
    splits = dict.fromkeys(("train", "val", "test"), events)
    with pytest.raises(UserError, match=r"E = 0 .*pack\.features to raw"):
        pack(splits, OBJECT_TYPES, PackSettings(), "zeros", tmp_path / "packed.h5")
    pack(splits, OBJECT_TYPES, PackSettings(features="raw"), "zeros", tmp_path / "packed.h5")


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_split_without_objects_is_refused(tmp_path, name):
    splits = {split: random_events(30) for split in ("train", "val", "test")}
    splits[name].types[:] = 0
    with pytest.raises(UserError, match=f"The {name} split of tokens holds no objects"):
        pack(splits, OBJECT_TYPES, PackSettings(), "tokens", tmp_path / "packed.h5")


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("globals_heads.files.shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"packed\.h5 needs .* MiB but only 0\.0 MiB are free"):
        pack_random(tmp_path / "packed.h5", PackSettings())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_a_damaged_packed_file_is_refused(tmp_path, content):
    path = tmp_path / "packed.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"packed\.h5 is no packed file .* delete it"):
        open_packed(path)


def store_again(file, name, **options):
    values = file[name][...]
    del file[name]
    file.create_dataset(name, data=values, **options)


def change_info(file, **values):
    file.attrs["info"] = json.dumps(json.loads(file.attrs["info"]) | values)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: store_again(file, "train/features", chunks=(10, 5), compression="gzip"),
        lambda file: store_again(file, "train/features", dtype="f8"),
        lambda file: store_again(file, "val/types", dtype="f4"),
        lambda file: store_again(file, "test/offsets", dtype="u8"),
        lambda file: store_again(file, "test/globals", dtype=">f4"),
        lambda file: change_info(file, met_scale_gev=0),
        lambda file: change_info(file, met_scale_gev=math.nan),
        lambda file: change_info(file, met_scale_gev="wide"),
        lambda file: change_info(file, num_slots=0),
        lambda file: change_info(file, features={"names": ["eta"], "mean": [], "scale": [1]}),
    ],
)
def test_a_packed_file_that_pack_does_not_write_is_refused(tmp_path, damage):
    path = tmp_path / "packed.h5"
    pack_random(path, PackSettings())
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(UserError, match=r"packed\.h5 is no packed file .* delete it"):
        open_packed(path)


def test_wrap_angle_of_the_raw_inverse(tmp_path):
    """A decoder may answer with an angle beyond pi; physics wants it inside."""
    info = pack_random(tmp_path / "packed.h5", PackSettings(features="raw")).info
    beyond = np.array([[0.0, 0.0, 0.0, 4.0 / info.features.scale[3]]])
    assert_allclose(info.objects(beyond)[0, 3], wrap_angle(np.array(4.0)))
