"""The figure of the next phase: its numbers, and what stands beside them."""

import json

import pytest
from planted_figures import PLAIN, drawn

from globals_heads.compare.downstream import metric
from globals_heads.plot.figures import figures_of
from globals_heads.settings import Grid, Settings


def test_numbers_are_those_of_the_comparison(study):
    words, numbers = drawn(study, "downstream")
    assert len(numbers) == 3 * 2 * len(PLAIN.latent_space) * len(PLAIN.globals_beta)
    assert "a demonstration" in words
    assert "published" not in words
    means = numbers.groupby("metric")["mean"].mean()
    better, worse = (
        means[metric(kind, "auc", difference=True)] for kind in ("reconstructed", "encoded")
    )
    assert worse < better < 0


def test_published_values_stand_beside_given_events(study):
    path = study / "verdict.json"
    verdict = json.loads(path.read_text())
    verdict["downstream"]["is_demonstration"] = False
    path.write_text(json.dumps(verdict))
    words, _ = drawn(study, "downstream")
    assert "identity embedding" in words
    assert "a demonstration" not in words


@pytest.mark.parametrize(("downstream", "there"), [(True, True), (False, False)])
def test_only_a_study_with_the_stage_has_it(downstream, there):
    assert ("downstream" in figures_of(Settings(downstream=downstream))) is there
    assert "downstream" in figures_of(Grid())
