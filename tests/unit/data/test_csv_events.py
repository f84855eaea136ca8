"""CSV files: both dialects come back with their numbers; what does not fit is counted."""

import gzip
from codecs import BOM_UTF8
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from event_files import csv_lines, massless, sorted_by_pt, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES, random_events

from globals_heads.data import csv_events
from globals_heads.data.csv_events import read_csv
from globals_heads.data.events import Events
from globals_heads.data.ragged import Labels, Tally
from globals_heads.errors import UserError
from globals_heads.settings import ReadSettings

SETTINGS = ReadSettings()


def read(path, **settings):
    """Return all events of a file, in its unit, and the tally."""
    tally = Tally("line")
    chosen = ReadSettings(**settings)
    blocks = list(read_csv(path, chosen, OBJECT_TYPES, Labels(chosen.labels), tally))
    parts = ([getattr(block, name) for block in blocks] for name in Events.__annotations__)
    return Events(*(np.concatenate(part) for part in parts)), tally


def expected(events, unit=1000.0):
    """Return what comes back from `csv_lines(events)`: single precision, hardest first."""
    events = sorted_by_pt(events)
    objects = (events.objects * [unit, unit, 1, 1]).astype(np.float32)
    return events.types, objects, events.met * [unit, 1]


def assert_same(found, events, unit=1000.0):
    types, objects, met = expected(events, unit)
    assert_array_equal(found.types, types)
    assert_allclose(found.objects, objects, rtol=2e-7)
    assert_allclose(found.met, met, rtol=1e-12)


@pytest.mark.parametrize("name", ["4top.csv", "4top.csv.gz"])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("block_bytes", [700, 5000, 2**23])
def test_events_come_back(tmp_path, monkeypatch, name, old, block_bytes):
    monkeypatch.setattr(csv_events, "BLOCK_BYTES", block_bytes)
    events = random_events(60)
    found, tally = read(write_csv(tmp_path / name, csv_lines(events, old=old)))
    assert_same(found, massless(events) if old else events)
    assert (found.labels == 1).all()
    assert tally.num_places == 60
    assert not tally.num_skipped
    assert tally.num_without_objects == (events.types == 0).all(axis=1).sum()


@pytest.mark.parametrize("old", [False, True])
def test_no_line_of_a_regular_file_needs_the_slow_way(tmp_path, monkeypatch, old):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(csv_events._Block, "_good_lines", refuse)
    read(write_csv(tmp_path / "4top.csv", csv_lines(random_events(60), old=old)))


@pytest.mark.parametrize("old", [False, True])
def test_the_slow_way_gives_the_same_numbers(tmp_path, old):
    lines = csv_lines(random_events(60), old=old)
    fast, _ = read(write_csv(tmp_path / "4top.csv", lines))
    slow, tally = read(write_csv(tmp_path / "4top.csv", [*lines, "cut"]))
    assert tally.num_skipped.total() == 1
    assert_array_equal(slow.rows, fast.rows)
    assert_array_equal(slow.labels, fast.labels)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blanks_blank_lines_and_the_ends_of_lines_do_not_matter(tmp_path, end):
    events = random_events(20)
    lines = [line.replace(",", ", ").replace(";", " ;") for line in csv_lines(events)]
    lines[3:3] = ["", ";"]
    found, tally = read(write_csv(tmp_path / "4top.csv", lines, end))
    assert_same(found, events)
    assert tally.num_places == 22 and not tally.num_skipped


def test_a_byte_order_mark_belongs_to_no_line(tmp_path):
    events = random_events(5)
    path = write_csv(tmp_path / "4top.csv", csv_lines(events))
    path.write_bytes(BOM_UTF8 + path.read_bytes())
    found, tally = read(path)
    assert_same(found, events)
    assert not tally.num_skipped


def test_a_last_line_without_its_end_is_complete_where_lines_end_with_numbers(tmp_path):
    events = random_events(5)
    path = tmp_path / "4top.csv"
    path.write_text("\n".join(line.rstrip(";") for line in csv_lines(events)))
    assert_same(read(path)[0], events)


def test_lines_may_end_with_a_semicolon_or_not(tmp_path):
    events = random_events(20)
    for end in ("", ";"):
        lines = [line.rstrip(";") + end for line in csv_lines(events)]
        assert_same(read(write_csv(tmp_path / "4top.csv", lines))[0], events)


