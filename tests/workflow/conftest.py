"""A tiny finished study, made once per test session, and copies of it to change."""

import fcntl
import os
import shutil

import pytest


@pytest.fixture
def empty_study(study_type, tmp_path):
    """A tiny study of which nothing has been made."""
    return study_type.create_tiny(tmp_path / "study")


@pytest.fixture(scope="session")
def create_longer(study_type):
    """Return a function that makes a study of two runs in a folder, some seconds of training."""
    axes = {"latent_space": ["none", "vq"], "globals_beta": [1], "epochs": 10}
    return lambda path: study_type.create_tiny(path, sizes=(8000, 400, 400), **axes)


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
            study_type.create_tiny(building).run()
            building.rename(path)
    return study_type(path, ("tiny.yaml",))


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished tiny study, to change."""
    return finished.copy(tmp_path / "study")
