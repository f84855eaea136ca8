"""The token file: collision events as one HDF5 file in the public 92-column layout.

One row is one event: columns 0-17 the object types (0 is an empty slot), 18 MET, 19 METphi,
20-91 (E, pT, eta, phi) of the 18 slots. The data sets are X_train, X_val, X_test with the labels
Y_train, Y_val, Y_test, in any case. This module reads, checks and writes that layout; it knows
nothing of how events are made or used.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from globals_heads.errors import UserError
from globals_heads.hdf5 import new_hdf5, open_hdf5

NUM_SLOTS = 18
NUM_COLUMNS = 92
SPLITS = ("train", "val", "test")
LABELS = {1: "tttt", 2: "ttH", 3: "ttW", 4: "ttWW", 5: "ttZ"}
# The median leading jet has some 100 GeV, so a median above 5000 can only be MeV.
MEV_THRESHOLD = 5000.0
# No detector reaches further; what lies beyond is a fill value.
MAX_ETA = 20.0
# In GeV or MeV: far beyond any collider, and squares of it still fit into single precision.
MAX_ENERGY = 1e12

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Events:
    """Events of one split.

    Attributes
    ----------
    types
        Object-type codes, shape (N, 18); 0 is an empty slot.
    objects
        (E, pT, eta, phi) in GeV and radians, shape (N, 18, 4); 0 in empty slots.
    met
        (MET, METphi) in GeV and radians, shape (N, 2).
    labels
        Process of each event as in `LABELS`, shape (N,).
    """

    types: NDArray[np.uint8]
    objects: Floats
    met: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, index: Any) -> "Events":
        return Events(self.types[index], self.objects[index], self.met[index], self.labels[index])

    @property
    def rows(self) -> NDArray[np.float32]:
        """The events in the 92-column layout, shape (N, 92)."""
        flat = self.objects.reshape(len(self), 4 * NUM_SLOTS)
        return np.concatenate([self.types, self.met, flat], axis=1, dtype=np.float32)

    @classmethod
    def from_rows(cls, rows: Floats, labels: NDArray[Any]) -> "Events":
        """Return the events that `rows` of shape (N, 92) in GeV hold."""
        objects = rows[:, NUM_SLOTS + 2 :].reshape(-1, NUM_SLOTS, 4)
        return cls(
            types=rows[:, :NUM_SLOTS].astype(np.uint8),
            objects=objects,
            met=rows[:, NUM_SLOTS : NUM_SLOTS + 2],
            labels=np.asarray(labels).astype(np.int64),
        )


def write_token_file(
    path: Path,
    splits: Mapping[str, Events],
    object_types: Mapping[int, str],
    attributes: Mapping[str, Any],
) -> None:
    """Write events to a token file, in GeV.

    Parameters
    ----------
    path
        The file to make.
    splits
        Events by split name.
    object_types
        Meaning of each object-type code.
    attributes
        Provenance; what is neither a string nor a number is stored as JSON.
    """
    with new_hdf5(path) as file:
        for name, events in splits.items():
            file.create_dataset(f"X_{name}", data=events.rows)
            file.create_dataset(f"Y_{name}", data=events.labels)
        file.attrs["units"] = "GeV, radians"
        file.attrs["object_types"] = json.dumps(dict(object_types))
        file.attrs["labels"] = json.dumps(LABELS)
        for name, value in attributes.items():
            file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


def read_token_file(path: Path, object_types: Mapping[int, str]) -> dict[str, Events]:
    """Read and check a token file, whoever made it.

    Parameters
    ----------
    path
        The file; in MeV or GeV (a median leading-jet pT above 5000 means MeV).
    object_types
        Meaning of each object-type code that may occur.

    Returns
    -------
    dict
        Events of the splits train, val and test, in GeV.

    Raises
    ------
    UserError
        If the file cannot be read or anything in it is not as the layout says.
    """
    remedy = "give a complete token file with `--config data=PATH`, or fetch this one again"
    with open_hdf5(path, "cannot be read as HDF5", remedy) as file:
        _check_object_types(path, file, object_types)
        by_name = _by_lower_name(path, file)
        arrays = {
            split: (
                _read(path, file, by_name, f"X_{split}"),
                _read(path, file, by_name, f"Y_{split}"),
            )
            for split in SPLITS
        }
    for split, (rows, labels) in arrays.items():
        _check_rows(path, split, rows, labels, len(object_types))
    if not any(rows[:, :NUM_SLOTS].any() for rows, _ in arrays.values()):
        raise UserError(
            f"{path} holds no objects at all: every object type is 0, allowed are 1 to "
            f"{len(object_types)}; give a file with reconstructed objects."
        )
    # Decided on one split for the whole file, so that the splits cannot end in different units.
    in_gev = 1e-3 if _median_leading_jet(arrays["train"][0], object_types) > MEV_THRESHOLD else 1.0
    for rows, _ in arrays.values():
        rows[:, NUM_SLOTS] *= in_gev
        rows[:, NUM_SLOTS + 2 :].reshape(-1, NUM_SLOTS, 4)[..., :2] *= in_gev
    return {split: Events.from_rows(rows, labels) for split, (rows, labels) in arrays.items()}


def read_origin(path: Path) -> tuple[dict[str, Any], int]:
    """Return the settings of a simulation from its token file, and how many events that holds.

    Raises
    ------
    UserError
        If the file is missing, damaged, or no file of the simulation.
    """
    problem = "is no file of simulated events that can be read"
    with open_hdf5(path, problem, "delete it and run snakemake again") as file:
        settings = dict(json.loads(file.attrs["settings"]))
        return settings, sum(len(file[f"X_{split}"]) for split in SPLITS)


def _by_lower_name(path: Path, file: h5py.File) -> dict[str, str]:
    """Return the names in the file by their spelling in lower case."""
    by_name: dict[str, str] = {}
    for name in file:
        other = by_name.setdefault(name.lower(), name)
        if other != name:
            raise UserError(
                f"{path} has both {other!r} and {name!r}; each name must be there once, in any "
                "case, so delete one of them."
            )
    return by_name


def _read(path: Path, file: h5py.File, by_name: Mapping[str, str], name: str) -> NDArray[Any]:
    """Return one data set as float64, or say what is wrong with it."""
    found = by_name.get(name.lower())
    # What lies elsewhere is no part of the fingerprint by which this file is known.
    outside = f"{name} in {path} leads to another place; store its values in the file itself."
    if found is not None and not isinstance(file.get(found, getlink=True), h5py.HardLink):
        raise UserError(outside)
    dataset = None if found is None else file[found]
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(
            f"{path} has no data set {name} (it has {reprlib.repr(list(by_name.values()))}); "
            "a token file needs X_train, X_val, X_test, Y_train, Y_val and Y_test."
        )
    if dataset.external or dataset.is_virtual:
        raise UserError(outside)
    if dataset.dtype.kind not in "fiu":
        raise UserError(
            f"{name} in {path} holds {dataset.dtype} values; only numbers are allowed, "
            "so store it again as float32."
        )
    allowed = (None, NUM_COLUMNS) if name.startswith("X") else (None,)
    if dataset.ndim != len(allowed) or (dataset.ndim == 2 and dataset.shape[1] != NUM_COLUMNS):
        wanted = f"(events, {NUM_COLUMNS})" if name.startswith("X") else "(events,)"
        raise UserError(
            f"{name} in {path} has the shape {dataset.shape}; it must be {wanted}, "
            "so store it again in the 92-column layout that config/README.md describes."
        )
    return np.asarray(dataset[...], dtype=np.float64)


def _check_object_types(path: Path, file: h5py.File, object_types: Mapping[int, str]) -> None:
    stated = file.attrs.get("object_types")
    if stated is None:
        return
    try:
        found = {int(code): str(name) for code, name in json.loads(stated).items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(
            f"The attribute object_types of {path} is {reprlib.repr(stated)}; it must be a JSON "
            'object such as {"1": "jet"}, so correct or delete it.'
        ) from error
    if found != dict(object_types):
        raise UserError(
            f"{path} says that its object types are {reprlib.repr(found)}, but the setting "
            f"object_types is {dict(object_types)}; make the setting equal to the file."
        )


def _check_rows(path: Path, split: str, rows: Floats, labels: NDArray[Any], num_types: int) -> None:
    """Raise `UserError` for the first row or label that the layout does not allow."""
    if len(rows) == 0:
        raise UserError(f"X_{split} in {path} holds no events; each split needs at least one.")
    if len(labels) != len(rows):
        raise UserError(
            f"Y_{split} in {path} has {len(labels)} labels for {len(rows)} events in X_{split}; "
            "each event needs exactly one, so store the labels again."
        )
    finite = np.isfinite(rows)
    if not finite.all():
        event, column = np.argwhere(~finite)[0]
        raise UserError(
            f"X_{split} in {path} has {rows[event, column]} in event {event}, column {column}; "
            "only finite numbers are allowed, so remove or repair that event."
        )
    types = rows[:, :NUM_SLOTS]
    wrong = (types < 0) | (types > num_types) | (types != np.round(types))
    if wrong.any():
        event, slot = np.argwhere(wrong)[0]
        raise UserError(
            f"X_{split} in {path} has the object type {types[event, slot]:g} in event {event}, "
            f"slot {slot}; allowed are the integers 0 (empty) to {num_types}, so repair the file "
            "or extend the setting object_types."
        )
    bad = (np.abs(labels) >= 2**31) | (labels != np.round(labels))  # NaN does not equal itself
    if bad.any():
        event = int(np.argmax(bad))
        raise UserError(
            f"Y_{split} in {path} has the label {labels[event]:g} in event {event}; "
            "only integers are allowed, so repair or remove that event."
        )
    if (rows[:, NUM_SLOTS] < 0).any():
        event = int(np.argmax(rows[:, NUM_SLOTS] < 0))
        raise UserError(
            f"X_{split} in {path} has the MET {rows[event, NUM_SLOTS]:g} in event {event}; "
            "it cannot be negative, so remove or repair that event."
        )
    objects = rows[:, NUM_SLOTS + 2 :].reshape(-1, NUM_SLOTS, 4)
    largest = np.abs(np.where(types[..., None] > 0, objects[..., :2], 0)).max(axis=(1, 2))
    largest = np.maximum(largest, rows[:, NUM_SLOTS])
    if (largest > MAX_ENERGY).any():
        event = int(np.argmax(largest))
        raise UserError(
            f"X_{split} in {path} has the energy or momentum {largest[event]:g} in event {event}; "
            f"no collider reaches {MAX_ENERGY:g}, so remove or repair that event."
        )
    eta = objects[..., 2]
    absurd = (types > 0) & (np.abs(eta) > MAX_ETA)
    if absurd.any():
        event, slot = np.argwhere(absurd)[0]
        raise UserError(
            f"X_{split} in {path} has eta = {eta[event, slot]:g} in event {event}, slot {slot}; "
            f"real objects lie within {MAX_ETA:g}, so remove or repair that event."
        )


def _median_leading_jet(rows: Floats, object_types: Mapping[int, str]) -> float:
    jets = [code for code, name in object_types.items() if name in ("jet", "b-jet")]
    pt = rows[:, NUM_SLOTS + 2 :].reshape(-1, NUM_SLOTS, 4)[..., 1]
    types = rows[:, :NUM_SLOTS]
    # Without any jet the hardest object is as good: nobody selects objects of some keV.
    chosen = np.isin(types, jets) if np.isin(types, jets).any() else types > 0
    leading = np.where(chosen, pt, 0).max(axis=1)
    return float(np.median(leading[leading > 0])) if (leading > 0).any() else 0.0
