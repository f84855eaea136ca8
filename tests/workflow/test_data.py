"""The user's data: bad files end with a sentence and harm nothing; odd paths work."""

import os
import shutil

import h5py
import numpy as np
import pytest


def make_truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_nan(path):
    with h5py.File(path, "r+") as file:
        file["X_train"][3, 18] = np.nan


def make_missing(path):
    path.unlink()


def make_folder(path):
    path.unlink()
    path.mkdir()


BAD = {
    make_missing: "give the path",
    make_folder: "give the path",
    make_truncated: "give a complete token file",
    make_nan: "remove or repair",
}


@pytest.mark.parametrize("make_bad", BAD, ids=lambda function: function.__name__)
def test_bad_data(study, make_bad):
    """Bad data ends with one sentence, and the study made from good data stays as it was.

    tests/unit/test_bad_inputs.py has many more kinds of bad data, for the step that reads them.
    """
    bad = study / "bad.h5"
    shutil.copy(study / "tokens.h5", bad)
    make_bad(bad)
    before = study.contents("results/runs/**/*", "results/data/**/*", "results/*")

    output = study.fail(overlay={"data": "bad.h5"})
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "bad.h5" in errors[0]
    assert BAD[make_bad] in errors[0]
    assert "rule train" not in output

    assert study.contents("results/runs/**/*", "results/data/**/*", "results/*") == before
    assert not study.plan()


def test_odd_path(empty_study):
    """A path with characters that mean something to a shell is a path."""
    name = "-my 'own' \"$HOME\" $(data) `data`;ü*?/a b.h5"
    (empty_study / name).parent.mkdir()
    (empty_study / "tokens.h5").rename(empty_study / name)
    empty_study.run("--until", "pack", overlay={"data": name})
    assert len(list(empty_study.path.glob("results/data/*/packed.h5"))) == 1


def test_path_with_braces(empty_study):
    """Snakemake would take braces for wildcards; they work, or end with one sentence."""
    (empty_study / "tokens.h5").rename(empty_study / "{x}.h5")
    process = empty_study.snakemake("--until", "pack", overlay={"data": "{x}.h5"})
    if process.returncode:
        errors = [line for line in process.stdout.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, process.stdout
        assert "{x}.h5" in errors[0]


@pytest.mark.parametrize("name", ["a\nb.h5", "a\x1b[2Jb.h5", os.fsdecode(b"a\xff.h5"), "a" * 300])
def test_path_that_no_log_could_hold(empty_study, name):
    """Line breaks, control characters, bytes that are no text, and too many end with a sentence."""
    if len(name) < 255:
        shutil.copy(empty_study / "tokens.h5", empty_study / name)
    output = empty_study.fail("-n", overlay=f'data: "{ascii(name)[1:-1]}"')
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "The setting data is" in error
    assert not (empty_study / "results").exists()
