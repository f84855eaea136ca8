"""`verify` names files that were changed by hand, and a summary that the facts do not say."""

import os
import shutil
import subprocess
import sys

import pytest

from globals_heads.errors import UserError
from globals_heads.verify import verify

RUN = "vq/beta_1/seed_0"


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def command(study):
    """Return the exit code and the lines of the command."""
    process = subprocess.run(
        [sys.executable, "-m", "globals_heads", "verify"],
        cwd=study.path,
        env=os.environ | study.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not process.stderr
    return process.returncode, process.stdout.splitlines()


def test_a_finished_study_is_verified(study):
    """Wherever the study was moved to, and also without the packed data."""
    assert command(study) == (
        0,
        ["4 finished runs and the summary are as their steps have written them."],
    )
    next(study.path.glob("results/data/*/packed.h5")).unlink()
    assert verify(study / "results") == (4, [])


def test_the_command_prints_each_problem_and_fails(study):
    path = study / f"results/runs/{RUN}/model.pt"
    path.write_bytes(path.read_bytes() + b"\n")
    assert command(study) == (
        1,
        [
            f"results/runs/{RUN}/model.pt was changed after the step train; "
            "delete it and run snakemake again."
        ],
    )


@pytest.mark.parametrize(
    ("name", "step"),
    [
        (f"runs/{RUN}/facts/metrics_val.csv", "train"),
        (f"runs/{RUN}/facts/metrics_test.csv", "evaluate"),
        (f"runs/{RUN}/facts/events_test.npz", "evaluate"),
        ("data/*/events_test.npz", "baselines"),
        ("data/*/packed.h5", "pack"),
        ("comparison.csv", "compare"),
        ("verdict.md", "compare"),
        ("tables/summary.html", "compare"),
        ("figures/tradeoff.svg", "plot"),
        (f"runs/{RUN}/figures/curves.csv", "plot"),
    ],
)
def test_a_file_changed_by_hand_is_named(study, name, step):
    """Also where the summary still reads the same."""
    (path,) = (study / "results").glob(name)
    path.write_bytes(path.read_bytes() + b"\n")
    sentence = f"{path} was changed after the step {step}; delete it and run snakemake again."
    assert verify(study / "results") == (4, [sentence])


def test_changed_settings_of_a_run_are_named(study):
    path = study / f"results/runs/{RUN}/cfg.yaml"
    replace(path, "epochs: 1", "epochs: 2")
    _, (problem,) = verify(study / "results")
    assert problem.startswith(f"{path} was changed after the step train;")


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        (f"{RUN},", "vq/beta_7/seed_0,", "vq/beta_7/seed_0"),
        (",ok,1,", ",ok,2,", "none/beta_0/seed_0"),
        ("val_loss", "loss", "all runs"),
        (",ok,", ",missing,", "none/beta_0/seed_0"),
    ],
)
def test_a_changed_summary_is_named(study, old, new, runs):
    """Another number than in the facts, another run, another column or another status."""
    summary = study / "results/summary.csv"
    replace(summary, old, new)
    _, (problem,) = verify(study / "results")
    assert problem.startswith(f"{summary} does not say what the facts of {runs} say; delete it")


def test_a_summary_in_another_order_is_named(study):
    summary = study / "results/summary.csv"
    header, first, second, *rest = summary.read_text().splitlines(keepends=True)
    summary.write_text("".join([header, second, first, *rest]))
    _, (problem,) = verify(study / "results")
    assert "the facts of vq/beta_0/seed_0, none/beta_0/seed_0 say" in problem
    summary.write_text("".join([header, first, second, *rest, "\n"]))
    _, (problem,) = verify(study / "results")
    assert "the facts of all runs" in problem


def test_better_facts_are_named_though_the_summary_follows_them(study):
    """Whoever edits the facts and collects again has the numbers of no training."""
    facts = study / f"results/runs/{RUN}/facts/metrics_test.csv"
    replace(facts, ",rec_tokens,all,", ",rec_tokens,all,9")
    study.run("results/summary.csv", "--forcerun", "collect")
    _, problems = verify(study / "results")
    assert problems == [
        f"{facts} was changed after the step evaluate; delete it and run snakemake again."
    ]


def test_runs_of_different_data_are_named(study):
    path = study / f"results/runs/{RUN}/facts/manifest_train.json"
    replace(path, '"packed data": "', '"packed data": "0')
    _, (problem,) = verify(study / "results")
    assert "trained on 2 data sets" in problem


def test_a_damaged_manifest_and_missing_baselines_are_named(study):
    """They do not end the check of the other runs."""
    manifest = study / f"results/runs/{RUN}/facts/manifest_train.json"
    manifest.write_text("{", encoding="utf-8")
    shutil.rmtree(study / "results/data")
    number, problems = verify(study / "results")
    assert number == 4
    assert problems[0].startswith(f"{manifest} cannot be read as a manifest")
    assert "1 data sets, of which 0 have baselines" in problems[1]


def test_settings_of_another_study_are_named(study):
    """And so is a study that has forgotten its settings."""
    path = study / "results/study.yaml"
    replace(path, "codebook_size: 8", "codebook_size: 9")
    _, problems = verify(study / "results")
    assert len(problems) == 2
    assert all("vq/" in p and "other settings than study.yaml; run" in p for p in problems)
    path.write_text("{", encoding="utf-8")
    assert "cannot be read as YAML" in verify(study / "results")[1][0]
    path.unlink()
    assert "study.yaml is missing; run snakemake" in verify(study / "results")[1][0]


def test_without_a_summary_it_says_what_to_do(study):
    (study / "results/summary.csv").unlink()
    with pytest.raises(UserError, match=r"summary\.csv .*run snakemake again"):
        verify(study / "results")
