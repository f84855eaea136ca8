"""The step read: one token file from files of any format, split, counted and reported."""

import json

import h5py
import numpy as np
import pytest
from event_files import csv_lines, delphes_events, sorted_by_pt, write_csv, write_delphes
from numpy.testing import assert_allclose, assert_array_equal
from random_events import OBJECT_TYPES, random_events, read_events

from globals_heads.data import csv_events, scratch
from globals_heads.data.formats import format_of, is_split_token_file, require_formats
from globals_heads.data.read import PUBLIC_FILES, read, split_order
from globals_heads.data.token_file import write_token_file
from globals_heads.errors import UserError
from globals_heads.settings import ReadSettings


def run(files, folder, **settings):
    """Return the events of all splits and the report."""
    output, report = folder / "out.h5", folder / "read.json"
    read(files, ReadSettings(**settings), OBJECT_TYPES, output, report)
    return read_events(output, unit="GeV"), json.loads(report.read_text())


def rows_of(splits):
    return np.concatenate([events.rows for events in splits.values()])


def same_rows(found, expected):
    """Whether two sets of rows are equal in any order, to single precision."""
    found, expected = (rows[np.lexsort(rows.T[18:20])] for rows in (found, expected))
    assert_allclose(found, expected, rtol=5e-7)


def write_unsplit(path, events, labels=True):
    with h5py.File(path, "w") as file:
        file["X"] = events.rows
        if labels:
            file["y"] = events.labels
    return path


def test_csv_in_mev_comes_back_in_gev(tmp_path):
    events = random_events(60)
    splits, report = run([write_csv(tmp_path / "4top.csv", csv_lines(events))], tmp_path)
    same_rows(rows_of(splits), sorted_by_pt(events).rows)
    assert {name: len(part) for name, part in splits.items()} == {"train": 48, "val": 6, "test": 6}
    (facts,) = report["files"].values()
    assert facts["energies in"].startswith("MeV (the median leading-jet pT is ")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["units"] == "GeV, radians"
        assert json.loads(file.attrs["object_types"]) == {
            str(k): v for k, v in OBJECT_TYPES.items()
        }


@pytest.mark.parametrize("unit", ["MeV", "GeV"])
def test_the_unit_of_the_setting_overrules_the_rule(tmp_path, unit):
    events = random_events(20)
    splits, _ = run([write_csv(tmp_path / "a.csv", csv_lines(events))], tmp_path, unit=unit)
    factor = 1 if unit == "MeV" else 1000
    met = np.sort(np.concatenate([part.met[:, 0] for part in splits.values()]))
    assert_allclose(met, np.sort(events.met[:, 0]) * factor, rtol=1e-6)


def test_each_file_has_its_own_unit(tmp_path):
    a, b = random_events(20, 1), random_events(20, 2)
    files = [
        write_csv(tmp_path / "4top.csv", csv_lines(a)),
        write_csv(tmp_path / "ttbarZ.csv", csv_lines(b, "ttbarZ", unit=1)),
    ]
    splits, _ = run(files, tmp_path)
    same_rows(rows_of(splits), np.concatenate([sorted_by_pt(e).rows for e in (a, b)]))


@pytest.mark.parametrize("sizes", [(7, 11), (65_536, 16_384)])
def test_the_sample_does_not_depend_on_the_sizes_of_blocks(tmp_path, monkeypatch, sizes):
    files = [write_csv(tmp_path / "4top.csv", csv_lines(random_events(60)))]
    files += [write_csv(tmp_path / "ttbarW.csv", csv_lines(random_events(45, 1), "ttbarW"))]
    expected, _ = run(files, tmp_path)
    content = (tmp_path / "out.h5").read_bytes()
    monkeypatch.setattr(scratch, "BUCKET", sizes[0])
    monkeypatch.setattr(scratch, "BLOCK", sizes[1])
    monkeypatch.setattr(csv_events, "BLOCK_BYTES", 3000)
    found, _ = run(files, tmp_path)
    for split, events in found.items():
        assert_array_equal(events.rows, expected[split].rows)
        assert_array_equal(events.labels, expected[split].labels)
    assert (tmp_path / "out.h5").read_bytes() == content


