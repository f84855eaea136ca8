"""The registry: every figure from the files that it names, with every lost run and no variant."""

import shutil
import subprocess
import sys

import pandas as pd
import pytest
from matplotlib.figure import Figure
from planted_facts import plant_grid, write_tables
from planted_figures import GRID, PLAIN, diverge, drawn, lose

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.plot.figures import (
    FIGURES,
    RUN_FIGURES,
    caption_of,
    draw_run,
    figures_of,
)
from globals_heads.settings import Grid, PlotSettings, RunKey, Settings, run_path

ONE = Grid(latent_space=["vq"], globals_beta=[1], seeds=1)
# All heat maps are one function, so one stands for all where nothing but the drawing counts.
DRAWINGS = [name for name in FIGURES if "heatmap" not in name or name == "heatmap_rec_globals"]


def test_a_plan_needs_no_drawing():
    """The workflow imports the registry at every plan, which must stay fast."""
    code = (
        "import sys, globals_heads.plot.figures; print({'matplotlib', 'pandas'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout == "set()\n"


def with_inputs_of(figure, planted, folder):
    """Copy what the registry says that a figure reads."""
    runs = [run_path(key.name) for key in GRID.runs if figure.reads_variants or not key.variant]
    for pattern in figure.inputs:
        here = pattern.replace("data/{dataset}/", "")
        for path in {here.format(run=run) for run in runs}:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(planted / path, folder / path)
    return folder


@pytest.mark.parametrize("name", FIGURES)
def test_figures_come_as_svg_png_and_csv_with_the_same_bytes(planted, tmp_path, name):
    """They need the inputs that they name and nothing else."""
    inputs = with_inputs_of(FIGURES[name], planted, tmp_path / "inputs")
    for folder, source in (("one", planted), ("two", inputs)):
        words, _ = drawn(source, name, output=tmp_path / folder / f"{name}.svg")
        assert "no result" not in words
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [f"{name}.{kind}" for kind in ("csv", "png", "svg")]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.fixture(scope="module")
def with_failed_runs(planted, tmp_path_factory):
    """A study with a missing and a diverged run, both vq, so that the codebook has them."""
    study = shutil.copytree(planted, tmp_path_factory.mktemp("lost") / "study")
    lose(study, [PLAIN.runs[1]])
    diverge(study, [PLAIN.runs[3]])
    return study


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_name_runs_without_a_result(with_failed_runs, name):
    words, _ = drawn(with_failed_runs, name)
    if name == "variants":
        assert "n = 2 to 3 per cell" in words
    assert f"{PLAIN.runs[1].name} missing" in words.replace("\n", " ")
    assert f"{PLAIN.runs[3].name} diverged" in words.replace("\n", " ")


RARE = [pytest.param(name, marks=pytest.mark.slow) for name in ("one run", "diverged runs")]


@pytest.fixture(scope="module", params=["nothing", *RARE])
def with_little(planted, tmp_path_factory, request):
    """A study with no run, one run, or diverged runs only."""
    study = shutil.copytree(planted, tmp_path_factory.mktemp("little") / "study")
    spoil = diverge if request.param == "diverged runs" else lose
    spoil(study, GRID.runs[1 if request.param == "one run" else 0 :])
    return study


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_of_little_or_nothing(with_little, name):
    words, _ = drawn(with_little, name)
    assert "no result: " in words


def test_figures_of_one_run(tmp_path):
    plant_grid(tmp_path, ONE)
    write_tables(tmp_path, ONE)
    for name in figures_of(ONE):
        _, numbers = drawn(tmp_path, name, ONE)
        assert len(numbers), name


@pytest.fixture(scope="module")
def without_variants(planted, tmp_path_factory):
    """The same study without its variants."""
    study = shutil.copytree(planted, tmp_path_factory.mktemp("plain") / "study")
    write_tables(study, PLAIN)
    return study


@pytest.mark.parametrize("name", [name for name in DRAWINGS if name in figures_of(PLAIN)])
def test_no_variant_is_mixed_into_the_plain_grid(
    planted, without_variants, name, tmp_path, monkeypatch
):
    """A study without the variants has the same numbers."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: path.write_text(""))
    _, beside = drawn(planted, name, output=tmp_path / "beside.svg")
    _, alone = drawn(without_variants, name, PLAIN)
    pd.testing.assert_frame_equal(alone, beside)


def test_a_study_has_the_figures_that_its_grid_allows():
    plain = set(FIGURES) - {"latent_dim", "variants"}
    assert set(figures_of(PLAIN)) == plain
    assert set(figures_of(GRID)) == set(FIGURES)
    without_codebook = Grid(latent_space=["none"], variants={"narrow": GRID.variants["narrow"]})
    assert set(figures_of(without_codebook)) == plain - {"codebook"} | {"latent_dim"}


def test_unknown_figures_are_refused(planted):
    with pytest.raises(UserError, match="no figure 'T'; choose one of overview, heatmap_rec_tok"):
        drawn(planted, "T")
    with pytest.raises(UserError, match="no figure 'codebook'"):
        drawn(planted, "codebook", Grid(latent_space=["none"]))
    with pytest.raises(UserError, match="no figure 'T'; choose one of curves"):
        draw_run("T", RunFolder(planted), PlotSettings())


@pytest.mark.parametrize("clip_norm", [0.5, None])
def test_captions_tell_the_settings(clip_norm):
    """Nothing in braces is left over."""
    settings = Settings(**GRID.model_dump(), epochs=7, train={"clip_norm": clip_norm})
    run = settings.run_settings(RunKey(latent_space="vq", globals_beta=0.5, seed=2))
    captions = {name: caption_of(figure, settings) for name, figure in FIGURES.items()}
    captions |= {name: caption_of(figure, run) for name, figure in RUN_FIGURES.items()}
    assert not [name for name, text in captions.items() if "{" in text or "None" in text]
    assert "this study has 3" in captions["heatmap_val_loss"]
    assert "7 epochs" in captions["learning_curves"]
    assert "7 epochs" in captions["codebook"]
    assert "control, narrow" in captions["variants"]
    assert "Run vq, globals_beta 0.5, seed 2" in captions["curves"]
    for name in ("learning_curves", "curves"):
        assert ("clip_norm 0.5" if clip_norm else "clip_norm null") in captions[name]
