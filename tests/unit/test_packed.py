"""The packed file: memory-mapped, gathered event by event, and refused when damaged."""

import json
import math

import h5py
import numpy as np
import pytest
from damage import UNREADABLE, attribute, dataset, planted
from numpy.testing import assert_allclose, assert_array_equal
from random_events import pack_random

from globals_heads.errors import UserError
from globals_heads.kinematics import wrap_angle
from globals_heads.packed import DataInfo, open_packed
from globals_heads.settings import PackSettings


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
    assert DataInfo.from_dict(packed.info.as_dict()) == packed.info


def test_wrap_angle_of_the_raw_inverse(tmp_path):
    """A decoder may answer with an angle beyond pi; physics wants it inside."""
    info = pack_random(tmp_path / "packed.h5", PackSettings(features="raw")).info
    beyond = np.array([[0.0, 0.0, 0.0, 4.0 / info.features.scale[3]]])
    assert_allclose(info.objects(beyond)[0, 3], wrap_angle(np.array(4.0)))


def change_info(**values):
    def change(path):
        with h5py.File(path, "r+") as file:
            file.attrs["info"] = json.dumps(json.loads(file.attrs["info"]) | values)

    return change


def same(values):
    return values


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        *((damage, "") for damage in UNREADABLE),
        (attribute("schema_version", 99), "schema version 99, this code reads 3"),
        (attribute("info", "[]"), "Error"),
        (dataset("train/features", same, chunks=(10, 5), compression="gzip"), "one piece"),
        (dataset("train/features", same, dtype="f8"), "features of train are float64"),
        (dataset("val/types", same, dtype="f4"), "types of val are float32"),
        (dataset("test/offsets", same, dtype="u8"), "offsets of test are uint64"),
        (dataset("test/globals", same, dtype=">f4"), "globals of test are >f4"),
        (dataset("val/offsets", lambda x: x[::-1]), "shapes of val contradict"),
        (dataset("val/offsets", lambda x: x + 1), "shapes of val contradict"),
        (dataset("train/globals", lambda x: x[:3]), "shapes of train contradict"),
        (dataset("train/types", planted(0, 100)), "train has types beyond 7"),
        (dataset("train/types", planted(0, 0)), "train has types beyond 7"),
        (dataset("train/features", planted((0, 0), math.nan)), "not finite"),
        (dataset("val/globals", planted((0, 0), math.inf)), "not finite"),
        (change_info(met_scale_gev=0), "scales of 0"),
        (change_info(met_scale_gev=math.nan), "not finite"),
        (change_info(met_scale_gev="wide"), "wide"),
        (change_info(num_slots=0), "num_slots is 0"),
        (change_info(features=[]), "Error"),
        (change_info(features={"names": ["eta"], "mean": [], "scale": [1]}), "period"),
    ],
)
def test_a_packed_file_that_pack_does_not_write_is_refused(tmp_path, damage, part):
    path = tmp_path / "packed.h5"
    pack_random(path, PackSettings())
    damage(path)
    with pytest.raises(UserError, match=rf"packed\.h5 (cannot be read|has the).*{part}.*delete it"):
        open_packed(path)
