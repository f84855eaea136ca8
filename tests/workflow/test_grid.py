"""The grid of the config is what is planned, named and numbered."""

import pytest

DATA = {"data": "tokens.h5"}
AXES = {
    "latent_space": ["none", "linear", "vq", "fsq", "residual_vq"],
    "globals_beta": [0, 0.25, 3],
    "seeds": 2,
}


def test_number_of_trainings(empty_study):
    """One training, evaluation and picture per latent space, weight and seed."""
    empty_study.configfiles = ()
    plan = empty_study.plan(overlay=DATA | AXES)
    assert plan["train"] == len(plan.runs["train"]) == 30
    assert plan["configure"] == plan["evaluate"] == plan["plot_run"] == 30
    assert plan["pack"] == 1


@pytest.mark.parametrize(
    ("profile", "options"),
    [
        (None, ()),
        ("profiles/slurm", ()),
        ("local", ()),
        ("local", ("-s", "workflow/Snakefile")),
    ],
)
def test_ways_to_start(empty_study, profile, options):
    """Bare, with either profile and through workflow/Snakefile, the same jobs are planned."""
    empty_study.configfiles = ()
    plan = empty_study.plan(*options, profile=profile)
    assert plan["train"] == 9  # the published grid
    assert plan["pack"] == plan["merge"] == 1
    assert plan["simulate"] == 16


def test_one_run_by_its_path(study):
    """`-f` with the path of a model plans that training and nothing else."""
    plan = study.plan("-f", "results/runs/vq/beta_1/seed_0/model.pt")
    assert plan == {"train": 1}
    assert plan.runs["train"] == {"runs/vq/beta_1/seed_0"}


WIDE = {
    "variants": {
        "wide": {
            "latent_space": ["vq"],
            "globals_beta": [0, 3],
            "model": {"latent_dim": 8},
        }
    }
}


@pytest.mark.parametrize(
    "run",
    [
        "runs/vq/beta_1.0/seed_0",
        "runs/vq/beta_3/seed_0",
        "runs_wide/none/beta_0/seed_0",
    ],
)
def test_run_outside_the_grid(study, run):
    """A run that the config does not name, or names otherwise, ends with one sentence.

    The axes of a variant are no axes of the plain grid, and the reverse.
    """
    output = study.fail(f"results/{run}/model.pt", "-n", overlay=WIDE)
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert f"results/{run} is no run of this study (did you mean results/runs" in error
    assert "Job stats" not in output


@pytest.mark.parametrize(
    ("overlay", "num_runs", "in_variants"),
    [("config/controls.yaml", 27 + 18, 18), ("config/latent_dim.yaml", 9 + 18, 18)],
)
def test_variants_of_the_overlays(empty_study, overlay, num_runs, in_variants):
    """A variant adds runs of its own beside the plain grid, through the same rules."""
    empty_study.configfiles = (overlay,)
    plan = empty_study.plan(overlay=DATA)
    runs = plan.runs["train"]
    assert plan["train"] == plan["evaluate"] == len(runs) == num_runs
    assert sum(run.startswith("runs_") for run in runs) == in_variants


def test_a_variant_trains_its_own_runs_only(study):
    """Its folder bears its name, and one run is made by its path."""
    plan = study.plan(overlay=WIDE)
    runs = {f"runs_wide/vq/beta_{beta}/seed_0" for beta in (0, 3)}
    assert plan.runs["train"] == plan.runs["evaluate"] == runs
    assert "link_runs" not in plan
    run = "runs_wide/vq/beta_3/seed_0"
    assert study.plan(f"results/{run}/model.pt", overlay=WIDE).runs["train"] == {run}


def test_numbers_of_runs(finished):
    """The links count row by row: rows are globals_beta, columns latent_space."""
    numbered = ["none/beta_0", "vq/beta_0", "none/beta_1", "vq/beta_1"]
    links = {path.name: path for path in (finished / "results/by_number").glob("[0-9]*")}
    assert links.keys() == {"0", "1", "2", "3"}
    for number, cell in enumerate(numbered):
        link = links[str(number)]
        assert not link.readlink().is_absolute()
        assert link.resolve() == (finished / f"results/runs/{cell}/seed_0").resolve()
        assert "val_loss=" in (link / "run.log").read_text(encoding="utf-8")


def test_links_before_any_run(empty_study):
    """The links can be made first, so that they show the runs while they train."""
    empty_study.run("results/by_number")
    assert (empty_study / "results/by_number/3").is_symlink()
    assert not (empty_study / "results/runs/vq/beta_1/seed_0/model.pt").exists()


def test_canonical_spelling(empty_study):
    """However a weight is spelled in the config, its folder has one name."""
    plan = empty_study.plan(overlay='globals_beta: [0.0, 1.0, "5e-1", 1e1]')
    assert plan.runs["train"] == {
        f"runs/{space}/beta_{beta}/seed_0"
        for space in ("none", "vq")
        for beta in ("0", "1", "0.5", "10")
    }
