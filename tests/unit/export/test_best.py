"""The chosen run: which one it is, its overlay and its card."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from planted_facts import plant_grid, write_tables

from globals_heads.errors import UserError
from globals_heads.export.best import choose_run, copy_best, overlay
from globals_heads.facts import RunFolder, write_arrays
from globals_heads.numbers import level
from globals_heads.settings import ChooseSettings, Grid, PackSettings, RunKey, Settings

LOSSES = {"none/beta_1": [0.3, 0.1, 0.2, 0.4], "vq/beta_0.5": [0.9, 0.7, 0.8]}


@pytest.fixture
def tables(tmp_path):
    """A summary with these losses, and a verdict whose balanced cell is vq/beta_0.5."""
    rows = [
        {"run": f"{cell}/seed_{seed}", "seed": seed, "val_loss": loss, "variant": ""}
        | dict(zip(("latent_space", "globals_beta"), cell.split("/beta_"), strict=True))
        for cell, losses in LOSSES.items()
        for seed, loss in enumerate(losses)
    ]
    lines = [
        {"claim": "M2", "best": "vq/beta_0.5", "rule": "smallest rec_tokens"},
        {"claim": "M4", "best": None, "rule": "smallest of none"},
    ]
    (tmp_path / "verdict.json").write_text(json.dumps({"matrix": lines}))
    return pd.DataFrame(rows).assign(status="ok"), tmp_path / "verdict.json"


def chosen(tables, **choose):
    key, reason = choose_run(ChooseSettings(**choose), *tables)
    return key.name, reason


def test_a_priority_takes_its_best_cell_and_the_median_seed(tables):
    name, reason = chosen(tables, priority="balanced")
    assert name == "vq/beta_0.5/seed_2"
    assert "priority balanced: smallest rec_tokens" in reason
    assert "median of 3 seeds" in reason


def test_a_cell_may_be_named(tables):
    """Of four seeds, the better one of the middle two."""
    cell = {"latent_space": "none", "globals_beta": 1}
    assert chosen(tables, **cell)[0] == "none/beta_1/seed_2"
    name, reason = chosen(tables, **cell, seed=3)
    assert name == "none/beta_1/seed_3"
    assert "median" not in reason


def test_runs_without_numbers_are_not_chosen(tables):
    summary, verdict = tables
    summary.loc[summary["run"] == "vq/beta_0.5/seed_2", ["status", "val_loss"]] = "diverged", np.nan
    assert chosen((summary, verdict))[0] == "vq/beta_0.5/seed_1"
    summary.loc[summary["run"] == "vq/beta_0.5/seed_1", "variant"] = "control"
    assert chosen((summary, verdict))[0] == "vq/beta_0.5/seed_0"


@pytest.mark.parametrize(
    ("choose", "part"),
    [
        ({"priority": "interpretable"}, r"No cell qualifies for .*\(smallest of none\)"),
        ({"latent_space": "fsq", "globals_beta": 1}, "fsq/beta_1, which is no finished run"),
        ({"seed": 7}, "seed_7, which is no finished run .* none/beta_1/seed_0, none"),
    ],
)
def test_what_is_not_there_is_named(tables, choose, part):
    with pytest.raises(UserError, match=part):
        chosen(tables, **choose)


def test_the_overlay_is_the_study_of_the_cell():
    plain = Settings()
    study = Settings(
        latent_space=["none", "residual_vq"],
        epochs=3,
        pack=PackSettings(features="raw"),
        model={"latent_dim": 64},
        bottleneck={"residual_vq": {"codebook_size": 32}},
    )
    settings = study.run_settings(RunKey(latent_space="residual_vq", globals_beta=0.5, seed=0))
    made = Settings.model_validate(yaml.safe_load(yaml.safe_dump(overlay(settings, study.pack))))
    (key,) = made.runs
    assert made.run_settings(key) == settings
    assert made.pack == study.pack
    assert made.plot == plain.plot


def test_the_files_of_the_chosen_run(tmp_path):
    grid = Grid(latent_space=["none", "vq"], globals_beta=[0, 1], seeds=3)
    plant_grid(tmp_path, grid)
    with np.load(tmp_path / "events_test.npz") as content:
        write_arrays(tmp_path / "events_test.npz", **content, source=np.array("Read 9 events"))
    write_tables(tmp_path, grid)
    run = RunFolder.of(tmp_path, "vq/beta_0/seed_1")
    run.model.write_bytes(b"weights")
    choose = ChooseSettings(latent_space="vq", globals_beta=0, seed=1)
    copy_best(choose, PackSettings(), tmp_path, tmp_path, tmp_path / "best")
    names = ["cfg.yaml", "model.pt", "model_card.md", "overlay.yaml"]
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == names
    assert (tmp_path / "best/model.pt").read_bytes() == b"weights"
    assert (tmp_path / "best/cfg.yaml").read_text() == run.settings.read_text()
    card = (tmp_path / "best/model_card.md").read_text()
    assert "# Model card: vq/beta_0/seed_1" in card
    assert "Read 9 events." in card
    assert "never trained: the predicted MET means nothing" in card
    # T of the planted runs is 0.05 (1 + globals_beta), up to the noise of events.
    table = pd.read_csv(tmp_path / "comparison.csv", keep_default_na=False, na_values=[""])
    of_cell = table[
        (table["metric"] == "ln_rec_tokens")
        & (table["latent_space"] == "vq")
        & (table["globals_beta"] == 0)
    ].iloc[0]
    assert f"| {level(*np.exp(of_cell[['mean', 'low', 'high']].astype(float)))} |" in card
    assert "the mean over 3 seeds with its 95 % interval" in " ".join(card.split())
