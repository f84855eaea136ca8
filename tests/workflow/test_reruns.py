"""What a change makes again, and what it leaves alone, in a finished tiny study."""

import os
import shutil
import time

import h5py
import pytest

RUNS = {f"{space}/beta_{beta}/seed_0" for space in ("none", "vq") for beta in (0, 1)}
VQ_RUNS = {run for run in RUNS if run.startswith("vq")}
OF_TABLES = {"plot_heatmap", "plot_tradeoff", "plot_chain"}
OF_EPOCHS = {"plot_learning_curves", "plot_codebook"}
# Those of the whole grid look at the summary, which knows what became of each run.
OF_SUMMARY = {*OF_TABLES, *OF_EPOCHS, "plot_met", "plot_residuals"}
PLOTS = {"plot_run", *OF_SUMMARY}
ANSWERS = {"compare"}
RUN = "vq/beta_1/seed_0"


def edit(study, module, text="\n_EDITED = True\n"):
    """Append `text` to a module of the study's copy of the package."""
    path = study / "src/globals_heads" / module
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def touch(*paths):
    for path in paths:
        os.utime(path, (time.time(), time.time()))


def test_commands_use_the_copied_package(study):
    """The edits of the tests below reach the code that runs."""
    edit(study, "settings.py", '\nraise SystemExit("edited")\n')
    assert "edited" in study.fail("-n")


def test_nothing_changed(study):
    """A finished study that was moved to another folder is up to date, also without profile."""
    assert not study.plan()
    assert not study.plan(profile=None)
    assert not study.plan("-s", "workflow/Snakefile")


def test_touched_files(study):
    """A checkout gives sources and configs new time stamps; that makes nothing again."""
    folders = ("src", "config", "workflow", "profiles", "envs")
    touch(*(path for folder in folders for path in (study / folder).rglob("*")))
    touch(study / "Snakefile", study / "tiny.yaml")
    assert not study.plan()


def test_touched_data_file(study):
    """A touched token file is the same data."""
    touch(study / "tokens.h5")
    assert not study.plan()


def test_absolute_data_path(study):
    """The same token file by its absolute path is the same data."""
    assert not study.plan("--config", f"data={study / 'tokens.h5'}")


def test_plot_setting(study):
    """A plot setting draws every figure again and nothing else."""
    assert study.plan(overlay={"plot": {"dpi": 80}}).keys() == PLOTS


def test_checkpoint_interval(study):
    """How often a training saves does not decide what comes out."""
    assert not study.plan("--config", "checkpoint_minutes=1")


def test_epochs_on_the_command_line(study):
    """`--config epochs=2` trains every run again, on the same packed data."""
    plan = study.plan("--config", "epochs=2")
    assert plan.runs["train"] == plan.runs["evaluate"] == RUNS
    assert "pack" not in plan


@pytest.mark.parametrize(
    "overlay",
    [
        {"model": {"latent_dim": 5}},
        {"train": {"learning_rate": "2e-3"}},
        {"pack": {"features": "raw"}},
    ],
    ids=["model", "train", "pack"],
)
def test_setting_of_all_runs(study, overlay):
    """A setting that every run depends on trains every run again."""
    plan = study.plan(overlay=overlay)
    assert plan.runs["train"] == plan.runs["evaluate"] == RUNS
    assert ("pack" in plan) == ("pack" in overlay)


def test_setting_of_one_latent_space(study):
    """A bottleneck setting trains the runs of its latent space alone."""
    plan = study.plan(overlay={"bottleneck": {"vq": {"codebook_size": 16}}})
    assert plan.runs["train"] == plan.runs["evaluate"] == VQ_RUNS


def test_setting_of_an_unused_latent_space(study):
    """A bottleneck setting of a latent space outside the grid makes nothing again."""
    assert not study.plan(overlay={"bottleneck": {"fsq": {"levels": [4, 4]}}})


def test_more_seeds(study):
    """More seeds train the new runs alone."""
    plan = study.plan("--config", "seeds=3")
    assert plan.runs["train"] == {
        run.replace("seed_0", f"seed_{s}") for run in RUNS for s in (1, 2)
    }
    assert plan.runs["evaluate"] == plan.runs["train"]


