"""Events whose MET follows from their objects, and facts of the test split as a mapping."""

import csv

import numpy as np
from random_events import OBJECT_TYPES, random_events

from globals_heads.data.pack import pack
from globals_heads.data.token_file import Events
from globals_heads.packed import open_packed


def planted(factor):
    """Return events whose MET is `factor` times minus the vector sum of the objects."""
    events = random_events(200, 5)
    pt, phi = events.objects[..., 1], events.objects[..., 3]
    x = -factor * (pt * np.cos(phi)).sum(axis=1)
    y = -factor * (pt * np.sin(phi)).sum(axis=1)
    met = np.column_stack([np.hypot(x, y), np.arctan2(y, x)])
    return Events(events.types, events.objects, met, events.labels)


def pack_planted(folder, settings, factors=(0.5, 0.5, 0.5)):
    """Return packed events whose splits have these factors."""
    splits = {n: planted(f) for n, f in zip(("train", "val", "test"), factors, strict=True)}
    pack(splits, OBJECT_TYPES, settings, "planted", "GeV", folder / "packed.h5")
    return open_packed(folder / "packed.h5")


def true_met(data):
    """Return the MET components of the test split in GeV, shape (N, 2)."""
    return data.info.met_components(data.test.globals)


def read_metrics(path):
    """Return {(metric, group): value} of a facts file."""
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    return {(row["metric"], row["group"]): float(row["value"] or "nan") for row in rows}
