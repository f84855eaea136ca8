"""Token files: the layout, what is accepted, and what is refused with which sentence."""

import functools
import io
import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES, random_events

from globals_heads import hdf5
from globals_heads.data.token_file import Events, read_token_file, write_token_file
from globals_heads.errors import UserError

SPLITS = {"train": 0, "val": 1, "test": 2}


@pytest.fixture
def path(tmp_path):
    """A good token file of 20 events per split."""
    file = tmp_path / "tokens.h5"
    events = {name: random_events(20, seed) for name, seed in SPLITS.items()}
    write_token_file(file, events, OBJECT_TYPES, {"seed": 3, "note": {"a": [1]}})
    return file


def replace(path, name, values):
    """Put other values in the place of a data set."""
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values


def rows(path, name="X_train"):
    with h5py.File(path) as file:
        return file[name][...]


def test_columns_are_those_of_the_public_layout():
    types = np.zeros((1, 18), np.uint8)
    types[0, :2] = 2, 7
    objects = np.zeros((1, 18, 4))
    objects[0, :2] = [[10, 11, 12, 13], [20, 21, 22, 23]]
    row = Events(types, objects, np.array([[50.0, -1.0]]), np.array([1])).rows[0]
    assert row.shape == (92,)
    assert_array_equal(row[:3], [2, 7, 0])
    assert_array_equal(row[18:28], [50, -1, 10, 11, 12, 13, 20, 21, 22, 23])


def test_events_come_back(path):
    splits = read_token_file(path, OBJECT_TYPES)
    for name, seed in SPLITS.items():
        expected = random_events(20, seed)
        assert_array_equal(splits[name].types, expected.types)
        assert_allclose(splits[name].objects, expected.objects, rtol=1e-6)
        assert_allclose(splits[name].met, expected.met, rtol=1e-6)
        assert_array_equal(splits[name].labels, expected.labels)


def test_attributes_are_written(path):
    with h5py.File(path) as file:
        assert file.attrs["seed"] == 3
        assert file.attrs["note"] == '{"a": [1]}'
        assert file.attrs["units"] == "GeV, radians"


def test_names_in_any_case(path):
    with h5py.File(path, "r+") as file:
        file.move("Y_val", "y_VAL")
        file.move("X_test", "x_test")
    assert len(read_token_file(path, OBJECT_TYPES)["val"]) == 20


def test_mev_is_recognised_and_angles_stay(path):
    expected = read_token_file(path, OBJECT_TYPES)
    for split in SPLITS:
        values = rows(path, f"X_{split}")
        values[:, 18] *= 1000
        values[:, 20:] = (values[:, 20:].reshape(-1, 18, 4) * [1000, 1000, 1, 1]).reshape(20, 72)
        replace(path, f"X_{split}", values)
    for split, events in read_token_file(path, OBJECT_TYPES).items():
        assert_allclose(events.objects, expected[split].objects, rtol=1e-5)
        assert_allclose(events.met, expected[split].met, rtol=1e-5)


def test_one_absurd_jet_does_not_make_a_file_mev(path):
    """The units follow the median of the leading jets; a mean would follow the worst event."""
    expected = read_token_file(path, OBJECT_TYPES)["train"]
    values = rows(path, "X_train")
    event = int(np.argmax(values[:, 0] > 0))
    values[event, 0], values[event, 20:22] = 1, 1e7
    replace(path, "X_train", values)
    assert_allclose(read_token_file(path, OBJECT_TYPES)["train"].met, expected.met, rtol=1e-5)


def test_mev_is_recognised_without_jets(path):
    expected = read_token_file(path, OBJECT_TYPES)["val"]
    for split in SPLITS:
        values = rows(path, f"X_{split}")
        values[:, :18] = np.where(values[:, :18] > 0, 5, 0)
        values[:, 18] *= 1000
        values[:, 20:] = (values[:, 20:].reshape(-1, 18, 4) * [1000, 1000, 1, 1]).reshape(20, 72)
        replace(path, f"X_{split}", values)
    assert_allclose(read_token_file(path, OBJECT_TYPES)["val"].met, expected.met, rtol=1e-5)


