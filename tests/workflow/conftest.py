"""A tiny finished study, made once per test session, and copies of it to change."""

import fcntl
import os
import shutil

import h5py
import numpy as np
import pytest
import yaml

from globals_heads.events import Events, write_token_file
from globals_heads.settings import Settings

TINY = {
    "latent_space": ["none", "vq"],
    "globals_beta": [0, 1],
    "epochs": 1,
    "data": "tokens.h5",
    "model": {
        "latent_dim": 4,
        "hidden_dims": [8],
        "type_embedding_dim": 2,
        "globals_hidden_dim": 4,
    },
    "bottleneck": {"vq": {"codebook_size": 8}},
    "train": {"device": "cpu"},
    "plot": {"dpi": 50},
}


def random_events(rng, num_events):
    """Return events whose objects have nothing to do with each other."""
    real = np.arange(18) < rng.integers(4, 9, num_events)[:, None]
    types = np.where(real, rng.integers(1, 8, real.shape), 0).astype(np.uint8)
    pt = rng.uniform(25, 300, real.shape)
    eta = rng.uniform(-2.5, 2.5, real.shape)
    phi = rng.uniform(-np.pi, np.pi, real.shape)
    objects = np.stack([pt * np.cosh(eta), pt, eta, phi], axis=-1) * real[..., None]
    met = np.column_stack([rng.uniform(0, 200, num_events), rng.uniform(-np.pi, np.pi, num_events)])
    return Events(types, objects, met, rng.integers(1, 6, num_events))


def write_tokens(path, sizes):
    """Write a small token file with the padding of a large one."""
    rng = np.random.default_rng(0)
    splits = {
        name: random_events(rng, size)
        for name, size in zip(("train", "val", "test"), sizes, strict=True)
    }
    write_token_file(path, splits, Settings().object_types, {})
    with h5py.File(path, "r+") as file:
        # Snakemake compares inputs by content up to 1 MB; real token files are larger.
        file["padding"] = np.zeros(1_100_000, np.uint8)


@pytest.fixture
def empty_study(study_type, tmp_path):
    """A tiny study of which nothing has been made."""
    return create_tiny(study_type, tmp_path / "study")


def create_tiny(study_type, path, sizes=(200, 40, 40), **changes):
    """Return a tiny study with its config and data, of which nothing has been made."""
    study = study_type.create(path, configfiles=("tiny.yaml",))
    (study / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes), encoding="utf-8")
    write_tokens(study / "tokens.h5", sizes)
    return study


@pytest.fixture(scope="session")
def create_longer(study_type):
    """Return a function that makes a study of three runs in a folder, some seconds of training."""
    axes = {"latent_space": ["none", "linear", "vq"], "globals_beta": [1], "epochs": 10}
    return lambda path: create_tiny(study_type, path, sizes=(8000, 400, 400), **axes)


@pytest.fixture(scope="session")
def finished(study_type, tmp_path_factory):
    """The finished tiny study, shared by all workers of a session; tests must not change it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path = shared / "finished"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            building = shared / "building"
            shutil.rmtree(building, ignore_errors=True)
            create_tiny(study_type, building).run()
            building.rename(path)
    return study_type(path, ("tiny.yaml",))


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished tiny study, to change."""
    return finished.copy(tmp_path / "study")
