"""What a change makes again, and what it leaves alone, in a finished tiny study."""

import ast
import os
import shutil
import time

import h5py
import pytest

from globals_heads.provenance import NEUTRAL

RUNS = {f"runs/{space}/beta_{beta}/seed_0" for space in ("none", "vq") for beta in (0, 1)}
VQ_RUNS = {run for run in RUNS if run.startswith("runs/vq")}
RUN = "runs/vq/beta_1/seed_0"
PLOTS = {"plot_run", "plot"}
AFTER_SUMMARY = {"compare", "plot"}
AFTER_EVALUATE = {"collect", *AFTER_SUMMARY}
LEARNED = {"train", "evaluate", "baselines", "plot_run", *AFTER_EVALUATE}


def edit(study, module, text="\n_EDITED = True\n"):
    """Append `text` to a module of the study's copy of the package."""
    path = study / f"src/globals_heads/{module.replace('.', '/')}.py"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def edit_messages(path):
    """Change the text of each `UserError` in a source file; return their number."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    messages = [
        node.args[0]
        for node in ast.walk(ast.parse("".join(lines)))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "UserError"
    ]
    # From the last to the first, so that the places of the others stay right.
    for message in sorted(messages, key=lambda node: (-node.lineno, -node.col_offset)):
        line = lines[message.lineno - 1].encode()
        before, after = line[: message.col_offset].decode(), line[message.col_offset :].decode()
        lines[message.lineno - 1] = before + after.replace('"', '"Sorry: ', 1)
    path.write_text("".join(lines), encoding="utf-8")
    return len(messages)


def delete(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_commands_use_the_copied_package(study):
    """The edits of the tests below reach the code that runs."""
    edit(study, "settings", '\nraise SystemExit("edited")\n')
    assert "edited" in study.fail("-n")


def test_nothing_changed(study):
    """A finished study that was moved to another folder is up to date, also without profile."""
    assert not study.plan(profile=None)
    assert not study.plan("-s", "workflow/Snakefile")


def test_changes_without_effect(study):
    """Time stamps, comments and spellings of paths make nothing again.

    Neither do settings of a latent space outside the grid.
    """
    for path in (study / "src/globals_heads").rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n# A comment.\n", encoding="utf-8")
    now = time.time()
    for folder in ("src", "config", "workflow", "profiles", "envs"):
        for path in (study / folder).rglob("*"):
            os.utime(path, (now, now))
    for name in ("Snakefile", "tiny.yaml", "tokens.h5"):
        os.utime(study / name, (now, now))
    overlay = {"bottleneck": {"fsq": {"levels": [4, 4]}}}
    assert not study.plan("--config", f"data={study / 'tokens.h5'}", overlay=overlay)


def test_edits_without_effect(study):
    """A message in any module makes nothing again, nor does code that changes no result."""
    package = study / "src/globals_heads"
    numbers = {path.parent.name: 0 for path in package.rglob("*.py")}
    for path in package.rglob("*.py"):
        numbers[path.parent.name] += edit_messages(path)
    assert min(numbers[folder] for folder in ("globals_heads", "data", "train", "evaluate")) > 0
    for module in (*NEUTRAL, "cli", "verify"):
        edit(study, module)
    assert not study.plan()


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("packed", {"pack", *LEARNED}),
        ("train.model", LEARNED),
        ("evaluate.evaluate", {"evaluate", "baselines", *AFTER_EVALUATE}),
        ("evaluate.baselines", {"baselines", *AFTER_EVALUATE}),
        ("compare.summary", AFTER_EVALUATE),
        ("compare.verdict", AFTER_SUMMARY),
        ("plot.style", PLOTS),
    ],
)
def test_edited_module(study, module, rules):
    """An edit of a module makes the steps again that it decides, for every run."""
    edit(study, module)
    plan = study.plan()
    assert plan.keys() == rules
    for rule in {"train", "evaluate"} & rules:
        assert plan.runs[rule] == RUNS


def test_plot_setting(study):
    """A plot setting draws every figure again and nothing else."""
    assert study.plan(overlay={"plot": {"dpi": 80}}).keys() == PLOTS


def test_epochs_on_the_command_line(study):
    """`--config epochs=2` trains every run again, on the same packed data."""
    plan = study.plan("--config", "epochs=2")
    assert plan.runs["train"] == plan.runs["evaluate"] == RUNS
    assert "pack" not in plan


@pytest.mark.parametrize(
    ("overlay", "runs"),
    [
        ({"train": {"learning_rate": "2e-3"}}, RUNS),
        ({"pack": {"features": "raw"}}, RUNS),
        ({"bottleneck": {"vq": {"codebook_size": 16}}}, VQ_RUNS),
    ],
    ids=["train", "pack", "vq"],
)
def test_settings(study, overlay, runs):
    """A setting trains the runs again that depend on it."""
    plan = study.plan(overlay=overlay)
    assert plan.runs["train"] == plan.runs["evaluate"] == runs
    assert ("pack" in plan) == ("pack" in overlay)


def test_larger_grid(study):
    """New values of the axes and more seeds train the new runs alone; 1.0 is still 1."""
    axes = {"latent_space": ["none", "linear", "vq"], "globals_beta": [0, 0.5, 1.0], "seeds": 2}
    plan = study.plan(overlay=axes)
    runs = {
        f"runs/{space}/beta_{beta}/seed_{seed}"
        for space in ("none", "linear", "vq")
        for beta in ("0", "0.5", "1")
        for seed in (0, 1)
    }
    assert plan.runs["train"] == plan.runs["evaluate"] == runs - RUNS


def test_smaller_grid_in_another_order(study):
    """The order of an axis decides numbers and pictures; a value taken away deletes nothing."""
    plan = study.plan(overlay={"latent_space": ["vq", "none"], "globals_beta": [1]})
    assert {"link_runs", "collect", "plot"} <= plan.keys()
    assert not plan.keys() & {"configure", "train", "evaluate", "plot_run"}


def test_data_deleted(study):
    """Packed data that no unfinished run needs may go, and so may the folder of the data."""
    next(study.path.glob("results/data/*/packed.h5")).unlink()
    assert not study.plan().keys() & {"train", "evaluate"}
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


TRAINED = {"train", "evaluate", "plot_run"}


@pytest.mark.parametrize(
    "deleted",
    [
        {
            "": {"configure", *TRAINED},
            "cfg.yaml": {"configure", *TRAINED},
            "model.pt": TRAINED,
            "facts/metrics_test.csv": {"evaluate"},
        },
        {
            "run.log": TRAINED,
            "facts/metrics_train.csv": TRAINED,
            "facts/metrics_val.csv": TRAINED,
            "figures": {"plot_run"},
        },
        {
            "figures/curves.svg": {"plot_run"},
            "figures/curves.png": {"plot_run"},
            "figures/curves.csv": {"plot_run"},
            "facts/events_test.npz": {"evaluate"},
        },
    ],
)
def test_deleted_part_of_a_run(study, deleted):
    """What is deleted of a run is planned again, with training where needed, for that run alone."""
    expected = dict(zip(sorted(RUNS), deleted.values(), strict=True))
    for run, name in zip(sorted(RUNS), deleted, strict=True):
        delete(study / "results" / run / name)
    plan = study.plan()
    assert expected == {
        run: {rule for rule, runs in plan.runs.items() if run in runs} for run in RUNS
    }


def test_deleted_figures_and_links(study):
    """They are planned again, and nothing else."""
    delete(study / "results/by_number")
    for name in ("heatmap_val_loss.svg", "tradeoff.csv", "learning_curves.png"):
        delete(study / "results/figures" / name)
    assert study.plan() == {"link_runs": 1, "plot": 3}


@pytest.mark.parametrize(
    ("deleted", "rules"),
    [("comparison.csv", AFTER_SUMMARY), ("summary.csv", AFTER_EVALUATE)],
)
def test_deleted_table(study, deleted, rules):
    """A deleted table is planned again with what is made from it, and no run."""
    delete(study / "results" / deleted)
    assert study.plan().keys() == rules


def test_collect_is_reproducible(study):
    """Made again from the same facts, the summary and its picture have the same bytes."""
    figure = "results/figures/heatmap_val_loss.svg"
    files = (
        "results/summary.csv",
        *(f"results/figures/*.{kind}" for kind in ("svg", "png", "csv")),
    )
    before = study.contents(*files)
    output = study.run(figure, "--forcerun", "collect")
    assert "] collect results/summary.csv" in output
    assert "] plot results/figures/heatmap_val_loss." in output
    assert study.contents(*files) == before


def test_failed_training_keeps_its_log(study):
    """What a training printed before it failed is on the terminal and in a file."""
    failing = "print('[1/2] val_loss=1', flush=True)\n    raise ValueError('out of luck')"
    edit(study, "train.train", f"\n\ndef train(*_):\n    {failing}\n")
    process = study.snakemake(f"results/{RUN}/model.pt")
    assert process.returncode == 1
    assert "[1/2] val_loss=1\n" in process.stdout
    assert "out of luck" in process.stdout
    logs = study.contents(f"results/logs/**/{RUN}.log", f"results/{RUN}/run.log")
    assert any(b"[1/2] val_loss=1\n" in log for log in logs.values())