def link_out(path):
    replace(path, "X_val", h5py.ExternalLink("nowhere.h5", "X"))


def link_within(path):
    replace(path, "X_val", h5py.SoftLink("/X_train"))


def store_outside(path):
    values = rows(path)
    with h5py.File(path, "r+") as file:
        del file["X_val"]
        outside = [(str(path.with_suffix(".raw")), 0, values.nbytes)]
        file.create_dataset("X_val", values.shape, values.dtype, external=outside)


def store_virtually(path):
    layout = h5py.VirtualLayout((20, 92), "f4")
    layout[:] = h5py.VirtualSource("nowhere.h5", "X", (20, 92))
    with h5py.File(path, "r+") as file:
        del file["X_val"]
        file.create_virtual_dataset("X_val", layout)


@pytest.mark.parametrize("store", [link_out, link_within, store_outside, store_virtually])
def test_values_of_another_place_are_refused(path, store):
    """They can change, or keep a reader waiting, with the file and its fingerprint the same."""
    store(path)
    with pytest.raises(UserError, match=r"X_val in .* leads to another place; store its values"):
        read_token_file(path, OBJECT_TYPES)


def broken(column, value):
    def change(values):
        values[3, 0] = 1
        values[3, column] = value
        return values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: None, "no data set X_train .*a token file needs"),
        (lambda x: x[:, :91], r"X_train .* has the shape \(20, 91\); it must be \(events, 92\)"),
        (lambda x: x[0], r"X_train .* has the shape \(92,\)"),
        (lambda x: x[:, :, None], r"X_train .* has the shape \(20, 92, 1\)"),
        (lambda x: x[:0], "X_train .* holds no events"),
        (lambda x: x.astype("S8"), r"X_train .* holds \|S8 values; only numbers"),
        (lambda x: x.astype(complex), "X_train .* holds complex128 values"),
        (broken(40, np.nan), "X_train .* has nan in event 3, column 40"),
        (broken(18, np.inf), "X_train .* has inf in event 3, column 18"),
        (broken(1, -1), "object type -1 in event 3, slot 1; allowed are the integers 0"),
        (broken(17, 8), "object type 8 in event 3, slot 17"),
        (broken(0, 1.5), r"object type 1\.5 in event 3, slot 0"),
        (broken(18, -5), "X_train .* has the MET -5 in event 3; it cannot be negative"),
        (
            broken(22, -999),
            "X_train .* has eta = -999 in event 3, slot 0; real objects lie within 20",
        ),
        (lambda x: x[:19], "Y_train .* has 20 labels for 19 events"),
    ],
)
def test_bad_rows_are_refused_with_a_sentence(path, change, message):
    replace(path, "X_train", change(rows(path)))
    with pytest.raises(UserError, match=message) as error:
        read_token_file(path, OBJECT_TYPES)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no data set Y_val"),
        (np.ones(19), "Y_val .* has 19 labels for 20 events"),
        (np.ones((20, 1)), r"Y_val .* has the shape \(20, 1\); it must be \(events,\)"),
        (np.array([b"tttt"] * 20), r"Y_val .* holds \|S4 values"),
    ],
)
def test_bad_labels_are_refused_with_a_sentence(path, labels, message):
    replace(path, "Y_val", labels)
    with pytest.raises(UserError, match=message):
        read_token_file(path, OBJECT_TYPES)


def test_a_group_in_place_of_a_data_set(path):
    replace(path, "X_val", None)
    with h5py.File(path, "r+") as file:
        file.create_group("X_val")
    with pytest.raises(UserError, match=r"no data set X_val"):
        read_token_file(path, OBJECT_TYPES)


def test_no_objects_at_all(path):
    for split in SPLITS:
        values = rows(path, f"X_{split}")
        values[:, :18] = 0
        replace(path, f"X_{split}", values)
    with pytest.raises(UserError, match="no objects at all"):
        read_token_file(path, OBJECT_TYPES)


@pytest.mark.parametrize("keep", [0, 7, 100, 3000])
def test_files_cut_short_are_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"tokens\.h5 cannot be read as HDF5 .*--config data=PATH"):
        read_token_file(path, OBJECT_TYPES)


