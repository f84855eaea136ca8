"""From nothing to the report: generated events, two runs, figures, as a user starts it."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import yaml
from matplotlib import image

RUNS = ("none/beta_1/seed_0", "vq/beta_1/seed_0")
RUN_FILES = (
    "cfg.yaml",
    "model.pt",
    "run.log",
    "facts/metrics_train.csv",
    "facts/metrics_val.csv",
    "facts/metrics_test.csv",
    "facts/events_test.npz",
    "figures/curves.csv",
    "figures/curves.png",
    "figures/curves.svg",
)
FIGURES = (
    "heatmap_rec_tokens",
    "heatmap_probe_rec_globals",
    "heatmap_rec_globals",
    "heatmap_reco_objects_rec_globals",
    "heatmap_val_loss",
    "tradeoff",
    "chain",
    "met",
    "residuals",
    "learning_curves",
    "codebook",
)


def test_smoke_study(study_type, tmp_path):
    """One command makes every file of the study with the package that is installed."""
    study = study_type.create(
        tmp_path / "study", configfiles=("config/smoke.yaml",), environment={}
    )
    study.run("-j2")
    check_files(study)
    check_summary(study)
    check_figures(study)
    assert not study.plan(), "a second run does nothing"
    check_report(study)
    check_origin(study)


def check_origin(study):
    """No file was changed since its step, and the summary is what the facts say."""
    command = [sys.executable, "-m", "globals_heads", "verify"]
    found = subprocess.run(command, cwd=study.path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def check_files(study):
    """Every file that users rely on is there, and every settings file says what was asked for."""
    results = study / "results"
    config = yaml.safe_load((study / "config/smoke.yaml").read_text(encoding="utf-8"))
    for run in RUNS:
        folder = results / "runs" / run
        assert [name for name in RUN_FILES if not (folder / name).is_file()] == []
        settings = yaml.safe_load((folder / "cfg.yaml").read_text(encoding="utf-8"))
        assert f"{settings['latent_space']}/beta_1/seed_{settings['seed']}" == run
        assert settings["epochs"] == config["epochs"] == 1
        log = (folder / "run.log").read_text(encoding="utf-8").splitlines()
        assert [line for line in log if line.startswith("[1/1] val_loss=")]
        assert (results / f"benchmarks/train/runs/{run}.tsv").is_file()
    (data,) = results.glob("data/generated-*")
    assert (data / "events.h5").is_file()
    assert (data / "packed.h5").is_file()
    links = {path.name: path.resolve() for path in (results / "by_number").glob("[0-9]*")}
    assert links == {str(i): (results / "runs" / run).resolve() for i, run in enumerate(RUNS)}


def check_summary(study):
    """The summary has one complete row per run."""
    table = pd.read_csv(study / "results/summary.csv", keep_default_na=False, na_values=[""])
    assert tuple(table["run"]) == RUNS
    assert set(table["status"]) == {"ok"}
    numbers = table[["val_loss", "rec_tokens", "rec_globals", "probe_rec_globals"]]
    assert np.isfinite(numbers.to_numpy()).all()
    assert (numbers.to_numpy() > 0).all()
    lacking = {run: set(row.index[row.isna()]) for run, row in table.set_index("run").iterrows()}
    of_codebooks = {"commit", "perplexity", "active_codes", "bits_per_token"}
    assert lacking["vq/beta_1/seed_0"] == {"variant"}  # that of the plain grid is empty
    assert lacking["none/beta_1/seed_0"] <= {"variant", *of_codebooks}
    assert 1 <= table["active_codes"][1] <= 64


def check_figures(study):
    """Every figure is a drawing and a picture of something, with its numbers beside it."""
    stems = [study / f"results/figures/{name}" for name in FIGURES]
    stems += [study / f"results/runs/{run}/figures/curves" for run in RUNS]
    for stem in stems:
        drawing = ElementTree.parse(stem.with_suffix(".svg")).getroot()
        kinds = [element.tag.rpartition("}")[2] for element in drawing.iter()]
        assert sum(kind in ("path", "text", "use", "image") for kind in kinds) > 20, stem
        pixels = image.imread(stem.with_suffix(".png"))
        assert min(pixels.shape[:2]) > 200, stem
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10, stem
        assert len(pd.read_csv(stem.with_suffix(".csv"))) >= 1, stem


def check_report(study):
    """The report is made, with every figure and every table in it."""
    study.run("--report", "results/report.html")
    page = (study / "results/report.html").read_text(encoding="utf-8")
    names = [f"figures/{name}.svg" for name in FIGURES]
    names += [f"runs/{run}/figures/curves.svg" for run in RUNS]
    names += ["tables/summary.html", "tables/comparison.html", "summary.csv", "verdict.html"]
    assert [name for name in names if f'"results/{name}": {{' not in page] == []
