"""Files of events in the formats that are read, as users give them to the workflow."""

import json
from pathlib import Path

import pytest
from event_files import csv_lines, delphes_events, write_csv, write_delphes
from random_events import random_events

PUBLIC = ("4top", "ttbarHiggs", "ttbarW", "ttbarWW", "ttbarZ")


NOTHING = "total        0"
ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/data.md").read_text(encoding="utf-8")


def reports(study):
    return [json.loads(path.read_text()) for path in study.path.glob("results/data/*/read.json")]


def test_the_public_files_and_a_few_more(empty_study):
    """The commands of docs/data.md; the files as a list in another order, and one file."""
    assert "--configfile config/4tops_csv.yaml" in DOCS
    tiny = empty_study.configfiles
    empty_study.configfiles = (*tiny, "config/4tops_csv.yaml")
    folder = empty_study / "4tops"
    folder.mkdir()
    for i, name in enumerate(PUBLIC):
        write_csv(folder / f"{name}.csv", csv_lines(random_events(30, i), name))
    empty_study.run("--until", "pack")
    (report,) = reports(empty_study)
    assert {name: numbers["all"] for name, numbers in report["events"].items()} == dict.fromkeys(
        ("tttt", "ttH", "ttW", "ttWW", "ttZ"), 30
    )
    log = (empty_study / "results/logs/data/read.log").read_text()
    assert "ttWW                  30        24         3         3     38000" in log
    listed = "data=[" + ",".join(f"4tops/{name}.csv" for name in PUBLIC[::-1]) + "]"
    assert NOTHING in empty_study.run("--until", "pack", "-n", "--config", listed)
    single = empty_study.plan("--until", "pack", "--config", "data=4tops/4top.csv")
    assert single == {"read": 1, "pack": 1}
    other = {"read": {"slots": 5}}
    assert empty_study.plan("--until", "pack", overlay=other) == {"read": 1, "pack": 1}
    (folder / "4top.csv").touch()
    assert NOTHING in empty_study.run("--until", "pack", "-n")


def test_delphes_to_a_trained_run(empty_study):
    """One run with the overlay of docs/data.md; a name of another card is named."""

    def rename(branches):
        for name in [name for name in branches if name.startswith("Jet.")]:
            branches[name.replace("Jet.", "JetPUPPI.")] = branches.pop(name)

    assert "--configfile config/delphes.yaml" in DOCS
    empty_study.configfiles = (*empty_study.configfiles, "config/delphes.yaml")
    (empty_study / "delphes").mkdir()
    write_delphes(empty_study / "delphes/ttbarZ.root", delphes_events(60), rename)
    output = empty_study.fail("--until", "pack")
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "ttbarZ.root has no branch Jet.PT" in error and "read.branches.jet" in error
    named = {"read": {"branches": {"jet": "JetPUPPI"}}}
    empty_study.run("results/runs/none/beta_1/seed_0/model.pt", overlay=named)
    assert (empty_study / "results/runs/none/beta_1/seed_0/model.pt").is_file()


def html(path: Path):
    (path / "a.csv").write_text("<html>not found</html>")


def no_data(path: Path):
    (path / "README.txt").write_text("no data")


def two_formats(path: Path):
    write_csv(path / "a.csv", csv_lines(random_events(3)))
    write_delphes(path / "b.root", delphes_events(3))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (html, "a.csv is a web page"),
        (no_data, "a folder without files whose names end in .csv"),
        (two_formats, "names files of different formats"),
    ],
)
def test_what_is_not_read_ends_before_anything_is_planned(empty_study, make, sentence):
    (empty_study / "folder").mkdir()
    make(empty_study / "folder")
    output = empty_study.fail(overlay={"data": "folder"})
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert sentence in error
    assert not (empty_study / "results").exists()
