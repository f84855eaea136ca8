"""A config that is right is used as it stands; a wrong one ends with one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from globals_heads.settings import Settings
from globals_heads.validation import validated

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_schema_is_up_to_date(tmp_path):
    """The schema in the repository is the one that the settings models generate."""
    written = tmp_path / "schema.yaml"
    command = [sys.executable, "-m", "globals_heads", "schema", str(written)]
    subprocess.run(command, check=True, timeout=60)
    assert SCHEMA.read_text(encoding="utf-8") == written.read_text(encoding="utf-8")


def test_configs_validate(check_schema):
    """Every config in the repository passes the schema, and the models on top of the defaults."""
    process = check_schema(*CONFIGS)
    assert process.returncode == 0, process.stdout
    for path in CONFIGS:
        validated(Settings, read(path), str(path))


@pytest.mark.parametrize(
    "content",
    [
        "epoch: 5",
        "epochs: 0",
        "epochs: many",
        "globals_beta: [-1]",
        "globals_beta: []",
        "latent_space: [foo]",
        "train: {learning_rate: 0}",
        "bottleneck: {fsq: {levels: [1]}}",
    ],
)
def test_schema_refuses(check_schema, tmp_path, content):
    """The schema tells an editor what the models would refuse."""
    config = tmp_path / "config.yaml"
    config.write_text(content, encoding="utf-8")
    assert check_schema(config).returncode == 1


@pytest.fixture
def check_schema(bin_folder):
    """Return a function that checks configs against the schema as `make check` does."""

    def check(*paths):
        command = [bin_folder / "check-jsonschema", "--schemafile", SCHEMA, *paths]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return check


def test_config_shows_the_defaults():
    """config/config.yaml names every setting with the default of the models."""
    content = read(ROOT / "config/config.yaml")
    assert validated(Settings, content, "config.yaml") == Settings()
    assert structure(content) == structure(Settings().model_dump())


def structure(value):
    return {key: structure(item) for key, item in value.items()} if isinstance(value, dict) else ()


# Overlay, and what the message must name: the key and the value.
BAD = [
    ("latent_space: [none, vqvae]", "latent_space", "vqvae"),
    ("latent_space: []", "latent_space", "[]"),
    ("latent_space: [vq, vq]", "latent_space", "vq"),
    ("globals_beta: []", "globals_beta", "[]"),
    ("globals_beta: [0, -1]", "globals_beta", "-1"),
    ("globals_beta: [-0.0]", "globals_beta", "-0.0"),
    ("globals_beta: [.inf]", "globals_beta", "inf"),
    ("globals_beta: [.nan]", "globals_beta", "nan"),
    ("globals_beta: [1, much]", "globals_beta", "much"),
    ("globals_beta: [1, true]", "globals_beta", "True"),
    ("globals_beta: [1, 1.0]", "globals_beta", "1.0"),
    ("globals_beta: [10, 1e1]", "globals_beta", "1e1"),
    ("seeds: 0", "seeds", "0"),
    ("seeds: 2.5", "seeds", "2.5"),
    ("epochs: -1", "epochs", "-1"),
    ("epochs: 5.0", "epochs", "5.0"),
    ("epochs: 1e2", "epochs", "1e2"),
    ("epochs: many", "epochs", "many"),
    ("epoch: 5", "epoch", "epochs"),
    ("train: {learning_rates: 1e-3}", "train.learning_rates", "learning_rate"),
    ("train: {learning_rate: fast}", "train.learning_rate", "fast"),
    ("train: 5", "train", "5"),
    ("bottleneck: {vq: {codebooksize: 8}}", "bottleneck.vq.codebooksize", "codebook_size"),
    ("bottleneck: {vq: {ema_decay: 1}}", "bottleneck.vq.ema_decay", "1"),
    ("simulate: {fractions: {tttt: 1, zz: 1}}", "simulate.fractions", "zz"),
    ("object_types: {1: jet, 3: photon}", "object_types", "photon"),
]


@pytest.mark.parametrize(("overlay", "key", "value"), BAD, ids=[overlay for overlay, *_ in BAD])
def test_bad_config(empty_study, overlay, key, value):
    """A wrong value ends the command with one sentence that names it; nothing is planned."""
    output = empty_study.fail("-n", overlay=overlay)
    (error,) = error_lines(output)
    assert f"The setting {key}" in error
    assert value in error
    assert "Job stats" not in output


def error_lines(output):
    return [line for line in output.splitlines() if line.startswith("Error: ")]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("epochs=5.0", "5.0"),
        ("seeds=1e2", "100.0"),
        ("seeds=", ""),
        ("globals_beta=10", "10"),
        ("epoch=5", "epochs"),
    ],
)
def test_bad_config_on_the_command_line(empty_study, argument, value):
    """The same holds for `--config`."""
    output = empty_study.fail("-n", "--config", argument)
    (error,) = error_lines(output)
    assert argument.split("=")[0] in error
    assert value in error
    assert "Job stats" not in output


def test_bad_config_makes_nothing(empty_study):
    """A real start with a wrong value leaves no results behind."""
    empty_study.fail(overlay="epochs: 0")
    assert not (empty_study / "results").exists()


@pytest.mark.parametrize(
    ("overlay", "line"),
    [
        ("train: {learning_rate: 1e-3}", "learning_rate: 0.001"),
        ("train: {clip_norm: null}", "clip_norm: null"),
        ("globals_beta: [0, 1e-3]", "globals_beta: 0.001"),
    ],
)
def test_good_config(empty_study, overlay, line):
    """Spellings that YAML hands over as text, and null where it has a meaning, are accepted."""
    output = empty_study.run("-n", overlay=overlay)
    assert line in output


def test_epochs_on_the_command_line(empty_study):
    """`--config epochs=50` reaches every run's settings, and the overlay keeps the rest."""
    output = empty_study.run("-n", "--config", "epochs=50")
    assert output.count("\nepochs: 50\n") >= 4
    assert "\nepochs: 1\n" not in output


def test_axes_on_the_command_line(empty_study):
    """Lists can be given on the command line, too."""
    plan = empty_study.plan("--config", "latent_space=[vq]", "globals_beta=[0,0.5,1e1]", "seeds=2")
    assert plan["train"] == 6
