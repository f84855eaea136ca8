"""Every command of docs/use.md, in its order, on a small study."""

import re
import shlex
import subprocess
from pathlib import Path

import h5py
import pytest
import yaml

from globals_heads.settings import Settings

PAGE = Path(__file__).parents[2] / "docs/use.md"


@pytest.fixture(scope="module")
def commands():
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    return [*lines, *re.findall(r"`(snakemake [^`]*choose[^`]*)`", text)]


def test_every_command(study, commands, bin_folder):
    """The study of the first command is there; its balanced cell may be any."""
    codes = "choose={latent_space: vq, globals_beta: 1}"
    done = []
    for command in commands:
        words = shlex.split(command)
        if words[0] == "snakemake" and "--configfile" in words:
            continue  # test_downstream
        if words[0] == "snakemake":
            options = words[3:] if "--config" in words else [*words[3:], "--config", codes]
            if "choose=interpretable" in words:
                Settings(choose="interpretable")
            else:
                study.run(*options)
        else:
            assert words[0] == "python"
            subprocess.run(
                [bin_folder / "python", *words[1:]], cwd=study.path, env=study.variables, check=True
            )
        done.append(words[0])
    assert done.count("python") == 4
    assert done.count("snakemake") == 4
    for name in ("onnx/encoder.onnx", "onnx/decoder.onnx", "encoded.h5"):
        assert (study / name).is_file()
    with h5py.File(study / "reconstructed.h5") as file, h5py.File(study / "tokens.h5") as tokens:
        assert file["X_test"].shape == tokens["X_test"].shape
    with h5py.File(study / "binned.h5") as file:
        assert file["X_test"].shape == (40, 20)


def test_downstream(study, tmp_path):
    """The overlay adds classifiers, a table, a figure and rows, and trains only new seeds."""
    overlay = yaml.safe_load((study / "config/downstream.yaml").read_text())
    assert overlay == {"seeds": 3, "downstream": True}
    plan = study.plan(overlay={"downstream": True})
    assert plan == {"downstream_events": 1, "downstream_run": 4, "compare": 1, "plot": plan["plot"]}
    study.run(overlay={"downstream": True})
    assert (study / "results/downstream.csv").is_file()
    assert (study / "results/figures/downstream.svg").is_file()
    assert "downstream_encoded_auc" in (study / "results/comparison.csv").read_text()
    assert not study.plan(overlay={"downstream": True})
