"""Packing: real objects only, normalised by the training split."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES, pack_random, random_events

from globals_heads.data.events import Events
from globals_heads.data.pack import pack
from globals_heads.errors import UserError
from globals_heads.kinematics import wrap_angle
from globals_heads.packed import SPLITS, log_features, open_packed
from globals_heads.settings import PackSettings


def pack_everywhere(path, events, **settings):
    """Pack the same events as all splits; return the training split and its info."""
    pack(
        dict.fromkeys(SPLITS, events), OBJECT_TYPES, PackSettings(**settings), "tokens", "GeV", path
    )
    data = open_packed(path)
    return data.train, data.info


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


@pytest.mark.parametrize("target", ["components", "polar"])
def test_a_target_in_gev_is_the_met_of_the_events(tmp_path, target):
    """It keeps its unit, its angle keeps its period, and metrics keep their common scale."""
    settings = PackSettings(globals_target=target, globals_scale="gev")
    data = pack_random(tmp_path / "packed.h5", settings)
    met, metphi = random_events(60, 0).met.T
    components = np.column_stack([met * np.cos(metphi), met * np.sin(metphi)])
    expected = components if target == "components" else np.column_stack([met, metphi])
    assert_allclose(data.train.globals, expected, rtol=1e-5, atol=1e-4)
    assert_allclose(data.info.met_components(data.train.globals), components, atol=1e-3)
    assert data.info.globals.period == (0, 2 * np.pi if target == "polar" else 0)
    scale = np.sqrt(components.var(axis=0).mean())
    assert data.info.met_scale_gev == pytest.approx(scale, rel=1e-5)


@pytest.mark.parametrize("features", ["log", "raw"])
@pytest.mark.parametrize("target", ["components", "polar"])
def test_objects_and_met_come_back_in_gev_and_radians(tmp_path, features, target):
    settings = PackSettings(features=features, globals_target=target)
    data = pack_random(tmp_path / "packed.h5", settings)
    for i, split in enumerate((data.train, data.val, data.test)):
        events = random_events(60, i)
        real = events.types > 0
        objects = data.info.objects(split.features)
        assert_allclose(objects, events.objects[real], rtol=1e-5, atol=1e-5)
        assert_array_equal(split.types, events.types[real])
        assert_array_equal(np.diff(split.offsets), real.sum(axis=1))
        met, metphi = events.met.T
        expected = np.column_stack([met * np.cos(metphi), met * np.sin(metphi)])
        assert_allclose(data.info.met_components(split.globals), expected, atol=1e-3)


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


@pytest.mark.parametrize("features", ["log", "raw"])
def test_azimuths_of_any_turn_are_the_same(tmp_path, features):
    """A file may count phi from 0 to 2 pi; the network sees it between -pi and pi."""
    events, splits = random_events(60), []
    for turn in (0, 2 * np.pi):
        objects = events.objects + np.array([0, 0, 0, turn]) * (events.objects[..., 1:2] > 0)
        turned = Events(events.types, objects, events.met, events.labels)
        splits.append(pack_everywhere(tmp_path / f"{turn}.h5", turned, features=features)[0])
    assert_allclose(splits[1].features, splits[0].features, atol=1e-5)


def test_a_feature_that_never_changes_is_only_shifted(tmp_path):
    events = random_events(60)
    central = Events(events.types, events.objects * [1, 1, 0, 1], events.met, events.labels)
    train, info = pack_everywhere(tmp_path / "packed.h5", central)
    assert info.features.scale[2] == 1
    assert (train.features[:, 2] == 0).all()


def test_padding_in_the_middle_does_not_count(tmp_path):
    events = random_events(30)
    order = np.random.default_rng(0).permutation(18)
    shuffled = Events(events.types[:, order], events.objects[:, order], events.met, events.labels)
    train, _ = pack_everywhere(tmp_path / "packed.h5", shuffled)
    assert len(train.features) == (events.types > 0).sum()


def test_slots_are_those_of_the_file_not_the_objects_of_the_fullest_event(packed):
    assert packed.info.num_slots == 18


def test_logarithms_of_zero_are_refused_with_the_remedy(tmp_path):
    events = random_events(30)
    events.objects[events.types > 0] *= [0, 1, 1, 1]
    with pytest.raises(UserError, match=r"E = 0 .*pack\.features to raw"):
        pack_everywhere(tmp_path / "packed.h5", events)
    pack_everywhere(tmp_path / "packed.h5", events, features="raw")


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_without_objects_is_refused(tmp_path, name):
    splits = {split: random_events(30) for split in SPLITS}
    splits[name].types[:] = 0
    with pytest.raises(UserError, match=f"The {name} split of tokens holds no objects"):
        pack(splits, OBJECT_TYPES, PackSettings(), "tokens", "GeV", tmp_path / "packed.h5")


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("globals_heads.files.shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"packed\.h5 needs .* MiB but only 0\.0 MiB are free"):
        pack_random(tmp_path / "packed.h5", PackSettings())
    assert not list(tmp_path.iterdir())


@dataclass
class Blocks:
    """Events in blocks of one size."""

    events: Events
    size: int

    def __len__(self):
        return len(self.events)

    def blocks(self):
        for start in range(0, len(self), self.size):
            yield self.events[start : start + self.size]


@pytest.mark.parametrize("settings", [{}, {"features": "raw", "globals_target": "polar"}])
def test_the_bits_do_not_depend_on_the_size_of_blocks(tmp_path, settings):
    files = []
    for size in (1, 7, 400):
        splits = {name: Blocks(random_events(400, seed), size) for seed, name in enumerate(SPLITS)}
        files.append(tmp_path / f"{size}.h5")
        pack(splits, OBJECT_TYPES, PackSettings(**settings), "tokens", "GeV", files[-1])
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


@pytest.mark.parametrize("features", ["log", "raw"])
def test_mean_and_scale_are_those_of_all_objects_at_once(tmp_path, features):
    """To the last bit as NumPy computes them for the whole training split."""
    events = random_events(400)
    objects = events.objects[events.types > 0]
    columns = (
        log_features(objects)
        if features == "log"
        else np.column_stack([objects[:, :3], wrap_angle(objects[:, 3])])
    )
    mean = columns.mean(axis=0)
    if features == "raw":
        mean[3] = 0
    _, info = pack_everywhere(tmp_path / "packed.h5", events, features=features)
    assert info.features.mean == tuple(mean)
    assert info.features.scale == tuple(columns.std(axis=0))


MEMORY = r"""
import re, sys
from pathlib import Path
from random_events import OBJECT_TYPES, random_events
from globals_heads.data.pack import pack
from globals_heads.data.token_file import read_token_file, write_token_file
from globals_heads.settings import PackSettings

class Repeated:
    def __init__(self, size):
        self.size = size
    def __len__(self):
        return self.size
    def blocks(self):
        yield from [random_events(10_000)] * (self.size // 10_000)

folder, sizes = Path(sys.argv[1]), {"train": 240_000, "val": 30_000, "test": 30_000}
write_token_file(folder / "t.h5", {n: Repeated(s) for n, s in sizes.items()}, OBJECT_TYPES, {})
splits, unit = read_token_file(folder / "t.h5", OBJECT_TYPES)
pack(splits, OBJECT_TYPES, PackSettings(), "tokens", unit, folder / "packed.h5")
# Unlike getrusage, without the memory of the process that started this one.
print(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_the_memory_for_a_large_sample_is_small(tmp_path):
    """300,000 events, whose rows alone are 110 MB in single precision."""
    helpers = Path(random_events.__code__.co_filename).parent
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path],
        env=os.environ | {"PYTHONPATH": str(helpers)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < 300
