"""The user's data: bad files end with a sentence and harm nothing; odd paths work."""

import shutil

import numpy as np
import pytest
from damage import dataset, folder, planted


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (folder, "give the path"),
        (dataset("X_train", planted((3, 18), np.nan)), "remove or repair"),
    ],
)
def test_bad_data(study, damage, remedy):
    """Bad data ends with one sentence, and the study made from good data stays as it was.

    tests/unit/test_cli.py and tests/unit/data/test_checks.py have many more kinds of bad data.
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
    assert "] train " not in output

    assert study.contents("results/runs/**/*", "results/data/**/*", "results/*") == before
    assert not study.plan()


def test_odd_path(empty_study):
    """A path with characters that mean something to a shell is a path."""
    name = "-my 'own' \"$HOME\" $(data) `data`;ü*?/a b.h5"
    (empty_study / name).parent.mkdir()
    (empty_study / "tokens.h5").rename(empty_study / name)
    empty_study.run("--until", "pack", overlay={"data": name})
    assert len(list(empty_study.path.glob("results/data/*/packed.h5"))) == 1


@pytest.mark.parametrize("name", ["a\nb.h5", "<x>.h5"])
def test_path_that_snakemake_cannot_handle(empty_study, name):
    """It ends with one sentence; tests/unit/test_validation.py has more of them."""
    shutil.copy(empty_study / "tokens.h5", empty_study / name)
    output = empty_study.fail("-n", overlay={"data": name})
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "The setting data is" in error
    assert not (empty_study / "results").exists()
