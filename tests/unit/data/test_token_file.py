"""Token files: the layout, what is accepted, and what is refused with which sentence."""

import functools
import io
import multiprocessing
import signal
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import dataset, planted
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES, random_events, read_events

from globals_heads import files
from globals_heads import packed as packed_file
from globals_heads.data import token_file
from globals_heads.data.token_file import read_token_file, write_token_file
from globals_heads.errors import UserError

SPLITS = {"train": 0, "val": 1, "test": 2}


@pytest.fixture
def path(tmp_path):
    """A good token file of 20 events per split."""
    file = tmp_path / "tokens.h5"
    events = {name: random_events(20, seed) for name, seed in SPLITS.items()}
    write_token_file(file, events, OBJECT_TYPES, {"seed": 3, "note": {"a": [1]}})
    return file


def test_splits_are_those_of_packed_files():
    assert token_file.SPLITS == packed_file.SPLITS


def test_events_come_back(path):
    splits = read_events(path)
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
    assert len(read_events(path)["val"]) == 20


def in_mev(rows):
    rows[:, 18] *= 1000
    rows[:, 20:].reshape(-1, 18, 4)[..., :2] *= 1000
    return rows


def without_jets(rows):
    rows[:, :18] = np.where(rows[:, :18] > 0, 5, 0)
    return rows


@pytest.mark.parametrize("jets", [True, False])
def test_mev_is_recognised_and_angles_stay(path, jets):
    if not jets:
        for split in SPLITS:
            dataset(f"X_{split}", without_jets)(path)
    expected = read_events(path)
    for split in SPLITS:
        dataset(f"X_{split}", in_mev)(path)
    for split, events in read_events(path).items():
        assert_allclose(events.objects, expected[split].objects, rtol=1e-5)
        assert_allclose(events.met, expected[split].met, rtol=1e-5)


def test_one_absurd_jet_does_not_make_a_file_mev(path):
    """The units follow the median of the leading jets; a mean would follow the worst event."""
    expected = read_events(path)["train"]
    dataset("X_train", planted((5, [0, 20, 21]), [1, 1e7, 1e7]))(path)
    assert_allclose(read_events(path)["train"].met, expected.met, rtol=1e-5)


def test_the_unit_of_the_setting_overrules_the_rule(path):
    """A file in GeV that is said to be in MeV, and the reverse."""
    expected = read_events(path)["val"]
    as_mev = read_events(path, unit="MeV")["val"]
    assert_allclose(as_mev.objects[..., :2], expected.objects[..., :2] / 1000)
    assert_array_equal(as_mev.objects[..., 2:], expected.objects[..., 2:])
    for split in SPLITS:
        dataset(f"X_{split}", in_mev)(path)
    assert_allclose(read_events(path, unit="GeV")["val"].met[:, 0], expected.met[:, 0] * 1000)
    assert "GeV (as given)" in read_token_file(path, OBJECT_TYPES, "GeV")[1]


@pytest.mark.parametrize("num_slots", [12, 30])
def test_other_numbers_of_slots(path, num_slots):
    expected = read_events(path)

    def with_slots(rows):
        types, met, objects = np.split(rows, [18, 20], axis=1)
        pad = np.zeros((len(rows), 12 * 4))
        types = np.hstack([types, pad[:, :12]])[:, :num_slots]
        return np.hstack([types, met, np.hstack([objects, pad])[:, : 4 * num_slots]])

    for split in SPLITS:
        dataset(f"X_{split}", with_slots)(path)
    for split, events in read_events(path).items():
        assert events.types.shape == (20, num_slots)
        kept = min(num_slots, 18)
        assert_array_equal(events.objects[:, :kept], expected[split].objects[:, :kept])
        assert_array_equal(events.met, expected[split].met)


@pytest.mark.parametrize("block", [1, 7, 16_384])
@pytest.mark.parametrize(
    "storage", [{}, {"chunks": (3, 5), "compression": "gzip"}, {"chunks": (20, 1)}]
)
def test_double_precision_chunks_and_blocks(path, monkeypatch, storage, block):
    """The same events whatever the storage, and however many are read at a time."""
    expected = read_events(path)
    for split in SPLITS:
        dataset(f"X_{split}", lambda x: x.astype(np.float64), **storage)(path)
        dataset(f"Y_{split}", lambda y: y.astype(np.int8))(path)
    monkeypatch.setattr(token_file, "BLOCK", block)
    for split, events in read_events(path).items():
        assert_array_equal(events.rows, expected[split].rows)
        assert_array_equal(events.labels, expected[split].labels)


def test_a_file_without_labels(path):
    expected = read_events(path)["val"].rows
    for split in SPLITS:
        dataset(f"Y_{split}", lambda y: None)(path)
    events = read_events(path)["val"]
    assert_array_equal(events.rows, expected)
    assert (events.labels == 0).all()


def test_a_file_without_splits(path):
    with h5py.File(path, "r+") as file:
        file["x"], file["Y"] = file["X_val"][...], file["Y_val"][...]
    expected = read_events(path)["val"]
    (events,) = read_events(path, splits=token_file.UNSPLIT).values()
    assert_array_equal(events.rows, expected.rows)
    assert_array_equal(events.labels, expected.labels)


