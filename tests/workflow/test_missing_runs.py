"""Runs that failed or are missing: finished runs are shown, the others marked and made later."""

import shutil

import pandas as pd
import pytest

from globals_heads.plot.figures import FIGURES

RUN = "vq/beta_1/seed_0"
OTHERS = {"none/beta_0/seed_0", "vq/beta_0/seed_0", "none/beta_1/seed_0"}
FILES_OF_OTHERS = [f"results/runs/{run}/**/*" for run in sorted(OTHERS)]
PARTIAL = ("--config", "missing_runs=show")


def statuses(study):
    table = pd.read_csv(study / "results/summary.csv")
    return dict(zip(table["run"], table["status"], strict=True))


def rows_without_timings(study):
    header, *rows = (study / "results/summary.csv").read_text(encoding="utf-8").splitlines()
    assert header.endswith(",epoch_time_s,throughput,peak_memory_mib")
    return [row.rsplit(",", 3)[0] for row in rows]


def test_deleted_run(study):
    """A deleted run is marked as missing and not trained; the plain command trains it alone."""
    shutil.rmtree(study / f"results/runs/{RUN}")
    before = study.contents(*FILES_OF_OTHERS)
    heatmap = "results/figures/heatmap_rec_tokens.svg"
    assert "] train " not in study.run("results/verdict.md", heatmap, *PARTIAL)
    assert study.contents(*FILES_OF_OTHERS) == before
    assert statuses(study) == dict.fromkeys(OTHERS, "ok") | {RUN: "missing"}
    assert "missing" in (study / "results/verdict.md").read_text(encoding="utf-8")
    assert f"{RUN} missing" in (study / heatmap).read_text(encoding="utf-8")
    assert study.plan().runs["train"] == {f"runs/{RUN}"}


@pytest.mark.slow
def test_deleted_run_made_again(study):
    """Every figure marks a deleted run; the plain command makes the same results again."""
    rows = rows_without_timings(study)
    files = study.contents("results/runs/**/*").keys()
    shutil.rmtree(study / f"results/runs/{RUN}")
    before = study.contents(*FILES_OF_OTHERS)
    study.run(*PARTIAL)
    drawings = {path.stem: path for path in (study / "results/figures").glob("*.svg")}
    assert drawings.keys() == FIGURES.keys() - {"latent_dim", "variants", "downstream"}
    for name, path in drawings.items():
        assert f"{RUN} missing" in path.read_text(encoding="utf-8"), name
        assert path.with_suffix(".png").is_file()
        assert path.with_suffix(".csv").is_file()
    assert not study.plan(*PARTIAL), "a second time there is nothing to do"

    # The plain command trains the missing run alone, to the same numbers, and shows it everywhere.
    study.run()
    assert study.contents(*FILES_OF_OTHERS) == before
    assert study.contents("results/runs/**/*").keys() == files
    assert rows_without_timings(study) == rows
    for name, path in drawings.items():
        assert "no result" not in path.read_text(encoding="utf-8"), name
    assert not study.plan()


KILLED = f"""

_run_lock = run_lock


def run_lock(folder, *rest):
    import signal

    if str(folder).endswith("{RUN}"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _run_lock(folder, *rest)
"""


@pytest.mark.slow
def test_failed_trainings(study):
    """With --keep-going the other runs finish, and the plain command makes the failed ones again.

    One training is killed, one finds a damaged cfg.yaml and says so in one sentence.
    """
    damaged = "vq/beta_0/seed_0"
    for run in (RUN, "none/beta_1/seed_0"):
        shutil.rmtree(study / f"results/runs/{run}")
    settings = study / f"results/runs/{damaged}/cfg.yaml"
    settings.write_text("{", encoding="utf-8")
    # An edit of this module trains nothing again, so that the others stay as they are.
    path = study / "src/globals_heads/files.py"
    good = path.read_text(encoding="utf-8")
    path.write_text(good + KILLED, encoding="utf-8")
    output = study.fail("--keep-going")
    assert f"{damaged}/cfg.yaml cannot be read as YAML" in output
    path.write_text(good, encoding="utf-8")
    study.run("results/verdict.md", *PARTIAL)
    lost = {RUN: "missing", damaged: "missing"}
    assert statuses(study) == dict.fromkeys(OTHERS, "ok") | lost
    settings.unlink()  # as the message says
    plan = study.plan()
    assert plan.runs["train"] == plan.runs["evaluate"] == {f"runs/{run}" for run in lost}


@pytest.mark.slow
def test_runs_of_other_settings(study):
    """Runs that the study with these settings would not make count as missing."""
    study.run("results/summary.csv", "--config", "missing_runs=show", "epochs=2")
    assert set(statuses(study).values()) == {"missing"}
    next(study.path.glob("results/data/tokens-*/packed.h5")).unlink()  # which harms nothing
    study.run("results/summary.csv", *PARTIAL)
    assert set(statuses(study).values()) == {"ok"}


def test_nothing_finished(empty_study):
    """Without any finished run there is a table, a verdict and a figure of missing runs."""
    figure = "results/figures/heatmap_val_loss.svg"
    empty_study.run("--until", "pack")
    empty_study.run("results/verdict.md", figure, *PARTIAL)
    assert set(statuses(empty_study).values()) == {"missing"}
    assert (empty_study / "results/verdict.md").is_file()
    assert "no result: " in (empty_study / figure).read_text(encoding="utf-8")