def test_splits_are_stratified_disjoint_and_follow_the_seed():
    labels = np.repeat([3, 1, 2], [1000, 333, 47])
    order = split_order(labels, 0)
    assert sorted(np.concatenate(list(order.values()))) == list(range(1380))
    assert {name: len(part) for name, part in order.items()} == {
        "train": 1104,
        "val": 138,
        "test": 138,
    }
    for label, number in ((3, 1000), (1, 333), (2, 47)):
        for name in ("val", "test"):
            assert abs((labels[order[name]] == label).sum() - number / 10) < 1
    assert (np.diff(order["train"]) < 0).any() and (np.diff(labels[order["train"]]) < 0).any()
    assert_array_equal(split_order(labels, 0)["val"], order["val"])
    assert set(split_order(labels, 1)["val"]) != set(order["val"])


def test_the_public_sample_has_its_published_splits():
    numbers = [number for _, number in PUBLIC_FILES.values()]
    order = split_order(np.repeat(np.arange(1, 6), numbers), 0)
    assert {name: len(part) for name, part in order.items()} == {
        "train": 241_658,
        "val": 30_207,
        "test": 30_207,
    }


def test_counts_stand_beside_those_of_the_public_sample(tmp_path, capsys):
    files = [write_csv(tmp_path / "ttbarHiggs.csv", csv_lines(random_events(20), "ttbarHiggs"))]
    files += [write_csv(tmp_path / "mine.csv", csv_lines(random_events(10), "wjets"))]
    _, report = run(files, tmp_path)
    assert report["events"]["ttH"] == {"all": 20, "train": 16, "val": 2, "test": 2}
    assert report["events"]["unknown"]["all"] == 10
    assert report["events of the public sample"] == {"ttH": 36_072}
    printed = capsys.readouterr().out
    assert "ttH                   20        16         2         2     36072" in printed
    assert "10 events of the process 'wjets' have no label; see read.labels" in printed


def test_what_was_skipped_is_printed_and_reported(tmp_path, capsys):
    lines = csv_lines(random_events(60))
    lines[10] = "5;4top;1;3"
    lines[20] += ";tau,1000,900,0.1,0.1"
    path = write_csv(tmp_path / "4top.csv", [*lines, "302072"])
    _, report = run([path], tmp_path, slots=5)
    (facts,) = report["files"].values()
    assert facts["lines"] == 61
    assert facts["skipped"] == {
        "cut off or incomplete": {"number": 1, "first lines": [11]},
        "a bare number": {"number": 1, "first lines": [61]},
    }
    assert facts["unknown objects"] == {"tau": {"number": 1, "first line": 21}}
    printed = capsys.readouterr().out
    assert "skipped 2 of 61 lines: 1 cut off or incomplete (line 11), 1 a bare number" in printed
    assert "left out 1 objects named 'tau' (first in line 21)" in printed
    assert "events with more objects than slots" in printed


def test_too_many_bad_lines_are_an_error(tmp_path):
    lines = csv_lines(random_events(20))
    lines[3] = lines[7] = "cut"
    path = write_csv(tmp_path / "4top.csv", lines)
    message = (
        r"4top\.csv has 2 lines of 20 that cannot be read, a share of 0\.1; read\.max_skipped "
        r"allows 0\.05: 2 cut off or incomplete \(line 4, 8\); repair"
    )
    with pytest.raises(UserError, match=message):
        run([path], tmp_path)
    assert not (tmp_path / "out.h5").exists() and not (tmp_path / "read.json").exists()
    run([path], tmp_path, max_skipped=0.1)


@pytest.mark.parametrize("kind", ["csv", "delphes", "tokens"])
def test_few_events_are_refused(tmp_path, kind):
    events = random_events(9)
    path = {
        "csv": lambda: write_csv(tmp_path / "a.csv", csv_lines(events)),
        "delphes": lambda: write_delphes(tmp_path / "a.root", events),
        "tokens": lambda: write_unsplit(tmp_path / "a.h5", events),
    }[kind]()
    with pytest.raises(UserError, match="hold 9 events, but three splits need at least 10"):
        run([path], tmp_path)


