"""The token file: collision events as one HDF5 file in the public 92-column layout.

The data sets are X_train, X_val, X_test with the labels Y_train, Y_val, Y_test, in any case;
`events.py` describes the columns of X. This module reads and writes the file; it knows nothing of
how events are made or used.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from globals_heads.arrays import Array
from globals_heads.data import checks
from globals_heads.data.events import LABELS, MET_COLUMN, NUM_SLOTS, Events, objects_of
from globals_heads.files import new_hdf5, open_hdf5

# Equal to the splits of a packed file. It is not imported from packed.py, so that an edit of that
# reader simulates nothing again.
SPLITS = ("train", "val", "test")
# The median leading jet has some 100 GeV, so a median above 5000 can only be MeV.
MEV_THRESHOLD = 5000.0


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
        Provenance; a value other than a string or a number is stored as JSON.
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


def read_token_file(path: Path, object_types: Mapping[int, str]) -> tuple[dict[str, Events], str]:
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
    str
        The unit of energies in the file, and why.

    Raises
    ------
    UserError
        If the file cannot be read or differs from the layout.
    """
    with open_hdf5(path, *checks.TOKEN_FILE) as file:
        checks.check_object_types(path, file.attrs.get("object_types"), object_types)
        checks.check_names(path, list(file))
        spelling = {name.lower(): name for name in file}
        arrays = {}
        for name in [f"{array}_{split}" for array in "XY" for split in SPLITS]:
            found = spelling.get(name.lower())
            checks.check_dataset(path, file, name, found)
            arrays[name] = np.asarray(file[found][...], dtype=np.float64)
    rows = {split: arrays[f"X_{split}"] for split in SPLITS}
    labels = {split: arrays[f"Y_{split}"] for split in SPLITS}
    for split in SPLITS:
        checks.check_rows(path, split, rows[split], labels[split], len(object_types))
    checks.check_any_objects(path, [each[:, :NUM_SLOTS] for each in rows.values()], object_types)
    # One split decides for the whole file, so that the splits cannot end in different units.
    median = _median_leading_jet(rows["train"], object_types)
    unit = "MeV" if median > MEV_THRESHOLD else "GeV"
    if unit == "MeV":
        for each in rows.values():
            each[:, MET_COLUMN] *= 1e-3
            objects_of(each)[..., :2] *= 1e-3
    events = {split: Events.from_rows(rows[split], labels[split]) for split in SPLITS}
    return events, f"{unit} (the median leading-jet pT of the training split is {median:.4g})"


def _median_leading_jet(rows: Array, object_types: Mapping[int, str]) -> float:
    jets = [code for code, name in object_types.items() if name in ("jet", "b-jet")]
    pt = objects_of(rows)[..., 1]
    types = rows[:, :NUM_SLOTS]
    # Without jets the hardest object decides: nobody selects objects of some keV.
    chosen = np.isin(types, jets) if np.isin(types, jets).any() else types > 0
    leading = np.where(chosen, pt, 0).max(axis=1)
    return float(np.median(leading[leading > 0])) if (leading > 0).any() else 0.0
