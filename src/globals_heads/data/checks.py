"""Decide whether data may be used: one sentence for each kind of bad data.

The functions raise `UserError` and change nothing, so an edit here makes no result again.
"""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.events import NUM_SLOTS, split_rows
from globals_heads.errors import UserError
from globals_heads.settings import PackSettings, Process, ReadSettings, SimulateSettings

# No detector reaches further; larger values are fill values.
MAX_ETA = 20.0
# Angles between -pi and pi, or 0 and 2 pi; degrees reach further.
MAX_PHI = 6.3
# In GeV or MeV: far beyond any collider, and its square still fits into single precision.
MAX_ENERGY = 1e12
# A sample with a smaller efficiency takes hours to simulate.
MIN_EFFICIENCY = 1e-3
# Generated events before the efficiency is checked.
MIN_GENERATED = 5_000

# Problem and remedy when HDF5 cannot read a file, for `files.open_hdf5`.
TOKEN_FILE = (
    "cannot be read as HDF5",
    "give a complete token file with `--config data=PATH`, or fetch this one again",
)
SHARD = (
    "cannot be read as a shard of simulated events",
    "delete it and let it be made again",
)


def check_names(path: Path, names: list[str]) -> None:
    """Refuse a token file in which two names differ only in case."""
    by_lower_name: dict[str, str] = {}
    for name in names:
        other = by_lower_name.setdefault(name.lower(), name)
        if other != name:
            raise UserError(
                f"{path} has both {other!r} and {name!r}; each name must be there once, in any "
                "case, so delete one of them."
            )


def check_dataset(path: Path, file: h5py.File, name: str, found: str | None) -> h5py.Dataset:
    """Return a data set; refuse it if missing, elsewhere, or of a wrong type or shape.

    `name` is its name in the layout, such as X_train, and `found` its spelling in the file.
    """
    # The folder of the packed data is named after the content of this file alone.
    outside = f"{name} in {path} leads to another place; store its values in the file itself."
    if found is not None and not isinstance(file.get(found, getlink=True), h5py.HardLink):
        raise UserError(outside)
    dataset = None if found is None else file[found]
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(
            f"{path} has no data set {name} (it has {reprlib.repr(list(file))}); "
            "a token file has X_train, X_val and X_test, or one X, as each file of a list has; "
            "labels may be left out."
        )
    if dataset.external or dataset.is_virtual:
        raise UserError(outside)
    if dataset.dtype.kind not in "fiu":
        raise UserError(
            f"{name} in {path} holds {dataset.dtype} values; only numbers are allowed, "
            "so store it again as float32."
        )
    if name.startswith("X"):
        fits = dataset.ndim == 2 and dataset.shape[1] >= 7 and dataset.shape[1] % 5 == 2
        wanted = "(events, 2 + 5 x slots), for instance (events, 92)"
    else:
        fits, wanted = dataset.ndim == 1, "(events,)"
    if not fits:
        raise UserError(
            f"{name} in {path} has the shape {dataset.shape}; it must be {wanted}, "
            "so store it again in the layout that docs/data.md describes."
        )
    return dataset


def check_lengths(
    path: Path, names: tuple[str, str], num_rows: int, num_labels: int | None
) -> None:
    """Refuse a split without events, or with another number of labels than of events.

    `names` are those of the data sets of rows and labels; `num_labels` is None without labels.
    """
    x, y = names
    if num_rows == 0:
        raise UserError(f"{x} in {path} holds no events; each split needs at least one.")
    if num_labels not in (None, num_rows):
        raise UserError(
            f"{y} in {path} has {num_labels} labels for {num_rows} events in {x}; "
            "each event needs exactly one, so store the labels again."
        )


def check_slots(path: Path, slots: Mapping[str, int]) -> None:
    """Refuse splits, by the names of their data sets, that differ in the number of slots."""
    if len(set(slots.values())) > 1:
        raise UserError(
            f"The splits of {path} have different numbers of slots ({dict(slots)}); all splits "
            "need the same, so fill the shorter rows with empty slots."
        )


