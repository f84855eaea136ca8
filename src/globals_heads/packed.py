"""Packed data: real objects only, normalised once, memory-mapped by every run.

A packed file holds, for each split, the normalised features of all real objects one after the
other, their types, the offsets at which events begin, and the normalised globals. What turns
them back into GeV and radians travels with them. This module knows nothing of torch.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.token_file import SPLITS, Events
from globals_heads.errors import UserError
from globals_heads.files import require_disk_space
from globals_heads.hdf5 import new_hdf5, open_hdf5
from globals_heads.kinematics import wrap_angle
from globals_heads.settings import PackSettings

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Normalisation:
    """One linear scale per column, and which columns are angles.

    Attributes
    ----------
    names
        Column names.
    mean, scale
        normalised = (value - mean) / scale, one number per column.
    period
        2 pi for an angle and 0 otherwise, in the units of the value.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    period: tuple[float, ...]

    def normalise(self, values: Array) -> Array:
        """Return `values` of shape (..., C) on the normalised scale."""
        normalised: Array = (values - np.array(self.mean)) / np.array(self.scale)
        return normalised

    def denormalise(self, normalised: Array) -> Array:
        """Return `normalised` of shape (..., C) in physical units, as float64."""
        values: Array = normalised.astype(np.float64) * self.scale + np.array(self.mean)
        return values