GOOD = "7;4top;1;100000;0.5;j,60000,50000,0.1,-1;"
BAD = {
    "a bare number": ["302072"],
    "cut off or incomplete": [
        "7;4top;1;100000",
        "7;4top;1;100000;0.5;j,60000,50000,0.1",
        "7;4top;1;100000;0.5;j,60000,50000,,1",
        "7;4top;1;;0.5;j,60000,50000,0.1,1",
        "7;4top;1;100000;0.5;j",
    ],
    "an object with too many values": ["7;4top;1;100000;0.5;j,60000,50000,0.1,-1,3"],
    "of the other dialect": ["1;100000;0.5;j,50000,0.1,-1;"],
    "text in place of a number": [
        "7;4top;1;100000;0.5;j,60000,5x000,0.1,-1",
        "7;4top;1;100000;0.5;j,60000,5-000,0.1,-1",
        "7;4top;1;met;0.5;j,60000,50000,0.1,-1",
    ],
    "a number that is not finite": [
        "7;4top;1;nan;0.5;j,60000,50000,0.1,-1",
        "7;4top;1;100000;0.5;j,60000,inf,0.1,-1",
    ],
    "an energy or pT that is not above 0": [
        "7;4top;1;100000;0.5;j,60000,0,0.1,-1",
        "7;4top;1;100000;0.5;j,-60000,50000,0.1,-1",
    ],
    "a negative MET": ["7;4top;1;-1;0.5;j,60000,50000,0.1,-1"],
    "an energy, pT or MET above 1e+12": ["7;4top;1;100000;0.5;j,1e13,50000,0.1,-1"],
    "an eta beyond 20 or a phi beyond 2 pi": [
        "7;4top;1;100000;0.5;j,60000,50000,-21,-1",
        "7;4top;1;100000;0.5;j,60000,50000,1,-57",
        "7;4top;1;100000;180;j,60000,50000,1,1",
    ],
}


@pytest.mark.parametrize(
    ("kind", "line"), [(kind, line) for kind, lines in BAD.items() for line in lines]
)
def test_a_bad_line_is_counted_by_kind_and_the_others_are_read(tmp_path, kind, line):
    found, tally = read(write_csv(tmp_path / "4top.csv", [GOOD, line, GOOD, GOOD]))
    assert len(found) == 3
    assert tally.skipped == {kind: [2]}
    assert tally.num_skipped == {kind: 1}
    assert_array_equal(found.objects[:, 0, 1], [50000] * 3)


@pytest.mark.parametrize(
    "number", ["+1.5", ".5", "1.", "1E5", "1e-400", "00012", "0.1", "123456.789012345678", "1e0"]
)
def test_numbers_are_those_of_python_to_the_last_bit(tmp_path, number):
    """In blocks that are parsed as a whole, and in those with a bad line."""
    for more in ([], ["cut"]):
        lines = [GOOD.replace("100000", number), *more]
        found, tally = read(write_csv(tmp_path / "4top.csv", lines))
        assert found.met[0, 0] == float(number)
        assert tally.num_skipped.total() == len(more)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1e12), min_size=1), st.sampled_from([repr, "{:.6g}".format]))
def test_met_is_read_to_the_last_bit(numbers, spelling):
    texts = [spelling(number) for number in numbers]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "4top.csv"
        found, _ = read(write_csv(path, [GOOD.replace("100000", text) for text in texts]))
    assert found.met[:, 0].tolist() == [float(text) for text in texts]


@settings(max_examples=200, deadline=None)
@given(st.from_regex(csv_events._NUMBERS, fullmatch=True))
def test_what_passes_as_a_number_can_be_parsed(text):
    _, tally = csv_events._Block(
        b"1;100;0.5;j,%b\n" % b",".join([text.split(b",")[0]] * 3),
        csv_events.DIALECTS[1],
        {"j": 1},
        Labels({}),
        "4top",
    ).events(18)
    assert "text in place of a number" not in tally.num_skipped


@pytest.mark.parametrize("text", ["0x10", "1_0", "1d5", "1e", ".", "\u0661", "1.2.3", "--1"])
def test_no_other_text_is_a_number(tmp_path, text):
    for place in ("100000", "60000"):
        _, tally = read(write_csv(tmp_path / "4top.csv", [GOOD, GOOD.replace(place, text)]))
        assert tally.skipped == {"text in place of a number": [2]}


def test_a_file_whose_events_have_no_objects(tmp_path):
    found, tally = read(write_csv(tmp_path / "4top.csv", ["7;4top;1;100000;0.5"] * 3))
    assert found.met[:, 0].tolist() == [100000] * 3
    assert tally.num_without_objects == 3 and not tally.num_skipped


def test_names_that_are_no_text_are_unknown(tmp_path):
    path = tmp_path / "x.csv"
    line = GOOD.encode() + b"\xff,60000,50000,0.1,-1;\n"
    path.write_bytes(line.replace(b"4top", b"\xfe") * 2)
    _, tally = read(path)
    assert tally.unknown_objects == {"\ufffd": 2}
    assert tally.unknown_processes == {"\ufffd": 2}