def test_another_meaning_of_the_types_is_refused(path):
    other = OBJECT_TYPES | {5: "mu+", 6: "mu-"}
    with pytest.raises(UserError, match="make the setting equal to the file"):
        read_token_file(path, other)


@pytest.mark.parametrize("stated", ["no JSON", "[1]", '{"one": "jet"}', 5])
def test_an_unreadable_object_type_attribute_is_refused(path, stated):
    with h5py.File(path, "r+") as file:
        file.attrs["object_types"] = stated
    with pytest.raises(UserError, match=r"attribute object_types of .*correct or delete it"):
        read_token_file(path, OBJECT_TYPES)


def test_a_failed_write_leaves_the_old_file(path):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_token_file(path, {"train": random_events(5)}, OBJECT_TYPES, {"bad": {1, 2}})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@functools.cache
def good():
    """Return the bytes of a small good token file; as a fixture, failures would print them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.h5"
        events = {name: random_events(3, seed) for name, seed in SPLITS.items()}
        write_token_file(path, events, OBJECT_TYPES, {"seed": 3})
        return path.read_bytes()


def read_or_refuse(content):
    """Read a file that may be damaged: events as the layout says, or a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.h5"
        path.write_bytes(content)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(hdf5, "PATIENCE_S", 3)
                splits = read_token_file(path, OBJECT_TYPES)
        except UserError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 2000
            return
    assert splits.keys() == SPLITS.keys()
    for events in splits.values():
        assert len(events) == len(events.labels) > 0
        assert np.isfinite(events.rows).all()
        assert events.types.max() <= len(OBJECT_TYPES)


def test_damage_without_end(path, monkeypatch):
    """A text whose size leads HDF5 in circles, in a call that nothing interrupts."""
    content = path.read_bytes()
    size = content.index(b"GCOL") + 24  # of the first text in the heap of all texts
    path.write_bytes(content[:size] + (2**64 - 16).to_bytes(8, "little") + content[size + 8 :])
    monkeypatch.setattr(hdf5, "PATIENCE_S", 1)
    with pytest.raises(UserError, match=r"tokens.h5 cannot .* finds no end of it in 1 s"):
        read_token_file(path, OBJECT_TYPES)


def test_damage_that_crashes(path, monkeypatch):
    """The look through the file takes its process down, and no other."""
    monkeypatch.setattr(hdf5, "_look_through", lambda _: os._exit(1))
    with pytest.raises(UserError, match=r"tokens.h5 cannot be read .* HDF5 crashes on it"):
        read_token_file(path, OBJECT_TYPES)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(data):
    """Changed bytes, most of them where the structure is, and a file that ends early."""
    content, size = bytearray(good()), len(good())
    places = st.one_of(st.integers(0, 4095), st.integers(0, size - 1))
    changes = st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)
    for place, value in data.draw(changes):
        content[place] = value
    keep = data.draw(st.one_of(st.just(size), st.integers(0, size)))
    read_or_refuse(bytes(content[:keep]))


ARRAYS = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill).astype(dtype),
    st.one_of(
        st.sampled_from([(3, 92), (3,), (0, 92), (92,), (3, 92, 1), ()]),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
    ),
    st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "S3"]),
    st.sampled_from([0, 1, 7, 8, 99, -1]),
)


@settings(max_examples=100, deadline=None)
@given(
    arrays=st.dictionaries(st.sampled_from([f"{a}_{s}" for a in "XYx" for s in SPLITS]), ARRAYS),
    stated=st.one_of(st.none(), st.text(), st.integers(-9, 9), ARRAYS.map(np.ravel)),
)
def test_any_content_is_refused_or_as_the_layout_says(arrays, stated):
    """Other types and shapes, names twice, and anything as the attribute."""
    buffer = io.BytesIO(good())
    with h5py.File(buffer, "r+") as file:
        for name, values in arrays.items():
            if name in file:
                del file[name]
            file[name] = values
        if stated is not None and "\0" not in str(stated):
            file.attrs["object_types"] = stated
    read_or_refuse(buffer.getvalue())