def link_out(path):
    with h5py.File(path, "r+") as file:
        del file["X_val"]
        file["X_val"] = h5py.ExternalLink("nowhere.h5", "X")


def link_within(path):
    with h5py.File(path, "r+") as file:
        del file["X_val"]
        file["X_val"] = h5py.SoftLink("/X_train")


def store_outside(path):
    with h5py.File(path, "r+") as file:
        values = file["X_val"][...]
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


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("X_train", lambda x: None, "no data set X_train .*a token file has X_train"),
        ("X_val", lambda x: x[:, :91], r"shape \(20, 91\); it must be \(events, 2 \+ 5 x slots\)"),
        ("X_val", lambda x: x[:, :87], "different numbers of slots .*'X_val': 17"),
        ("X_val", lambda x: x[:0], "X_val in .* holds no events"),
        ("X_val", lambda x: x[0], r"has the shape \(92,\)"),
        ("X_val", lambda x: x[:, :, None], r"has the shape \(20, 92, 1\)"),
        ("X_val", lambda x: x.astype("S8"), r"holds \|S8 values; only numbers"),
        ("X_val", lambda x: x.astype(complex), "holds complex128 values"),
        ("X_val", planted((3, 40), np.nan), "has nan in event 3, column 40"),
        ("Y_val", lambda y: None, "no data set Y_val"),
        ("Y_val", lambda y: y[:19], "has 19 labels for 20 events"),
        ("Y_val", lambda y: y[:, None], r"has the shape \(20, 1\); it must be \(events,\)"),
        ("Y_val", lambda y: y[0], r"has the shape \(\); it must be \(events,\)"),
        ("Y_val", lambda y: y.astype("S4"), r"holds \|S4 values"),
    ],
)
def test_bad_data_sets_are_refused_with_a_sentence(path, name, change, message):
    dataset(name, change)(path)
    with pytest.raises(UserError, match=message) as error:
        read_token_file(path, OBJECT_TYPES)
    assert str(path) in str(error.value)
    assert name in str(error.value)


def test_a_group_in_place_of_a_data_set(path):
    with h5py.File(path, "r+") as file:
        del file["X_val"]
        file.create_group("X_val")
    with pytest.raises(UserError, match=r"no data set X_val"):
        read_token_file(path, OBJECT_TYPES)


def test_no_objects_at_all(path):
    for split in SPLITS:
        dataset(f"X_{split}", planted(np.s_[:, :18], 0))(path)
    with pytest.raises(UserError, match="no objects at all"):
        read_token_file(path, OBJECT_TYPES)


@pytest.mark.parametrize("keep", [0, 7, 100, 3000])
def test_files_cut_short_are_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"tokens\.h5 cannot be read as HDF5 .*--config data=PATH"):
        read_token_file(path, OBJECT_TYPES)


def test_another_meaning_of_the_types_is_refused(path):
    other = OBJECT_TYPES | {5: "mu+", 6: "mu-"}
    with pytest.raises(
        UserError, match="to pack the file, make the setting object_types equal to it"
    ):
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


def read_or_refuse(path):
    """Read a file that may be damaged: events as the layout says, or a sentence."""
    try:
        splits = read_events(path)
    except UserError as error:
        assert str(path) in str(error)
        assert len(str(error)) < 2000
        return
    assert splits.keys() == SPLITS.keys()
    for events in splits.values():
        assert len(events) == len(events.labels) > 0
        assert np.isfinite(events.rows).all()
        assert events.types.max() <= len(OBJECT_TYPES)


def end_of_reading(content):
    """Return the exit code of a process that reads a file of this content."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "tokens.h5"
        path.write_bytes(content)
        patch.setattr(files, "READ_TIMEOUT_S", 1)
        # A fork, since another Python would take a second to start.
        process = multiprocessing.get_context("fork").Process(target=read_or_refuse, args=(path,))
        process.start()
        process.join()
        return process.exitcode


def test_damage_without_end(path, capfd):
    """A text whose size leads HDF5 in circles, in a call that Python cannot interrupt."""
    content = path.read_bytes()
    size = content.index(b"GCOL") + 24  # of the first text in the heap of all texts
    content = content[:size] + (2**64 - 16).to_bytes(8, "little") + content[size + 8 :]
    assert end_of_reading(content) == -signal.SIGALRM
    assert "tokens.h5 (if this line is the last, it is broken)" in capfd.readouterr().err


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(data):
    """Changed bytes, most of them where the structure is, and a file that ends early."""
    content, size = bytearray(good()), len(good())
    places = st.one_of(st.integers(0, 4095), st.integers(0, size - 1))
    changes = st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)
    for place, value in data.draw(changes):
        content[place] = value
    keep = data.draw(st.one_of(st.just(size), st.integers(0, size)))
    # Rare damage makes HDF5 search for ever or crash; the line on stderr names the file then.
    assert end_of_reading(bytes(content[:keep])) in (0, -signal.SIGALRM, -signal.SIGSEGV)


ARRAYS = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill).astype(dtype),
    st.one_of(
        st.sampled_from([(3, 92), (3,), (0, 92), (92,), (3, 92, 1), ()]),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
    ),
    st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "S3"]),
    st.sampled_from([0, 1, 7, 8, 99, -1]),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
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
    assert end_of_reading(buffer.getvalue()) == 0