def test_new_globals_beta(study):
    """A new weight trains one run per latent space; 1.0 is still 1."""
    plan = study.plan(overlay={"globals_beta": [0, 0.5, 1.0]})
    assert plan.runs["train"] == {"none/beta_0.5/seed_0", "vq/beta_0.5/seed_0"}


def test_new_latent_space(study):
    """A new latent space trains one run per weight."""
    plan = study.plan(overlay={"latent_space": ["none", "linear", "vq"]})
    assert plan.runs["train"] == {"linear/beta_0/seed_0", "linear/beta_1/seed_0"}


def test_other_order_of_axes(study):
    """The order of the axes decides numbers and pictures, not what is trained."""
    plan = study.plan(overlay={"latent_space": ["vq", "none"]})
    assert {"link_runs", "collect", "plot_heatmap"} <= plan.keys()
    assert not plan.keys() & {"train", "evaluate", "plot_run"}


def test_smaller_grid(study):
    """A value taken away trains nothing and deletes nothing."""
    plan = study.plan(overlay={"globals_beta": [1]})
    assert "collect" in plan
    assert not plan.keys() & {"configure", "train", "evaluate", "plot_run"}


def test_edited_comments(study):
    """A comment in any module makes nothing again."""
    for path in (study / "src/globals_heads").rglob("*.py"):
        edit(study, path.relative_to(study / "src/globals_heads"), "\n# A comment.\n")
    assert not study.plan()


EVERYTHING_LEARNED = {"train", "evaluate", "collect", *ANSWERS, *PLOTS}


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("evaluate/evaluate.py", {"evaluate", "collect", *ANSWERS, *OF_SUMMARY}),
        ("evaluate/baselines.py", {"baselines", "collect", *ANSWERS, *OF_SUMMARY}),
        ("train/model.py", EVERYTHING_LEARNED),
        ("train/train.py", EVERYTHING_LEARNED),
        ("train/bottlenecks.py", EVERYTHING_LEARNED),
        ("packing.py", {"pack", *EVERYTHING_LEARNED}),
        ("compare/style.py", PLOTS),
        ("compare/grid_figures.py", {"plot_heatmap", "plot_tradeoff"}),
        ("compare/epoch_figures.py", {"plot_run", *OF_EPOCHS}),
        ("compare/physics_figures.py", {"plot_chain", "plot_met", "plot_residuals"}),
        ("compare/variant_figures.py", set()),
        ("compare/summary.py", {"collect", *ANSWERS, *PLOTS}),
        ("settings.py", set()),
        ("stopping.py", set()),
        ("cli.py", set()),
    ],
)
def test_edited_module(study, module, rules):
    """An edit of the package makes again what imports the edited module, for every run."""
    edit(study, module)
    plan = study.plan()
    # Baselines are measured with functions of evaluation, and so with what that imports.
    assert rules <= plan.keys() <= rules | {"baselines"}
    for rule in {"train", "evaluate"} & rules:
        assert plan.runs[rule] == RUNS


def test_packed_file_deleted(study):
    """Packed data that no unfinished run needs may go: nothing is trained."""
    next(study.path.glob("results/data/*/packed.h5")).unlink()
    assert not study.plan().keys() & {"train", "evaluate"}


def test_data_folder_deleted(study):
    """The same holds for the whole folder of the data."""
    shutil.rmtree(study / "results/data")
    plan = study.plan()
    assert not plan or {"pack", "baselines"} <= plan.keys()
    assert not plan.keys() & {"train", "evaluate"}


def test_other_data(study):
    """Other content trains all runs on a packed file of its own and keeps the one before."""
    (old,) = study.path.glob("results/data/*/packed.h5")
    content = old.read_bytes()
    with h5py.File(study / "tokens.h5", "r+") as file:
        file["X_train"][0, 18] += 1
    plan = study.plan()
    assert plan["pack"] == 1
    assert plan.runs["train"] == plan.runs["evaluate"] == RUNS
    study.run("--until", "pack")
    assert len(list(study.path.glob("results/data/*/packed.h5"))) == 2
    assert old.read_bytes() == content


