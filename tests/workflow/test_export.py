"""The chosen run: asked for by its path, made from the finished study, and nothing else."""

import yaml

from globals_heads.settings import Settings

BEST = "results/best/model.pt"
CELL = "choose={latent_space: vq, globals_beta: 1}"


def test_the_chosen_run(study):
    """It trains nothing, and its overlay is a config of its cell alone."""
    assert not study.plan()
    assert study.plan(BEST, "--config", CELL) == {"best": 1}
    study.run(BEST, "--config", CELL)
    best = study / "results/best"
    run = study / "results/runs/vq/beta_1/seed_0"
    assert (best / "model.pt").read_bytes() == (run / "model.pt").read_bytes()
    assert (best / "cfg.yaml").read_bytes() == (run / "cfg.yaml").read_bytes()
    assert "# Model card: vq/beta_1/seed_0" in (best / "model_card.md").read_text()
    made = Settings.model_validate(yaml.safe_load((best / "overlay.yaml").read_text()))
    assert [key.name for key in made.runs] == ["vq/beta_1/seed_0"]
    assert yaml.safe_load((study / "results/study.yaml").read_text())["choose"]["seed"] is None
    assert not study.plan(BEST, "--config", CELL)
    other = "choose={latent_space: none, globals_beta: 1}"
    assert study.plan(BEST, "--config", other) == {"best": 1}
