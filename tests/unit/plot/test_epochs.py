"""Curves of one run."""

import pytest
from planted_figures import PLAIN, SMALL

from globals_heads.facts import RunFolder
from globals_heads.plot.figures import draw_run


@pytest.mark.parametrize("key", PLAIN.runs[:2], ids=lambda key: key.latent_space)
def test_curves_of_one_run(study, key):
    run = RunFolder.of(study, key.name)
    draw_run("curves", run, SMALL)
    words = (run.figures / "curves.svg").read_text(encoding="utf-8")
    assert key.name in words
    assert ("perplexity" in words) == (key.latent_space == "vq")