def check_object_types(path: Path, stated: Any, object_types: Mapping[int, str]) -> None:
    """Refuse a token file whose attribute object_types, `stated`, differs from the allowed ones.

    These are the setting's when the file is packed, and the model's when it is encoded.
    """
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
            f"{path} says that its object types are {reprlib.repr(found)}, but allowed are "
            f"{dict(object_types)}; to pack the file, make the setting object_types equal to it, "
            "and to encode it, take a model that was trained with its types."
        )


def check_rows(
    path: Path, names: tuple[str, str], rows: Array, labels: Array, num_types: int, first: int = 0
) -> None:
    """Refuse the first row or label that the layout does not allow.

    Parameters
    ----------
    path, names
        The token file and the names of the data sets of rows and labels, for messages.
    rows, labels
        Some events in the layout of token files, and their labels, shape (N,).
    num_types
        Largest object-type code.
    first
        Number of the first of these events in its split.
    """
    types, globals_, objects = split_rows(rows)
    met = globals_[:, 0]
    real, eta, phi = types > 0, objects[..., 2], objects[..., 3]
    metphi = globals_[:, 1]
    largest = np.abs(np.where(real[..., None], objects[..., :2], 0)).max(axis=(1, 2))
    largest = np.maximum(largest, met)
    no_type = (types < 0) | (types > num_types) | (types != np.round(types))
    no_label = (np.abs(labels) >= 2**31) | (labels != np.round(labels))  # NaN differs from itself
    out_of_range = real & (np.abs(eta) > MAX_ETA)
    beyond = f"no collider reaches {MAX_ENERGY:g}"
    radians = "angles are in radians, at most 2 pi"
    # The quantity, its values, the mask of the wrong ones, and what is allowed.
    table = (
        ("", rows, ~np.isfinite(rows), "only finite numbers are allowed"),
        ("the object type ", types, no_type, f"allowed are the integers 0 (empty) to {num_types}"),
        ("the label ", labels, no_label, "only integers are allowed"),
        ("the MET ", met, met < 0, "it cannot be negative"),
        ("the energy or momentum ", largest, largest > MAX_ENERGY, beyond),
        ("eta = ", eta, out_of_range, f"real objects lie within {MAX_ETA:g}"),
        ("phi = ", phi, real & (np.abs(phi) > MAX_PHI), radians),
        ("METphi = ", metphi, np.abs(metphi) > MAX_PHI, radians),
    )
    for quantity, values, wrong, allowed in table:
        if not wrong.any():
            continue
        event, *place = np.argwhere(wrong)[0]
        axis = "column" if values is rows else "slot"
        where = f"event {first + event}" + (f", {axis} {place[0]}" if place else "")
        remedy = "remove or repair that event"
        if values is types:
            remedy = "repair the file or extend the setting object_types before training"
        raise UserError(
            f"{names[values is labels]} in {path} has "
            f"{quantity}{values[event, *place]:g} in {where}; {allowed}, so {remedy}."
        )


def check_any_objects(path: Path, any_objects: bool, object_types: Mapping[int, str]) -> None:
    """Refuse a file of events in which every slot is empty."""
    if not any_objects:
        raise UserError(
            f"{path} holds no objects at all: every object type is 0, allowed are 1 to "
            f"{len(object_types)}; give a file with reconstructed objects."
        )


def check_same_slots(path: Path, num_slots: int, before: int | None) -> None:
    """Refuse a token file with another number of slots than the files before it."""
    if before not in (None, num_slots):
        raise UserError(
            f"{path} has {num_slots} slots, but the files before it have {before}; give files with "
            "the same number of slots."
        )