@pytest.mark.parametrize("bad", [[], ["cut"]])
def test_what_is_left_out_is_counted_alike_in_blocks_of_any_size(tmp_path, monkeypatch, bad):
    tau, gluon = (GOOD + f"{name},60000,50000,0.1,-1;" for name in ("tau", "gluon"))
    negative, unknown = GOOD.replace("100000", "-1"), GOOD.replace("4top", "zjets")
    lines = [GOOD, tau, negative, unknown, GOOD, gluon, *bad, tau + tau[-23:], negative, unknown]
    path = write_csv(tmp_path / "x.csv", lines)
    expected, whole = read(path)
    assert whole.first_unknown == {"tau": 2, "gluon": 6}
    assert whole.unknown_objects == {"tau": 3, "gluon": 1}
    assert whole.unknown_processes == {"zjets": 2}
    assert whole.skipped["a negative MET"] == [3, 8 + len(bad)]
    for size in (30, 100, 200):
        monkeypatch.setattr(csv_events, "BLOCK_BYTES", size)
        found, tally = read(path)
        assert tally == whole
        assert_array_equal(found.rows, expected.rows)


def test_the_order_of_events_is_that_of_the_lines(tmp_path):
    """Lines that take the slow way do not change places."""
    lines = [GOOD.replace("100000", str(1000 * i)) for i in range(1, 8)]
    lines[2] = lines[2].replace("j,", "tau,60000,50000,0.1,-1;j,")
    lines[4] = "cut"
    found, tally = read(write_csv(tmp_path / "4top.csv", lines))
    assert found.met[:, 0].tolist() == [1000, 2000, 3000, 4000, 6000, 7000]
    assert tally.unknown_objects == {"tau": 1}
    assert tally.first_unknown == {"tau": 3}
    assert (found.types > 0).sum() == 6


def test_a_file_that_was_cut_short(tmp_path):
    """The last object may end inside a number, and a bare number may follow."""
    lines = [GOOD] * 4
    path = tmp_path / "4top.csv"
    path.write_text("\n".join([*lines, GOOD[:-2]]))
    found, tally = read(path)
    assert len(found) == 4
    assert tally.skipped == {"cut off or incomplete": [5]}
    path.write_text("\n".join([*lines, GOOD[:30], "5"]))
    found, tally = read(path)
    assert tally.skipped == {"cut off or incomplete": [5], "a bare number": [6]}
    assert tally.num_damaged == 0  # known, and no reason to refuse a file


def test_objects_beyond_the_slots_are_cut_and_counted(tmp_path):
    events = random_events(60)
    found, tally = read(write_csv(tmp_path / "4top.csv", csv_lines(events)), slots=5)
    types, objects, _ = expected(events)
    assert_array_equal(found.types, types[:, :5])
    assert_allclose(found.objects, objects[:, :5], rtol=2e-7)
    counts = (events.types > 0).sum(axis=1)
    assert tally.num_cut["events"] == (counts > 5).sum()
    assert tally.num_cut["objects"] == np.maximum(counts - 5, 0).sum()


@pytest.mark.parametrize(
    ("name", "process", "label"),
    [
        ("x.csv", "ttbarHiggs", 2),
        ("x.csv", "TTBARZ", 5),
        ("x.csv", "ttWW", 4),
        ("ttbarW.csv", "77", 3),
        ("x.csv", "wjets", 6),
        ("x.csv", "zjets", 0),
    ],
)
def test_labels_come_from_the_process_or_the_name_of_the_file(tmp_path, name, process, label):
    path = write_csv(tmp_path / name, csv_lines(random_events(4), process))
    found, tally = read(path, labels=SETTINGS.labels | {"wjets": "W"})
    assert (found.labels == label).all()
    assert tally.unknown_processes == ({} if label else {process: 4})


def test_several_processes_in_one_file(tmp_path):
    lines = csv_lines(random_events(3), "ttbarW") + csv_lines(random_events(2), "4top")
    assert read(write_csv(tmp_path / "x.csv", lines))[0].labels.tolist() == [3, 3, 3, 1, 1]


def test_other_codes_of_the_object_types(tmp_path):
    path = write_csv(tmp_path / "4top.csv", [GOOD.replace("j,", "m+,")])
    types = {1: "mu+", 2: "jet", 3: "b-jet", 4: "e+", 5: "e-", 6: "mu-", 7: "photon"}
    (events,) = read_csv(path, SETTINGS, types, Labels({}), Tally("line"))
    assert events.types[0, 0] == 1


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_compressed_file_that_ends_early_is_refused(tmp_path, keep):
    path = write_csv(tmp_path / "4top.csv.gz", csv_lines(random_events(50)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match=r"4top\.csv\.gz cannot be decompressed .*line .*again"):
        read(path)


def test_a_compressed_file_with_noise_inside_is_refused(tmp_path):
    content = bytearray(gzip.compress("\n".join(csv_lines(random_events(50))).encode()))
    content[len(content) // 2 : len(content) // 2 + 50] = b"\xff" * 50
    path = tmp_path / "4top.csv.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be decompressed somewhere after line"):
        read(path)


def test_a_file_without_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_events, "BLOCK_BYTES", 10)
    path = tmp_path / "4top.csv"
    path.write_text("7;" * 100)
    with pytest.raises(UserError, match=r"no line break in .* bytes after line 0"):
        read(path)
