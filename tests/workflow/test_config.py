"""A config that is right is used as it stands; a wrong one ends with one sentence."""

import subprocess
import sys
from pathlib import Path

import jsonschema
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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configs_validate(path):
    """Every config in the repository passes the models; `make check` tries the schema, too."""
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
def test_schema_refuses(content):
    """The schema tells an editor what the models would refuse."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(content), read(SCHEMA))


def test_config_shows_the_defaults():
    """config/config.yaml names every setting with the default of the models."""
    content = read(ROOT / "config/config.yaml")
    assert validated(Settings, content, "config.yaml") == Settings()
    assert structure(content) == structure(Settings().model_dump())


def structure(value):
    return {key: structure(item) for key, item in value.items()} if isinstance(value, dict) else ()


def error_of(study, *arguments, **options):
    """Return the one sentence with which a command ends that plans nothing."""
    output = study.fail("-n", *arguments, **options)
    assert "Job stats" not in output
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    return error


def test_bad_config(empty_study):
    """A wrong value ends a real start with one sentence, and nothing is made.

    tests/unit/test_settings.py has many more wrong values.
    """
    error = error_of(empty_study, overlay="latent_space: [none, vqvae]")
    assert "The setting latent_space.1 is 'vqvae'" in error
    empty_study.fail(overlay="epochs: 0")
    assert not (empty_study / "results").exists()


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("seeds=1e2", "seeds is 100.0, but it should be a valid integer"),
        ("seeds=", "seeds is None"),
        ("epoch=5", "did you mean epochs?"),
    ],
)
def test_bad_config_on_the_command_line(empty_study, argument, part):
    """The same holds for `--config`."""
    assert part in error_of(empty_study, "--config", argument)


def test_good_config(empty_study):
    """Spellings that YAML hands over as text, and null where it has a meaning, are accepted."""
    overlay = "{train: {learning_rate: 1e-3, clip_norm: null}, globals_beta: [0, 1e-3]}"
    output = empty_study.run("-n", overlay=overlay)
    for line in ("learning_rate: 0.001", "clip_norm: null", "globals_beta: 0.001"):
        assert line in output


def test_command_line_beats_overlays(empty_study):
    """`--config` reaches every run's settings, lists included, and the overlay keeps the rest."""
    axes = ("latent_space=[vq]", "globals_beta=[0,0.5,1e1]", "seeds=2")
    output = empty_study.run("-n", "--config", "epochs=50", *axes)
    assert output.count("\nepochs: 50\n") == 6
    assert "\nepochs: 1\n" not in output
    assert output.count("\n  latent_dim: 4\n") == 6