@dataclass(frozen=True)
class DataInfo:
    """What a model must know about its data; stored in the packed file and in every model.pt.

    Attributes
    ----------
    features, globals
        Normalisation of the token features and of the globals target.
    met_scale_gev
        Common scale of the MET components in the training split: the unit of every
        normalised globals error.
    num_slots
        Slots of an event, the divisor of the pooled latent.
    object_types
        Names of the object types, in the order of their codes from 1.
    pack
        The settings that the file was packed with.
    """

    features: Normalisation
    globals: Normalisation
    met_scale_gev: float
    num_slots: int
    object_types: tuple[str, ...]
    pack: PackSettings

    def as_dict(self) -> dict[str, Any]:
        """Return plain types only, for JSON and for model.pt."""
        return asdict(self) | {"pack": self.pack.model_dump()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataInfo":
        """Return the inverse of `as_dict`."""
        columns = {
            name: Normalisation(**{k: tuple(v) for k, v in values[name].items()})
            for name in ("features", "globals")
        }
        return cls(
            met_scale_gev=float(values["met_scale_gev"]),
            num_slots=int(values["num_slots"]),
            object_types=tuple(values["object_types"]),
            pack=PackSettings(**values["pack"]),
            **columns,
        )

    def objects(self, features: Array) -> Array:
        """Return (E, pT, eta, phi) in GeV and radians from normalised features, shape (n, 4)."""
        columns = self.features.denormalise(features)
        if self.pack.features == "raw":
            return np.column_stack([columns[:, :3], wrap_angle(columns[:, 3])])
        log_energy, log_pt, eta, cos_phi, sin_phi = columns.T
        phi = np.arctan2(sin_phi, cos_phi)
        return np.column_stack([np.exp(log_energy), np.exp(log_pt), eta, phi])

    def met_components(self, globals_: Array) -> Array:
        """Return (MET_x, MET_y) in GeV from normalised globals, shape (N, 2)."""
        columns = self.globals.denormalise(globals_)
        return _components(columns) if self.pack.globals_target == "polar" else columns


@dataclass(frozen=True)
class PackedSplit:
    """One split of a packed file, memory-mapped.

    Attributes
    ----------
    features
        Normalised features of all real objects, float32, shape (n, F).
    types
        Object-type codes, at least 1, shape (n,).
    offsets
        Event i owns the objects offsets[i] to offsets[i + 1], shape (N + 1,).
    globals
        Normalised globals, float32, shape (N, 2).
    """

    features: NDArray[np.float32]
    types: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    globals: NDArray[np.float32]

    @property
    def num_events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    def gather(self, order: NDArray[np.integer[Any]]) -> "PackedSplit":
        """Return the events `order` one after the other, copied into memory."""
        counts = np.diff(self.offsets)[order]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # Object k of the i-th chosen event sits at its event's old offset plus k.
        objects = np.arange(offsets[-1]) + np.repeat(self.offsets[order] - offsets[:-1], counts)
        return PackedSplit(
            features=self.features[objects],
            types=self.types[objects],
            offsets=offsets,
            globals=self.globals[order],
        )


@dataclass(frozen=True)
class PackedData:
    """A packed file: its three splits and what they mean."""

    info: DataInfo
    train: PackedSplit
    val: PackedSplit
    test: PackedSplit


def pack(
    splits: Mapping[str, Events],
    object_types: Mapping[int, str],
    settings: PackSettings,
    source: str,
    output: Path,
) -> None:
    """Write events as a packed file.

    Parameters
    ----------
    splits
        Events of train, val and test.
    object_types
        Meaning of the object-type codes.
    settings
        Which features and which globals target.
    source
        Name of the token file, for messages.
    output
        The file to make.

    Raises
    ------
    UserError
        If a feature is undefined for some object, or the disk is too small.
    """
    real = {name: events.types > 0 for name, events in splits.items()}
    features = {
        name: _features(events.objects[real[name]], settings, f"{name} split of {source}")
        for name, events in splits.items()
    }
    targets = {
        name: events.met if settings.globals_target == "polar" else _components(events.met)
        for name, events in splits.items()
    }
    for name, columns in features.items():
        if len(columns) == 0:
            raise UserError(
                f"The {name} split of {source} holds no objects, but each split needs at least "
                "one; move events with objects to it."
            )
    num_bytes = sum(
        f.nbytes // 2 + e.types.size + len(e) * 16
        for f, e in zip(features.values(), splits.values(), strict=True)
    )
    require_disk_space(output, num_bytes)
    info = DataInfo(
        features=_fit_features(features["train"], settings),
        globals=_fit_globals(targets["train"], settings),
        met_scale_gev=_common_scale(_components(splits["train"].met)),
        num_slots=splits["train"].types.shape[1],
        object_types=tuple(object_types.values()),
        pack=settings,
    )
    # Without alignment numpy could not map the data sets as arrays that torch accepts.
    with new_hdf5(output, alignment_threshold=1, alignment_interval=64) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["info"] = json.dumps(info.as_dict())
        for name, events in splits.items():
            counts = real[name].sum(axis=1)
            group = file.create_group(name)
            group["features"] = info.features.normalise(features[name]).astype(np.float32)
            group["types"] = events.types[real[name]]
            group["offsets"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            group["globals"] = info.globals.normalise(targets[name]).astype(np.float32)


def open_packed(path: Path) -> PackedData:
    """Map a packed file into memory.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another schema version.
    """
    remedy = "delete it and run snakemake again"
    with open_hdf5(path, "is no packed file that can be read", remedy) as file:
        found = int(file.attrs["schema_version"])
        if found != SCHEMA_VERSION:
            raise UserError(
                f"{path} has the schema version {found}, this code reads {SCHEMA_VERSION}; "
                f"{remedy}."
            )
        info = DataInfo.from_dict(json.loads(file.attrs["info"]))
        _check_info(info)
        splits = {
            name: PackedSplit(**{key: _map(path, file[name][key]) for key in _ARRAYS})
            for name in SPLITS
        }
        for name, split in splits.items():
            _check(name, split, info)
    return PackedData(info=info, **splits)


_ARRAYS = {"features": "float32", "types": "uint8", "offsets": "int64", "globals": "float32"}


def _map(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    offset = dataset.id.get_offset()
    if dataset.size == 0:  # an empty data set has no place in the file
        return np.empty(dataset.shape, dataset.dtype)
    if offset is None:
        raise ValueError(f"{dataset.name} is not stored in one piece")
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)


def _check_info(info: DataInfo) -> None:
    """Raise `ValueError` if the normalisation is none."""
    scales = [info.met_scale_gev, *info.features.scale, *info.globals.scale]
    numbers = [*info.features.mean, *info.features.period, *info.globals.mean, *info.globals.period]
    if not all(math.isfinite(x) for x in scales + numbers) or min(scales) <= 0:
        raise ValueError("the normalisation has numbers that are not finite, or scales of 0")
    for columns in (info.features, info.globals):
        lengths = {len(columns.names), len(columns.mean), len(columns.scale), len(columns.period)}
        if len(lengths) > 1:
            raise ValueError(f"the normalisation of {columns.names} has other lengths")
    if info.num_slots < 1:
        raise ValueError(f"num_slots is {info.num_slots}")


def _check(name: str, split: PackedSplit, info: DataInfo) -> None:
    """Raise `ValueError` if a split is not what `pack` writes."""
    for array, dtype in _ARRAYS.items():
        if getattr(split, array).dtype != dtype:
            raise ValueError(f"{array} of {name} are {getattr(split, array).dtype}, not {dtype}")
    num_objects = int(split.offsets[-1])
    if (
        split.features.shape != (num_objects, len(info.features.names))
        or split.types.shape != (num_objects,)
        or split.globals.shape != (split.num_events, len(info.globals.names))
        or split.offsets[0] != 0
        or (np.diff(split.offsets) < 0).any()
    ):
        raise ValueError(f"the shapes of {name} contradict each other")
    if split.types.min() < 1 or split.types.max() > len(info.object_types):
        raise ValueError(f"{name} has types beyond {len(info.object_types)}")
    if not np.isfinite(split.features).all() or not np.isfinite(split.globals).all():
        raise ValueError(f"{name} has numbers that are not finite")


def _features(objects: Array, settings: PackSettings, source: str) -> Array:
    """Return the features before normalisation, shape (n, F), from (E, pT, eta, phi)."""
    energy, pt, eta, phi = objects.astype(np.float64).T
    if settings.features == "raw":
        return np.column_stack([energy, pt, eta, wrap_angle(phi)])
    wrong = (energy <= 0) | (pt <= 0)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UserError(
            f"Object {i} of the {source} has E = {energy[i]:g} and pT = {pt[i]:g}; logarithms need "
            "both above 0, so repair the file or set pack.features to raw."
        )
    return log_features(objects)


def log_features(objects: Array) -> Array:
    """Return (log E, log pT, eta, cos phi, sin phi) from (E, pT, eta, phi), shape (n, 5)."""
    energy, pt, eta, phi = objects.astype(np.float64).T
    return np.column_stack([np.log(energy), np.log(pt), eta, np.cos(phi), np.sin(phi)])


def _components(met: Array) -> Array:
    """Return (MET_x, MET_y) from (MET, METphi), shape (N, 2)."""
    met = met.astype(np.float64)
    direction: Array = np.column_stack([np.cos(met[:, 1]), np.sin(met[:, 1])])
    return met[:, :1] * direction


def _common_scale(components: Array) -> float:
    return math.sqrt(float(components.var(axis=0).mean())) or 1.0


def _fit_features(features: Array, settings: PackSettings) -> Normalisation:
    if settings.features == "raw":
        return _fit(features, ("energy", "pt", "eta", "phi"), angle=3)
    return _fit(features, ("log_energy", "log_pt", "eta", "cos_phi", "sin_phi"))


def _fit_globals(target: Array, settings: PackSettings) -> Normalisation:
    if settings.globals_target == "polar":
        return _fit(target, ("met", "metphi"), angle=1)
    mean = target.mean(axis=0)
    # One scale for both components: MET has no preferred direction.
    scale = _common_scale(target)
    return Normalisation(
        ("met_x", "met_y"), (float(mean[0]), float(mean[1])), (scale,) * 2, (0.0,) * 2
    )


def _fit(columns: Array, names: tuple[str, ...], angle: int | None = None) -> Normalisation:
    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    period = np.zeros(len(names))
    if angle is not None:
        mean[angle], period[angle] = 0, 2 * np.pi  # the mean of an angle has no meaning
    scale = np.where(scale > 0, scale, 1)
    return Normalisation(names, *(tuple(map(float, v)) for v in (mean, scale, period)))
