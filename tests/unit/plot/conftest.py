"""Fixtures that the tests of all figures share."""

import shutil

import pytest
from planted_facts import plant_grid, write_tables
from planted_figures import GRID


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A finished study with variants; tests must not change it."""
    folder = tmp_path_factory.mktemp("planted")
    plant_grid(folder, GRID)
    write_tables(folder, GRID)
    return folder


@pytest.fixture
def study(planted, tmp_path):
    """A copy of the finished study, to change."""
    return shutil.copytree(planted, tmp_path / "study")
