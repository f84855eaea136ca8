"""The packed file: normalised events that every training and evaluation reads, memory-mapped.

A packed file holds for each split the normalised features of all real objects one after the
other, their types, the offsets at which events begin, the normalised globals, and the labels; and,
as the attribute `info`, all that turns them back into GeV and radians. `data/pack.py` writes it.
This module knows nothing of torch and of the data stage.
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
from globals_heads.errors import UserError
from globals_heads.files import open_hdf5
from globals_heads.kinematics import components, wrap_angle
from globals_heads.settings import PackSettings

SCHEMA_VERSION = 3
SPLITS = ("train", "val", "test")
_ARRAYS = {
    "features": "float32",
    "types": "uint8",
    "offsets": "int64",
    "globals": "float32",
    "labels": "int64",
}


@dataclass(frozen=True)
class Normalisation:
    """One linear scale per column, and the period of columns that are angles.

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
    """Meaning of the packed numbers; stored in the packed file and in every model.pt.

    Attributes
    ----------
    features, globals
        Normalisation of the token features and of the globals target.
    met_scale_gev
        Common scale in GeV of the MET components in the training split: the unit of every
        normalised globals error.
    num_slots
        Slots of an event, padding included; the pooled latent is divided by it.
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
        """Return the fields as plain types, for JSON and for model.pt."""
        return asdict(self) | {"pack": self.pack.model_dump()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataInfo":
        """Return the object whose `as_dict` gave `values`."""
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
        return components(*columns.T) if self.pack.globals_target == "polar" else columns


def features_of(objects: Array, settings: PackSettings) -> Array:
    """Return the features before normalisation, shape (n, F).

    Parameters
    ----------
    objects
        (E, pT, eta, phi) in GeV and radians, shape (n, 4).
    settings
        Choice of the features.
    """
    if settings.features == "log":
        return log_features(objects)
    energy, pt, eta, phi = objects.astype(np.float64).T
    return np.column_stack([energy, pt, eta, wrap_angle(phi)])


def globals_of(met: Array, settings: PackSettings) -> Array:
    """Return the globals target before normalisation from (MET, METphi), shape (N, 2)."""
    met = met.astype(np.float64)
    return met if settings.globals_target == "polar" else components(*met.T)


def log_features(objects: Array) -> Array:
    """Return (log E, log pT, eta, cos phi, sin phi) from (E, pT, eta, phi), shape (n, 5)."""
    energy, pt, eta, phi = objects.astype(np.float64).T
    return np.column_stack([np.log(energy), np.log(pt), eta, np.cos(phi), np.sin(phi)])


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
    labels
        Process of each event, shape (N,).
    """

    features: NDArray[np.float32]
    types: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    globals: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def num_events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> "PackedSplit":
        """Return the events from `start` up to `stop`, not copied but for their offsets."""
        first, last = self.offsets[start], self.offsets[stop]
        return PackedSplit(
            features=self.features[first:last],
            types=self.types[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            globals=self.globals[start:stop],
            labels=self.labels[start:stop],
        )

    def gather(self, order: NDArray[np.integer[Any]]) -> "PackedSplit":
        """Return the events with the numbers `order`, in that order, copied into memory."""
        counts = self.offsets[order + 1] - self.offsets[order]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # Object k of the i-th chosen event sits at its event's old offset plus k.
        objects = np.arange(offsets[-1]) + np.repeat(self.offsets[order] - offsets[:-1], counts)
        return PackedSplit(
            features=self.features[objects],
            types=self.types[objects],
            offsets=offsets,
            globals=self.globals[order],
            labels=self.labels[order],
        )


def pack_events(
    types: NDArray[Any], objects: Array, met: Array, labels: NDArray[np.int64], info: DataInfo
) -> PackedSplit:
    """Return events as the network sees them.

    Parameters
    ----------
    types
        Object-type codes, shape (N, S); 0 is an empty slot.
    objects
        (E, pT, eta, phi) in GeV and radians, shape (N, S, 4).
    met
        (MET, METphi) in GeV and radians, shape (N, 2).
    labels
        Process of each event, shape (N,).
    info
        The normalisation.
    """
    real = types > 0
    features = info.features.normalise(features_of(objects[real], info.pack))
    target = info.globals.normalise(globals_of(met, info.pack))
    return PackedSplit(
        features=features.astype(np.float32),
        types=types[real].astype(np.uint8),
        offsets=np.concatenate([[0], np.cumsum(real.sum(axis=1))]).astype(np.int64),
        globals=target.astype(np.float32),
        labels=labels,
    )


@dataclass(frozen=True)
class PackedData:
    """The three splits of a packed file, the meaning of their numbers, and what was packed."""

    info: DataInfo
    source: str
    train: PackedSplit
    val: PackedSplit
    test: PackedSplit


def open_packed(path: Path) -> PackedData:
    """Map a packed file into memory.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another schema version.
    """
    remedy = "delete it and run snakemake again"
    with open_hdf5(path, "cannot be read as a packed file", remedy) as file:
        found = int(file.attrs["schema_version"])
        if found != SCHEMA_VERSION:
            raise UserError(
                f"{path} has the schema version {found}, this code reads {SCHEMA_VERSION}; "
                f"{remedy}."
            )
        info = DataInfo.from_dict(json.loads(file.attrs["info"]))
        _check_info(info)
        source = str(file.attrs["source"])
        splits = {
            name: PackedSplit(**{key: _map(path, file[name][key]) for key in _ARRAYS})
            for name in SPLITS
        }
        for name, split in splits.items():
            _check(name, split, info)
    return PackedData(info=info, source=source, **splits)


def _map(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    offset = dataset.id.get_offset()
    if dataset.size == 0:  # HDF5 stores an empty data set nowhere in the file
        return np.empty(dataset.shape, dataset.dtype)
    if offset is None:
        raise ValueError(f"{dataset.name} is not stored in one piece")
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)


def _check_info(info: DataInfo) -> None:
    """Raise `ValueError` if the normalisation cannot be used."""
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
    """Raise `ValueError` if a split is not as `pack` writes it."""
    for array, dtype in _ARRAYS.items():
        if getattr(split, array).dtype != dtype:
            raise ValueError(f"{array} of {name} are {getattr(split, array).dtype}, not {dtype}")
    num_objects = int(split.offsets[-1])
    if (
        split.features.shape != (num_objects, len(info.features.names))
        or split.types.shape != (num_objects,)
        or split.globals.shape != (split.num_events, len(info.globals.names))
        or split.labels.shape != (split.num_events,)
        or split.offsets[0] != 0
        or (np.diff(split.offsets) < 0).any()
    ):
        raise ValueError(f"the shapes of {name} contradict each other")
    if split.types.min() < 1 or split.types.max() > len(info.object_types):
        raise ValueError(f"{name} has types beyond {len(info.object_types)}")
    if not np.isfinite(split.features).all() or not np.isfinite(split.globals).all():
        raise ValueError(f"{name} has numbers that are not finite")
