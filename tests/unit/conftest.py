"""Fixtures that several unit tests share."""

from pathlib import Path

import pytest
from random_events import pack_random

from globals_heads.packed import PackedData
from globals_heads.settings import PackSettings


@pytest.fixture
def packed(tmp_path: Path) -> PackedData:
    """Packed random events with the default features."""
    return pack_random(tmp_path / "packed.h5", PackSettings())
