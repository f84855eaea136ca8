"""Token files that say how much of MET the objects know: all of it, or nothing.

Both go through the steps of the workflow, as it calls them.
"""

import json

import numpy as np
import pytest
import yaml
from random_events import OBJECT_TYPES
from typer.testing import CliRunner

from globals_heads.cli import app
from globals_heads.data.events import NUM_SLOTS, Events
from globals_heads.data.token_file import write_token_file
from globals_heads.facts import RunFolder
from globals_heads.settings import Settings
from globals_heads.tables import read_summary

MET_RMS_GEV = 60.0  # per component


def step(*arguments):
    """Run one step of the study in this process."""
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == 0, found.output


def run_study(folder, study, splits):
    """Pack, train, evaluate and compare `study` on `splits`; return its summary and verdict."""
    object_types = json.dumps(OBJECT_TYPES)
    tokens, packed, summary = (folder / n for n in ("tokens.h5", "packed.h5", "summary.csv"))
    baselines, errors = folder / "baselines.csv", folder / "events_test.npz"
    write_token_file(tokens, splits, OBJECT_TYPES, {})
    settings = ("--settings", study.pack.model_dump_json())
    step("pack", tokens, packed, *settings, "--object-types", object_types)
    settings = ("--settings", study.globals_only_network.model_dump_json())
    made = ("--errors", errors, "--manifest", folder / "manifest.json")
    step("baselines", baselines, *made, "--data", packed, *settings)
    for key in study.runs:
        run = RunFolder.of(folder, key.name)
        run.path.mkdir(parents=True)
        run.settings.write_text(yaml.safe_dump(study.run_settings(key).model_dump()))
        step("train", run.path, "--data", packed)
        step("evaluate", run.path, "--data", packed)
    measured = ("--results", folder, "--baselines", folder)
    step("collect", summary, *measured, "--grid", study.grid.model_dump_json())
    step("compare", *measured, "--settings", study.compare.model_dump_json())
    return read_summary(summary), json.loads((folder / "verdict.json").read_text())


def draw_objects(rng, num_events):
    """Return types and objects: four to 18, falling pT, central, mostly jets and b-jets."""
    real = np.arange(NUM_SLOTS) < np.clip(rng.poisson(9, num_events), 4, NUM_SLOTS)[:, None]
    shares = [0.52, 0.30, 0.04, 0.04, 0.04, 0.04, 0.02]
    types = np.where(real, rng.choice(7, real.shape, p=shares) + 1, 0).astype(np.uint8)
    pt = 25 + rng.exponential(50, real.shape)
    eta = np.clip(rng.normal(0, 1.2, real.shape), -2.5, 2.5)
    phi = rng.uniform(-np.pi, np.pi, real.shape)
    energy = pt * np.cosh(eta) * (1 + rng.exponential(0.01, real.shape))
    return types, np.stack([energy, pt, eta, phi], axis=-1) * real[..., None]


def exact_met(objects):
    """Return MET as minus the vector sum of the objects."""
    pt, phi = objects[..., 1], objects[..., 3]
    return -np.column_stack([(pt * np.cos(phi)).sum(axis=1), (pt * np.sin(phi)).sum(axis=1)])


def random_met(rng, num_events):
    """Return MET that nobody can know, of the same mean square in every split.

    Without that, an error in units of the training split's spread would be a ratio of two chance
    spreads: some 5 % off 1 for a thousand events, which says nothing about a model.
    """
    met = rng.normal(size=(num_events, 2))
    return MET_RMS_GEV * met / np.sqrt(np.mean(met**2))


def draw_splits(sizes, make_met):
    """Return the three splits; `make_met` is given the generator and the objects."""
    rng, splits = np.random.default_rng(0), {}
    for name, size in zip(("train", "val", "test"), sizes, strict=True):
        types, objects = draw_objects(rng, size)
        met = make_met(rng, objects)
        polar = np.column_stack([np.hypot(*met.T), np.arctan2(*met.T[::-1])])
        splits[name] = Events(types, objects, polar, np.ones(size, dtype=np.int64))
    return splits


def test_a_met_that_the_objects_know_is_found(tmp_path):
    """Trained head and probe read it off the continuous latents of the default network.

    The default study takes 2000 steps and reaches 0.005 to 0.02; smaller batches make 640 steps
    of a thousand events, which is enough for about 0.01.
    """
    study = Settings(
        latent_space=["none", "linear"], globals_beta=[1, 10], train={"batch_size": 32}
    )
    splits = draw_splits((1000, 300, 500), lambda _, objects: exact_met(objects))
    table, _ = run_study(tmp_path, study, splits)
    assert len(table) == 4
    assert table["linear_fit_rec_globals"].max() < 1e-6  # the relation is really in the file
    assert table["rec_globals"].max() < 0.05, "the trained head"
    assert table["probe_rec_globals"].max() < 0.05, "the ridge probe"


@pytest.fixture(scope="module")
def unknowable(tmp_path_factory):
    """The summary and verdict of five seeds of the whole grid with a random MET.

    The network is small because nothing there is to be learned well: 45 runs take some seconds.
    """
    study = Settings(
        seeds=5,
        epochs=3,
        model={"latent_dim": 8, "hidden_dims": [32]},
        bottleneck={"vq": {"codebook_size": 64}},
        train={"batch_size": 64},
    )
    splits = draw_splits((1000, 500, 1000), lambda rng, objects: random_met(rng, len(objects)))
    return run_study(tmp_path_factory.mktemp("unknowable"), study, splits)


@pytest.mark.slow
def test_a_random_met_is_read_nowhere(unknowable):
    """A constant leaves 1; the probe's 8 slopes fitted on 1000 events add or take about 0.01."""
    table, _ = unknowable
    assert len(table) == 45
    assert table["training_mean_rec_globals"].iloc[0] == pytest.approx(1, abs=0.01)
    assert table["probe_rec_globals"].min() > 0.96
    # The trained heads find nothing either; at beta 0 the head is as it was drawn.
    assert table["rec_globals"].min() > 0.96


@pytest.mark.slow
def test_a_random_met_is_claimed_by_nobody(unknowable):
    _, verdict = unknowable
    answers = {}
    for claim in verdict["claims"]:
        answers.setdefault(claim["claim"], []).append(claim["answer"])
    assert [len(answers[claim]) for claim in ("1", "2", "2b", "2c")] == [3, 3, 3, 9]
    assert set(answers["1"]) == {"yes"}, "globals_beta has no effect: true"
    assert set(answers["2"] + answers["2b"]) == {"no"}, "the head works, emphasis pays: false"
    # False, too, but by so little that "not resolved" is as right as "no".
    assert "yes" not in answers["2c"], "the head is useful"
