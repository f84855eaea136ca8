"""Paths that cannot be used end with one sentence before anything is planned."""

import os

import pytest

from globals_heads import validation
from globals_heads.errors import UserError
from globals_heads.validation import data_files, require_data, require_other_path, require_results


@pytest.mark.parametrize("name", ["tokens.h5", "-my 'own' $(data) ü*?.h5", "a < b > c.h5"])
def test_a_file_that_can_be_read_is_accepted(tmp_path, name):
    (tmp_path / name).touch()
    require_data(str(tmp_path / name))
    require_data(None)


@pytest.mark.parametrize(
    "name", ["a\nb.h5", "a\x1b[2Jb.h5", os.fsdecode(b"a\xff.h5"), "{x}.h5", "<x>.h5"]
)
def test_a_name_that_snakemake_cannot_handle_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"The setting data is .*rename the file") as error:
        require_data(str(tmp_path / name))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("missing.h5", "cannot be found .*No such file"),
        ("a" * 300, "cannot be found .*name too long"),
        ("", "a folder without files whose names end in .csv"),
    ],
)
def test_a_path_of_no_file_is_refused(tmp_path, name, part):
    with pytest.raises(UserError, match=f"The setting data is .*{part}.*; give the path of"):
        require_data(f"{tmp_path}/{name}")


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "tokens.h5").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="which you may not read; give the path"):
        require_data(str(tmp_path / "tokens.h5"))


def test_the_files_of_a_folder_and_of_a_list_are_sorted_by_name(tmp_path):
    for name in ("b.csv", "a.csv.gz", "README.txt", ".c.csv", "D.ROOT"):
        (tmp_path / name).touch()
    (tmp_path / "folder.csv").mkdir()
    require_data(str(tmp_path))
    assert [file.name for file in data_files(str(tmp_path))] == ["D.ROOT", "a.csv.gz", "b.csv"]
    listed = [str(tmp_path / name) for name in ("b.csv", "README.txt")]
    assert [file.name for file in data_files(listed)] == ["README.txt", "b.csv"]
    assert data_files(None) == []


def test_a_file_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(UserError, match=r"a\.csv' twice, .*name each file once"):
        require_data([str(tmp_path), str(tmp_path / "a.csv")])


def test_the_folder_of_results_is_one_that_can_be_written_to(tmp_path, monkeypatch):
    require_results(tmp_path / "results")
    require_results(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is not a folder; make it a folder"):
        require_results(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="results cannot be written to; make it a folder"):
        require_results(tmp_path / "results")


def test_a_machine_without_pythia_is_told_what_to_do(monkeypatch):
    validation.require_pythia()
    monkeypatch.setattr(validation, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pythia8mc and fastjet cannot be found .*data=PATH"):
        validation.require_pythia()


def test_an_output_that_is_an_input_is_refused(tmp_path):
    """Also by another path, which would lose the input."""
    path, link = tmp_path / "events.h5", tmp_path / "link.h5"
    path.write_text("events")
    link.symlink_to(path)
    require_other_path(tmp_path / "new.h5", [path])
    with pytest.raises(UserError, match=r"link\.h5 would be read and written; give the output"):
        require_other_path(link, [path])
