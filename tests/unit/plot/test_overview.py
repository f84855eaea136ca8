"""The overview: the answer, both heat maps, and grids of any shape."""

import matplotlib.pyplot as plt
import pytest
from planted_facts import plant_grid, write_tables
from planted_figures import drawn

from globals_heads.errors import UserError
from globals_heads.plot.inputs import Inputs
from globals_heads.plot.overview import answers, overview
from globals_heads.plot.style import drawn_for
from globals_heads.settings import Grid, PlotSettings

ALL_SPACES = ["none", "linear", "vq", "fsq", "residual_vq"]
MANY_BETAS = list(range(12))


def test_it_says_the_answers_and_both_errors(study):
    words, numbers = drawn(study, "overview")
    for word in ("vq: ", "geometric mean [95 % interval]", "training mean", "n = 3 per cell"):
        assert word in words
    assert numbers.groupby("metric").size().to_dict() == {"rec_tokens": 4, "probe_rec_globals": 4}


def test_answers_are_a_few_words():
    claims = [
        {"claim": "2", "text": "it works", "row": "none", "answer": "yes", "hint": ""},
        {"claim": "2", "text": "it works", "row": "vq", "answer": "not resolved", "hint": "no"},
        {"claim": "5", "text": "all are alike", "row": "grid", "answer": "no", "hint": ""},
    ]
    choice = {"claim": "M2", "text": "both", "answer": "no", "hint": ""}
    choice |= {"guess": "linear/beta_1", "best": None}
    assert answers({"claims": claims, "matrix": [choice]}) == [
        ("it works", "none: yes, vq: no?"),
        ("both", "best: no cell; guess linear, weight 1 as good: no"),
        ("", "? in these runs alone; too few seeds for an answer"),
    ]
    assert len(answers({"claims": claims[:1], "matrix": []})) == 1


@pytest.mark.parametrize(
    ("axes", "interval"),
    [
        ({"latent_space": ["vq"], "globals_beta": [1], "seeds": 1}, ""),
        ({"latent_space": ALL_SPACES, "globals_beta": [0]}, "0.400\n[0.3"),
        pytest.param({"globals_beta": MANY_BETAS}, "0.400 [0.3", marks=pytest.mark.slow),
        pytest.param(
            {"latent_space": ALL_SPACES, "globals_beta": MANY_BETAS}, "", marks=pytest.mark.slow
        ),
    ],
)
def test_words_fit_into_their_cells(tmp_path, axes, interval):
    """Intervals take two lines in narrow cells, one in low ones; where both, there are none."""
    grid = Grid(**{"latent_space": ["none", "vq"], "seeds": 3} | axes)
    plant_grid(tmp_path, grid)
    write_tables(tmp_path, grid)
    settings = PlotSettings()
    with drawn_for(settings):
        figure, _ = overview(Inputs(grid, tmp_path, tmp_path, settings))
        figure.draw_without_rendering()
    for panel in figure.axes[:2]:
        room = panel.bbox.width / len(grid.latent_space)
        height = panel.bbox.height / len(grid.globals_beta)
        assert ("[95 % interval]" in panel.get_title()) == bool(interval)
        for text in panel.texts:
            assert text.get_window_extent().width <= room
            assert text.get_window_extent().height <= height
    assert interval in figure.axes[1].texts[0].get_text()
    plt.close(figure)


def test_a_damaged_verdict_is_named(study):
    (study / "verdict.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"verdict.json cannot be read"):
        drawn(study, "overview")