def test_a_file_without_good_lines_is_refused(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["1;2"])
    with pytest.raises(UserError, match=r"a\.csv holds no events \(1 lines: 1 of no known dialect"):
        run([path], tmp_path)


def test_a_file_without_objects_is_refused(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["1;4top;1;50000;1"] * 20)
    with pytest.raises(UserError, match=r"a\.csv holds no objects at all"):
        run([path], tmp_path)


def test_delphes_files_are_labelled_by_their_names(tmp_path):
    a, b = delphes_events(30, 1), delphes_events(30, 2)
    files = [write_delphes(tmp_path / "mine.root", a), write_delphes(tmp_path / "ttbarW.root", b)]
    splits, report = run(files, tmp_path, labels={"mine": "tttt"})
    same_rows(rows_of(splits), np.concatenate([sorted_by_pt(e).rows for e in (a, b)]))
    assert report["events"] == {
        "tttt": {"all": 30, "train": 24, "val": 3, "test": 3},
        "unknown": {"all": 30, "train": 24, "val": 3, "test": 3},
    }


@pytest.mark.parametrize("labels", [True, False])
def test_token_files_without_splits(tmp_path, labels):
    """They keep their slots and the order of the objects."""
    events = random_events(40)
    path = write_unsplit(tmp_path / "ttbarZ.h5", events, labels)
    splits, _ = run([path], tmp_path, slots=3)
    same_rows(rows_of(splits), events.rows)
    found = np.concatenate([part.labels for part in splits.values()])
    assert sorted(found) == (sorted(events.labels) if labels else [5] * 40)


def test_token_files_with_different_slots_are_refused(tmp_path):
    a, b = (write_unsplit(tmp_path / f"{name}.h5", random_events(40)) for name in "ab")
    with h5py.File(b, "r+") as file:
        del file["X"]
        file["X"] = np.zeros((40, 62))
        file["X"][:, 0], file["X"][:, 14:16] = 1, 50
    with pytest.raises(UserError, match=r"b\.h5 has 12 slots, but the files before it have 18"):
        run([a, b], tmp_path)


def test_formats_are_told_from_the_content(tmp_path):
    events = random_events(20)
    split = {name: events for name in ("train", "val", "test")}
    write_token_file(tmp_path / "split", split, OBJECT_TYPES, {})
    files = {
        "csv": [
            write_csv(tmp_path / "a.txt", csv_lines(events)),
            write_csv(tmp_path / "b.gz", csv_lines(events)),
        ],
        "delphes": [write_delphes(tmp_path / "c", delphes_events(20))],
        "tokens": [write_unsplit(tmp_path / "d", events), tmp_path / "split"],
    }
    for kind, paths in files.items():
        assert [format_of(path) for path in paths] == [kind] * len(paths)
        require_formats(paths)
    assert is_split_token_file([tmp_path / "split"])
    assert not is_split_token_file([tmp_path / "split"] * 2)
    assert not is_split_token_file([tmp_path / "d"])
    assert not is_split_token_file([])
    with pytest.raises(UserError, match=r"different formats: .*a\.txt \(csv\) and .*c \(delphes\)"):
        require_formats([files["csv"][0], files["delphes"][0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give the path of"),
        (b" \n\n", "is empty"),
        (b"<!DOCTYPE html><html>a;b</html>", "is a web page .*failed download; give the path of"),
        (b"a,b,c\n1,2,3\n", "is in no format that is read here; give .* CSV .* ROOT"),
        (b"PK\x03\x04;\0\0", "is in no format that is read here"),
    ],
)
def test_other_files_are_refused_with_what_is_read(tmp_path, content, message):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"file\.csv {message}"):
        format_of(path)


def test_a_damaged_compressed_file_is_refused_by_its_reader(tmp_path):
    path = tmp_path / "4top.csv.gz"
    path.write_bytes(b"\x1f\x8bnothing")
    assert format_of(path) == "csv"
    with pytest.raises(UserError, match=r"4top\.csv\.gz cannot be decompressed .* line 0"):
        run([path], tmp_path)
