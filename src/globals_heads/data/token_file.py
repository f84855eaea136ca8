"""The token file: collision events as one HDF5 file in the layout of the public sample.

The data sets are X_train, X_val, X_test with the labels Y_train, Y_val, Y_test, in any case;
`events.py` describes the columns of X. A file without splits has one X, and perhaps Y. This
module reads and writes the file block by block; it knows nothing of how events are made or used.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from globals_heads.arrays import Array
from globals_heads.data import checks
from globals_heads.data.events import LABELS, Events, split_rows
from globals_heads.data.units import GEV_PER_UNIT, LeadingJets
from globals_heads.files import new_hdf5, open_hdf5
from globals_heads.settings import EnergyUnit

# Equal to the splits of a packed file. It is not imported from packed.py, so that an edit of that
# reader simulates nothing again.
SPLITS = ("train", "val", "test")
UNSPLIT = ("",)
# Events that are in memory at a time; 12 MB as float64. No result depends on it.
BLOCK = 16_384


class EventBlocks(Protocol):
    """Events that are read block by block, as often as needed; `Events` are one block."""

    def __len__(self) -> int:
        """Return the number of events."""

    def blocks(self) -> Iterator[Events]:
        """Yield all events in their order."""


@dataclass(frozen=True)
class TokenSplit:
    """One split of a token file, read from disk block by block.

    Attributes
    ----------
    path
        The token file.
    rows, labels
        Names of its data sets; labels is None in a file without labels.
    num_events, num_slots
        Size of the split.
    gev
        The file's unit of energies in GeV.
    """

    path: Path
    rows: str
    labels: str | None
    num_events: int
    num_slots: int
    gev: float = 1.0

    def __len__(self) -> int:
        """Return the number of events."""
        return self.num_events

    def blocks(self, size: int | None = None) -> Iterator[Events]:
        """Yield all events, in GeV; `size` at a time, or as many as suit the file."""
        with h5py.File(self.path, "r") as file:
            for _, rows, labels in self.read(file, size):
                if self.gev != 1:
                    _, met, objects = split_rows(rows)
                    met[:, 0] *= self.gev
                    objects[..., :2] *= self.gev
                yield Events.from_rows(rows, labels)

    def read(self, file: h5py.File, size: int | None = None) -> Iterator[tuple[int, Array, Array]]:
        """Yield the number of the first event, rows and labels of each block, unchecked."""
        rows = file[self.rows]
        # Whole chunks, since HDF5 decompresses all of a chunk for one row.
        chunk = rows.chunks[0] if rows.chunks else 1
        size = size or max(chunk, BLOCK // chunk * chunk)
        for start in range(0, len(self), size):
            part = slice(start, min(start + size, len(self)))
            labels = np.zeros(part.stop - start) if self.labels is None else file[self.labels][part]
            yield start, rows[part].astype(np.float64), labels.astype(np.float64)


def write_token_file(
    path: Path,
    splits: Mapping[str, EventBlocks],
    object_types: Mapping[int, str],
    attributes: Mapping[str, Any],
    labels: Mapping[int, str] = LABELS,
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
    labels
        Process of each label.
    """
    with new_hdf5(path) as file:
        for name, events in splits.items():
            _write_split(file, name, events)
        file.attrs["units"] = "GeV, radians"
        file.attrs["object_types"] = json.dumps(dict(object_types))
        file.attrs["labels"] = json.dumps(dict(labels))
        for name, value in attributes.items():
            file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


def _write_split(file: h5py.File, name: str, events: EventBlocks) -> None:
    start = 0
    for block in events.blocks():
        rows = block.rows
        if start == 0:  # data sets of a known size are stored in one piece
            file.create_dataset(f"X_{name}", (len(events), rows.shape[1]), rows.dtype)
            file.create_dataset(f"Y_{name}", (len(events),), np.int64)
        part = slice(start, start + len(rows))
        file[f"X_{name}"][part] = rows
        file[f"Y_{name}"][part] = block.labels
        start += len(rows)


def read_token_file(
    path: Path,
    object_types: Mapping[int, str],
    unit: EnergyUnit = "auto",
    splits: Sequence[str] = SPLITS,
) -> tuple[dict[str, TokenSplit], str]:
    """Open and check a token file, whoever made it.

    Parameters
    ----------
    path
        The file; in MeV or GeV.
    object_types
        Meaning of each object-type code that may occur.
    unit
        The unit of energies; auto finds it from the first split.
    splits
        Names of the splits to read; `UNSPLIT` for a file with one X.

    Returns
    -------
    dict
        The splits, whose blocks are in GeV.
    str
        The unit of energies in the file, and why.

    Raises
    ------
    UserError
        If the file cannot be read or differs from the layout.
    """
    found: dict[str, TokenSplit] = {}
    # One split decides for the whole file, so that the splits cannot end in different units.
    leading, any_objects = LeadingJets(object_types), False
    with open_hdf5(path, *checks.TOKEN_FILE) as file:
        checks.check_object_types(path, file.attrs.get("object_types"), object_types)
        checks.check_names(path, list(file))
        spelling = {name.lower(): name for name in file}
        names = {s: (f"X_{s}".rstrip("_"), f"Y_{s}".rstrip("_")) for s in splits}
        labelled = any(y.lower() in spelling for _, y in names.values())
        for split, (x, y) in names.items():
            rows = checks.check_dataset(path, file, x, spelling.get(x.lower()))
            labels = None
            if labelled:
                labels = checks.check_dataset(path, file, y, spelling.get(y.lower()))
            checks.check_lengths(path, (x, y), len(rows), None if labels is None else len(labels))
            num_slots = (rows.shape[1] - 2) // 5
            name = None if labels is None else labels.name
            found[split] = TokenSplit(path, rows.name, name, len(rows), num_slots)
        checks.check_slots(path, {names[s][0]: each.num_slots for s, each in found.items()})
        for split, each in found.items():
            for first, block, of_block in each.read(file):
                checks.check_rows(path, names[split], block, of_block, len(object_types), first)
                types, _, objects = split_rows(block)
                any_objects |= bool(types.any())
                if split == splits[0]:
                    leading.add(types, objects[..., 1])
    checks.check_any_objects(path, any_objects, object_types)
    found_unit, reason = leading.unit(unit)
    gev = GEV_PER_UNIT[found_unit]
    return {split: replace(each, gev=gev) for split, each in found.items()}, reason
