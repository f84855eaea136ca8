"""Packing: events become normalised arrays of their real objects, written to a packed file.

The training split alone sets the normalisation of all three splits. `packed.py` describes and
reads the file.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from globals_heads.arrays import Array
from globals_heads.data import checks
from globals_heads.data.events import Events
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
    splits: Mapping[str, Events],
    object_types: Mapping[int, str],
    settings: PackSettings,
    source: str,
    unit: str,
    output: Path,
) -> None:
    """Write events as a packed file, and print what was read.

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
    real = {name: events.types > 0 for name, events in splits.items()}
    for name, events in splits.items():
        checks.check_objects(events.objects[real[name]], settings, f"{name} split of {source}")
    train, num_features = splits["train"], 5 if settings.features == "log" else 4
    num_bytes = sum(each.sum() * (4 * num_features + 1) + len(each) * 24 for each in real.values())
    require_disk_space(output, num_bytes)
    info = DataInfo(
        features=_fit_features(features_of(train.objects[real["train"]], settings), settings),
        globals=_fit_globals(globals_of(train.met, settings), settings),
        met_scale_gev=_common_scale(components(*train.met.astype(np.float64).T)),
        num_slots=train.types.shape[1],
        object_types=tuple(object_types.values()),
        pack=settings,
    )
    numbers = "; ".join(
        f"{name}: {len(each)} events with {each.sum() / len(each):.3g} objects on average"
        for name, each in real.items()
    )
    read = f"Read {source}, energies in {unit}; {numbers}"
    print(read)
    # Without alignment numpy could not map the data sets as arrays that torch accepts.
    with new_hdf5(output, alignment_threshold=1, alignment_interval=64) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["info"] = json.dumps(info.as_dict())
        file.attrs["source"] = read
        for name, events in splits.items():
            packed = pack_events(events.types, events.objects, events.met, events.labels, info)
            group = file.create_group(name)
            for field in fields(packed):
                group[field.name] = getattr(packed, field.name)


def _common_scale(met_components: Array) -> float:
    return math.sqrt(float(met_components.var(axis=0).mean())) or 1.0


def _fit_features(features: Array, settings: PackSettings) -> Normalisation:
    if settings.features == "raw":
        return _fit(features, ("energy", "pt", "eta", "phi"), angle=3)
    return _fit(features, ("log_energy", "log_pt", "eta", "cos_phi", "sin_phi"))


def _fit_globals(target: Array, settings: PackSettings) -> Normalisation:
    if settings.globals_target == "polar":
        fit = _fit(target, ("met", "metphi"), angle=1)
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


def _fit(columns: Array, names: tuple[str, ...], angle: int | None = None) -> Normalisation:
    """Return mean and standard deviation of each column, and the period of the angle."""
    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    period = np.zeros(len(names))
    if angle is not None:
        mean[angle], period[angle] = 0, 2 * np.pi  # the mean of an angle has no meaning
    scale = np.where(scale > 0, scale, 1)
    return Normalisation(names, *(tuple(map(float, v)) for v in (mean, scale, period)))