def check_skipped(
    path: Path, num_damaged: int, num_places: int, place: str, kinds: str, settings: ReadSettings
) -> None:
    """Refuse a file of which more was skipped than the setting allows.

    Parameters
    ----------
    path
        The file.
    num_damaged, num_places
        The number of skipped lines or events, without those at the end, and of all.
    place, kinds
        Whether these are lines or events, and what was skipped, for the message.
    settings
        The largest share.
    """
    if num_damaged > settings.max_skipped * num_places:
        raise UserError(
            f"{path} has {num_damaged} {place}s of {num_places} that cannot be read, a share of "
            f"{num_damaged / num_places:.3g}; read.max_skipped allows {settings.max_skipped:g}: "
            f"{kinds}; repair the file, fetch it again, or raise read.max_skipped."
        )


def check_num_events(path: Path, num_events: int, num_places: int, place: str, kinds: str) -> None:
    """Refuse a file without events."""
    if num_events == 0:
        why = f": {kinds}" if kinds else ""
        raise UserError(
            f"{path} holds no events ({num_places} {place}s{why}); give a file with events."
        )


def check_splits(sizes: Mapping[str, int]) -> None:
    """Refuse too few events for three splits; `sizes` are events by split."""
    if not all(sizes.values()):
        raise UserError(
            f"The files hold {sum(sizes.values())} events, but three splits need at least 10; give "
            "more events."
        )


def check_num_objects(num_objects: int, split: str) -> None:
    """Refuse a split without objects."""
    if num_objects == 0:
        raise UserError(
            f"The {split} holds no objects, but each split needs at least one; move events with "
            "objects to it."
        )


def check_objects(objects: Array, settings: PackSettings, split: str, first: int = 0) -> None:
    """Refuse objects whose features are undefined.

    Parameters
    ----------
    objects
        (E, pT, eta, phi) of some real objects of the split, shape (n, 4).
    settings
        Choice of the features.
    split
        Name of the split, for the message.
    first
        Number of the first of these objects in its split.
    """
    wrong = (objects[:, :2] <= 0).any(axis=1)
    if settings.features == "log" and wrong.any():
        i = int(np.argmax(wrong))
        raise UserError(
            f"Object {first + i} of the {split} has E = {objects[i, 0]:g} and pT = "
            f"{objects[i, 1]:g}; logarithms need both above 0, so repair the file or set "
            "pack.features to raw."
        )


def check_efficiency(
    settings: SimulateSettings, process: Process, passed: int, generated: int
) -> None:
    """Refuse cuts that accept less than one generated event in a thousand."""
    if generated >= MIN_GENERATED and passed < MIN_EFFICIENCY * generated:
        raise UserError(
            f"The cuts min_ht_gev {settings.min_ht_gev:g} and min_objects "
            f"{settings.min_objects} accepted {passed} of {generated} {process} events, but "
            "at least 1 in 1000 must pass; lower them under simulate in the config."
        )


def check_shard(
    path: Path, rows: NDArray[Any], labels: NDArray[Any], found: str, expected: str
) -> None:
    """Refuse a shard with another origin than `expected`, or with arrays of wrong shapes."""
    _, remedy = SHARD
    if found != expected:
        raise UserError(
            f"{path} was made with other settings or versions than the present ones; {remedy}."
        )
    num_columns = 2 + 5 * NUM_SLOTS
    if labels.ndim != 1 or rows.shape != (len(labels), num_columns):
        raise UserError(
            f"{path} holds arrays of the shapes {rows.shape} and {labels.shape} instead of "
            f"(events, {num_columns}) and (events,); {remedy}."
        )


def check_sample(sizes: Mapping[int, int], num_shards: int, num_events: int) -> None:
    """Refuse shards that are not all shards of one sample; `sizes` are events by shard number."""
    found = sum(sizes.values())
    if sorted(sizes) != list(range(num_shards)) or found != num_events:
        raise UserError(
            f"The shards numbered {sorted(sizes)} hold {found} events, but the sample needs "
            f"{num_events} from {num_shards} different shards counted from 0; "
            "delete them and let them be made again."
        )
