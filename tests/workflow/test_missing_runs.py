"""Runs that failed or are missing: what is finished is shown with the holes, completed later."""

import shutil

import h5py
import pandas as pd

RUN = "vq/beta_1/seed_0"
OTHERS = {"none/beta_0/seed_0", "vq/beta_0/seed_0", "none/beta_1/seed_0"}
FILES_OF_OTHERS = [f"results/runs/{run}/**/*" for run in sorted(OTHERS)]
PARTIAL = ("--config", "missing_runs=show")
# Figures that show the run that is lost here.
FIGURES = {
    "heatmap_rec_tokens",
    "heatmap_probe_rec_globals",
    "heatmap_rec_globals",
    "heatmap_reco_objects_rec_globals",
    "heatmap_val_loss",
    "tradeoff",
    "chain",
    "met",
    "residuals",
    "learning_curves",
    "codebook",
}


def statuses(study):
    table = pd.read_csv(study / "results/summary.csv")
    return dict(zip(table["run"], table["status"], strict=True))


def check_partial(study):
    """`make partial` makes everything of what is finished, names the hole, and trains nothing."""
    before = study.contents(*FILES_OF_OTHERS)
    output = study.run(*PARTIAL)
    assert "rule train:" not in output
    assert study.contents(*FILES_OF_OTHERS) == before
    assert statuses(study) == dict.fromkeys(OTHERS, "ok") | {RUN: "missing"}
    assert "missing" in (study / "results/verdict.md").read_text(encoding="utf-8")
    drawings = {path.stem: path for path in (study / "results/figures").glob("*.svg")}
    assert drawings.keys() == FIGURES
    for name, path in drawings.items():
        assert f"{RUN} missing" in path.read_text(encoding="utf-8"), name
        assert path.with_suffix(".png").is_file()
        assert path.with_suffix(".csv").is_file()
    assert not study.plan(*PARTIAL), "a second time there is nothing to do"


def check_plan(study):
    """The plain command would train the hole alone."""
    plan = study.plan()
    assert plan.runs["train"] == plan.runs["evaluate"] == {RUN}


def check_completed(study):
    """The plain command trains the hole alone and shows it everywhere."""
    before = study.contents(*FILES_OF_OTHERS)
    check_plan(study)
    study.run()
    assert study.contents(*FILES_OF_OTHERS) == before
    assert set(statuses(study).values()) == {"ok"}
    for path in (study / "results/figures").glob("*.svg"):
        assert "no result" not in path.read_text(encoding="utf-8"), path.stem
    assert not study.plan()


def test_deleted_run(study):
    """A run that is gone is a hole until the plain command makes it again."""
    shutil.rmtree(study / f"results/runs/{RUN}")
    check_partial(study)
    check_completed(study)


def test_killed_training(study):
    """With --keep-going a training that is killed leaves a hole, and the others finish."""
    for run in (RUN, "none/beta_1/seed_0"):
        shutil.rmtree(study / f"results/runs/{run}")
    # An edit of this module trains nothing again, so that the others stay as they are.
    path = study / "src/globals_heads/files.py"
    good = path.read_text(encoding="utf-8")
    path.write_text(good + KILLED, encoding="utf-8")
    assert study.snakemake("--keep-going").returncode == 1
    path.write_text(good, encoding="utf-8")
    study.run("results/verdict.md", *PARTIAL)
    assert statuses(study) == dict.fromkeys(OTHERS, "ok") | {RUN: "missing"}
    check_plan(study)


KILLED = f"""

_run_lock = run_lock


def run_lock(folder, *rest):
    import signal

    if str(folder).endswith("{RUN}"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _run_lock(folder, *rest)
"""


def test_unreadable_settings(study):
    """A run whose cfg.yaml was damaged fails in one sentence, is a hole, and comes back."""
    settings = study / f"results/runs/{RUN}/cfg.yaml"
    settings.write_text("{", encoding="utf-8")
    output = study.fail("--keep-going")
    assert f"{RUN}/cfg.yaml is no YAML file that can be read" in output
    study.run("results/verdict.md", *PARTIAL)
    assert statuses(study)[RUN] == "missing"
    settings.unlink()  # as the message says
    check_plan(study)


def test_runs_of_other_settings_and_data(study):
    """Runs that the study as it is asked for would not make are holes, not results."""
    assert set(study_statuses(study, "epochs=2").values()) == {"missing"}
    shutil.copy(study / "tokens.h5", study / "other.h5")
    with h5py.File(study / "other.h5", "r+") as file:
        file["X_test"][0, 18] += 1
    assert set(study_statuses(study, "data=other.h5").values()) == {"missing"}
    next(study.path.glob("results/data/tokens-*/packed.h5")).unlink()  # which harms nothing
    assert set(study_statuses(study).values()) == {"ok"}


def study_statuses(study, *config):
    """Return the status of each run when only what is finished is shown."""
    study.run("results/summary.csv", "--config", "missing_runs=show", *config)
    return statuses(study)


def test_nothing_finished(empty_study):
    """Without any finished run there is a table, a verdict and every figure, all of holes."""
    empty_study.run(*PARTIAL)
    assert set(statuses(empty_study).values()) == {"missing"}
    assert (empty_study / "results/verdict.md").is_file()
    assert {path.stem for path in (empty_study / "results/figures").glob("*.svg")} == FIGURES
