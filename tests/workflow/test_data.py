"""The user's data: bad files end with a sentence and harm nothing; odd paths work."""

import os
import shutil

import numpy as np
import pytest
from damage import absent, dataset, folder, planted


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (absent, "give the path"),
        (folder, "give the path"),
        (dataset("X_train", planted((3, 18), np.nan)), "remove or repair"),
    ],
)
def test_bad_data(study, damage, remedy):
    """Bad data ends with one sentence, and the study made from good data stays as it was.

    unit/test_cli.py and unit/data/test_checks.py have many more kinds of bad data.
    """
    bad = study / "bad.h5"
    shutil.copy(study / "tokens.h5", bad)
    damage(bad)
    before = study.contents("results/runs/**/*", "results/data/**/*", "results/*")

    output = study.fail(overlay={"data": "bad.h5"})
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "bad.h5" in errors[0]
    assert remedy in errors[0]
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


@pytest.mark.parametrize(
    "name",
    [
        "a\nb.h5",
        pytest.param("a\x1b[2Jb.h5", marks=pytest.mark.slow),
        pytest.param(os.fsdecode(b"a\xff.h5"), marks=pytest.mark.slow),
        "a" * 300,
    ],
)
def test_path_that_no_log_could_hold(empty_study, name):
    """Line breaks, control characters, bytes that are no text, and long names are refused."""
    if len(name) < 255:
        shutil.copy(empty_study / "tokens.h5", empty_study / name)
    output = empty_study.fail("-n", overlay=f'data: "{ascii(name)[1:-1]}"')
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "The setting data is" in error
    assert not (empty_study / "results").exists()
