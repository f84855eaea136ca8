"""Small events whose every number is known, and packed data made from them."""

from pathlib import Path
from typing import Any

import numpy as np

from globals_heads.data.events import NUM_SLOTS, Events
from globals_heads.data.pack import pack
from globals_heads.data.token_file import EventBlocks, read_token_file
from globals_heads.packed import SPLITS, PackedData, open_packed
from globals_heads.settings import PackSettings, Settings

OBJECT_TYPES = Settings().object_types


def random_events(num_events: int, seed: int = 0) -> Events:
    """Return events with 0 to 18 objects in GeV, empty slots at the end."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, NUM_SLOTS + 1, num_events)
    real = np.arange(NUM_SLOTS) < counts[:, None]
    pt = 25 + rng.exponential(50, real.shape)
    eta = rng.uniform(-2.5, 2.5, real.shape)
    phi = rng.uniform(-np.pi, np.pi, real.shape)
    objects = np.stack([pt * np.cosh(eta) * 1.05, pt, eta, phi], axis=-1) * real[..., None]
    return Events(
        types=np.where(real, rng.integers(1, 8, real.shape), 0).astype(np.uint8),
        objects=objects,
        met=np.column_stack(
            [rng.exponential(60, num_events), rng.uniform(-np.pi, np.pi, num_events)]
        ),
        labels=rng.integers(1, 6, num_events),
    )


def pack_random(path: Path, settings: PackSettings, num_events: int = 60) -> PackedData:
    """Return packed random events."""
    splits = {name: random_events(num_events, i) for i, name in enumerate(SPLITS)}
    pack(splits, OBJECT_TYPES, settings, "random events", "GeV", path)
    return open_packed(path)


def joined(events: EventBlocks) -> Events:
    """Return all blocks as one."""
    blocks = list(events.blocks())
    parts = ([getattr(block, name) for block in blocks] for name in Events.__annotations__)
    return Events(*(np.concatenate(part) for part in parts))


def read_events(path: Path, **options: Any) -> dict[str, Events]:
    """Return the events of a token file by split."""
    splits, _ = read_token_file(path, OBJECT_TYPES, **options)
    return {name: joined(events) for name, events in splits.items()}


def ready_events(*arguments):
    """Stand in for `sample._accepted_events`, without Pythia; the last argument is their number."""
    count = arguments[-1]
    return [random_events(count)], dict.fromkeys(("generated", "passed", "kept"), count)