@pytest.mark.parametrize(
    ("deleted", "rules"),
    [
        (f"results/runs/{RUN}", {"configure", "train", "evaluate", "plot_run"}),
        (f"results/runs/{RUN}/cfg.yaml", {"configure", "train", "evaluate", "plot_run"}),
        (f"results/runs/{RUN}/model.pt", {"train", "evaluate", "plot_run"}),
        (f"results/runs/{RUN}/run.log", {"train", "evaluate", "plot_run"}),
        (f"results/runs/{RUN}/facts/metrics_train.csv", {"train", "evaluate", "plot_run"}),
        (f"results/runs/{RUN}/facts/metrics_val.csv", {"train", "evaluate", "plot_run"}),
        (f"results/runs/{RUN}/facts/metrics_test.csv", {"evaluate"}),
        (f"results/runs/{RUN}/figures", {"plot_run"}),
        (f"results/runs/{RUN}/figures/curves.svg", {"plot_run"}),
        (f"results/runs/{RUN}/figures/curves.png", {"plot_run"}),
        (f"results/runs/{RUN}/figures/curves.csv", {"plot_run"}),
    ],
    ids=lambda value: value.removeprefix(f"results/runs/{RUN}") if isinstance(value, str) else "",
)
def test_deleted_part_of_a_run(study, deleted, rules):
    """What is deleted of a run is planned again, with training where needed, for that run alone."""
    path = study / deleted
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    plan = study.plan()
    assert plan.runs.keys() == rules
    assert all(runs == {RUN} for runs in plan.runs.values())


def test_deleted_run_is_made_again(study):
    """A deleted run comes back equal but for its timings, and the others are not touched."""
    before = study.contents("results/runs/**/*", "results/summary.csv")
    shutil.rmtree(study / f"results/runs/{RUN}")
    study.run("results/summary.csv", f"results/runs/{RUN}/figures/curves.svg")
    after = study.contents("results/runs/**/*", "results/summary.csv")
    assert after.keys() == before.keys()
    changed = {path for path in before if before[path] != after[path]}
    assert all(path.startswith((f"results/runs/{RUN}/", "results/summary")) for path in changed)
    header, *old = before["results/summary.csv"].decode().splitlines()
    _, *new = after["results/summary.csv"].decode().splitlines()
    assert header.endswith(",epoch_time_s,throughput,peak_memory_mib")
    assert [row.rsplit(",", 3)[0] for row in old] == [row.rsplit(",", 3)[0] for row in new]
    assert study.plan().keys() <= PLOTS | ANSWERS


@pytest.mark.parametrize(
    ("deleted", "rules"),
    [
        ("results/by_number", {"link_runs"}),
        ("results/comparison.csv", {"compare", *OF_TABLES}),
        ("results/summary.csv", {"collect", *ANSWERS, *OF_SUMMARY}),
        ("results/figures/heatmap_val_loss.svg", {"plot_heatmap"}),
        ("results/figures/tradeoff.csv", {"plot_tradeoff"}),
        ("results/figures/learning_curves.png", {"plot_learning_curves"}),
    ],
)
def test_deleted_comparison(study, deleted, rules):
    """A deleted table, figure or folder of links is planned again, and no run."""
    path = study / deleted
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert study.plan().keys() == rules


def test_collect_is_reproducible(study):
    """Made again from the same facts, the summary and its picture have the same bytes."""
    figure = "results/figures/heatmap_val_loss.svg"
    before = study.contents("results/summary.csv", "results/figures/*")
    output = study.run(figure, "--forcerun", "collect")
    assert "rule collect" in output
    assert "rule plot_heatmap" in output
    assert study.contents("results/summary.csv", "results/figures/*") == before


def test_failed_training_keeps_its_log(study):
    """What a training printed before it failed is on the terminal and in a file."""
    failing = "print('[1/2] val_loss=1', flush=True)\n    raise ValueError('out of luck')"
    edit(study, "train/train.py", f"\n\ndef train(*_):\n    {failing}\n")
    process = study.snakemake(f"results/runs/{RUN}/model.pt")
    assert process.returncode == 1
    assert "[1/2] val_loss=1\n" in process.stdout
    assert "out of luck" in process.stdout
    logs = study.contents(f"results/**/{RUN}.log", f"results/runs/{RUN}/run.log")
    assert any(b"[1/2] val_loss=1\n" in log for log in logs.values())
