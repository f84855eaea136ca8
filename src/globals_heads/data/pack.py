"""Packing: events become normalised arrays of their real objects, written to a packed file.

The training split alone sets the normalisation of all three splits. `packed.py` describes and
reads the file.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data import checks
from globals_heads.data.token_file import EventBlocks
from globals_heads.files import new_hdf5, require_disk_space
from globals_heads.kinematics import components
from globals_heads.packed import (
    SCHEMA_VERSION,
    DataInfo,
    Normalisation,
    features_of,
    globals_of,
    pack_events,
)
from globals_heads.settings import PackSettings


def pack(
    splits: Mapping[str, EventBlocks],
    object_types: Mapping[int, str],
    settings: PackSettings,
    source: str,
    unit: str,
    output: Path,
) -> None:
    """Write events as a packed file, and print what was read.

    The events are read several times, block by block; their numbers of objects and their globals
    are all that stays in memory.

    Parameters
    ----------
    splits
        Events of train, val and test.
    object_types
        Meaning of the object-type codes.
    settings
        Choice of the features and of the globals target.
    source
        Name of the token file.
    unit
        The unit of its energies, and why.
    output
        The file to make.

    Raises
    ------
    UserError
        If a split has no objects, a feature is undefined for some object, or the disk is too
        small.
    """
    measured = {
        name: _measure(events, settings, f"{name} split of {source}")
        for name, events in splits.items()
    }
    offsets = {name: offsets for name, (offsets, _) in measured.items()}
    num_features = 5 if settings.features == "log" else 4
    num_bytes = sum(each[-1] * (4 * num_features + 1) + len(each) * 24 for each in offsets.values())
    require_disk_space(output, num_bytes)
    _, met = measured["train"]
    info = DataInfo(
        features=_fit_features(splits["train"], settings),
        globals=_fit_globals(globals_of(met, settings), settings),
        met_scale_gev=_common_scale(components(*met.T)),
        num_slots=next(splits["train"].blocks()).types.shape[1],
        object_types=tuple(object_types.values()),
        pack=settings,
    )
    numbers = "; ".join(
        f"{name}: {len(each) - 1} events with {each[-1] / (len(each) - 1):.3g} objects on average"
        for name, each in offsets.items()
    )
    read = f"Read {source}, energies in {unit}; {numbers}"
    print(read)
    # Without alignment numpy could not map the data sets as arrays that torch accepts.
    with new_hdf5(output, alignment_threshold=1, alignment_interval=64) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["info"] = json.dumps(info.as_dict())
        file.attrs["source"] = read
        for name, events in splits.items():
            group = file.create_group(name)
            group["offsets"] = offsets[name]
            num_objects, num_events = int(offsets[name][-1]), len(events)
            # Data sets of a known size are stored in one piece.
            group.create_dataset("features", (num_objects, num_features), np.float32)
            group.create_dataset("types", (num_objects,), np.uint8)
            group.create_dataset("globals", (num_events, 2), np.float32)
            group.create_dataset("labels", (num_events,), np.int64)
            start = 0
            for block in events.blocks():
                packed = pack_events(block.types, block.objects, block.met, block.labels, info)
                stop = start + len(block)
                for field in ("globals", "labels"):
                    group[field][start:stop] = getattr(packed, field)
                for field in ("features", "types"):
                    part = slice(offsets[name][start], offsets[name][stop])
                    group[field][part] = getattr(packed, field)
                start = stop


def _measure(
    events: EventBlocks, settings: PackSettings, name: str
) -> tuple[NDArray[np.int64], Array]:
    """Return the offsets of the events' objects, and (MET, METphi); refuse bad objects."""
    counts, met, num_objects = [], [], 0
    for block in events.blocks():
        real = block.types > 0
        checks.check_objects(block.objects[real], settings, name, num_objects)
        counts.append(real.sum(axis=1))
        met.append(block.met.astype(np.float64))
        num_objects += int(real.sum())
    checks.check_num_objects(num_objects, name)
    return np.concatenate([[0], np.cumsum(np.concatenate(counts))]), np.concatenate(met)


def _common_scale(met_components: Array) -> float:
    return math.sqrt(float(met_components.var(axis=0).mean())) or 1.0


def _fit_features(events: EventBlocks, settings: PackSettings) -> Normalisation:
    def blocks() -> Iterator[Array]:
        for block in events.blocks():
            yield features_of(block.objects[block.types > 0], settings)

    if settings.features == "raw":
        return _fit(blocks, ("energy", "pt", "eta", "phi"), angle=3)
    return _fit(blocks, ("log_energy", "log_pt", "eta", "cos_phi", "sin_phi"))


def _fit_globals(target: Array, settings: PackSettings) -> Normalisation:
    if settings.globals_target == "polar":
        fit = _fit(lambda: iter([target]), ("met", "metphi"), angle=1)
    else:
        mean = target.mean(axis=0)
        # One scale for both components: MET has no preferred direction.
        scale = _common_scale(target)
        fit = Normalisation(
            ("met_x", "met_y"), (float(mean[0]), float(mean[1])), (scale,) * 2, (0.0,) * 2
        )
    if settings.globals_scale == "gev":
        return replace(fit, mean=(0.0, 0.0), scale=(1.0, 1.0))
    return fit


def _fit(
    blocks: Callable[[], Iterator[Array]], names: tuple[str, ...], angle: int | None = None
) -> Normalisation:
    """Return mean and standard deviation of each column, and the period of the angle.

    `blocks` starts a pass over all rows, in blocks of shape (n, C).
    """
    # Squares are summed about the mean, in a second pass: E[x^2] - E[x]^2 would lose digits.
    mean = _mean(blocks())
    scale = np.sqrt(_mean((block - mean) ** 2 for block in blocks()))
    period = np.zeros(len(names))
    if angle is not None:
        mean[angle], period[angle] = 0, 2 * np.pi  # the mean of an angle has no meaning
    scale = np.where(scale > 0, scale, 1)
    return Normalisation(names, *(tuple(map(float, v)) for v in (mean, scale, period)))


def _mean(blocks: Iterator[Array]) -> Array:
    """Return the mean of all rows of all blocks, the same bits for blocks of any size."""
    total, num_rows = np.zeros(1), 0
    for block in blocks:
        # Row after row: along the first axis NumPy sums in this order, too.
        total = np.add.reduce(np.concatenate([np.broadcast_to(total, (1, block.shape[1])), block]))
        num_rows += len(block)
    return total / num_rows
