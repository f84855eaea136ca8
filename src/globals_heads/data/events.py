"""Events in memory, and their rows in the layout of token files.

One row is one event of S slots: S object types (0 is an empty slot), MET, METphi, then
(E, pT, eta, phi) of each slot; 92 columns for the 18 slots of the public file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array

NUM_SLOTS = 18  # of the public file, and of the events made here
LABELS = {1: "tttt", 2: "ttH", 3: "ttW", 4: "ttWW", 5: "ttZ"}


@dataclass(frozen=True)
class Events:
    """Some events, with S slots each.

    Attributes
    ----------
    types
        Object-type codes, shape (N, S); 0 is an empty slot.
    objects
        (E, pT, eta, phi) in GeV and radians, shape (N, S, 4); 0 in empty slots.
    met
        (MET, METphi) in GeV and radians, shape (N, 2).
    labels
        Process of each event as in `LABELS`, shape (N,); 0 if it is unknown.
    """

    types: NDArray[np.uint8]
    objects: Array
    met: Array
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.types)

    def __getitem__(self, index: Any) -> "Events":
        """Return the events that a NumPy index or mask selects."""
        return Events(self.types[index], self.objects[index], self.met[index], self.labels[index])

    def blocks(self) -> Iterator["Events"]:
        """Yield these events as one block, as `token_file.EventBlocks` describes."""
        yield self

    @property
    def rows(self) -> NDArray[np.float32]:
        """The events in the layout of token files, shape (N, 2 + 5 S)."""
        flat = self.objects.reshape(len(self), 4 * self.types.shape[1])
        return np.concatenate([self.types, self.met, flat], axis=1, dtype=np.float32)

    @classmethod
    def from_rows(cls, rows: Array, labels: NDArray[Any]) -> "Events":
        """Return the events of `rows` in GeV, shape (N, 2 + 5 S)."""
        types, met, objects = split_rows(rows)
        return cls(types.astype(np.uint8), objects, met, np.asarray(labels).astype(np.int64))


def split_rows(rows: Array) -> tuple[Array, Array, Array]:
    """Return types (N, S), globals (N, 2) and objects (N, S, 4) of `rows`, as views."""
    num_slots = (rows.shape[1] - 2) // 5
    objects = rows[:, num_slots + 2 :].reshape(-1, num_slots, 4)
    return rows[:, :num_slots], rows[:, num_slots : num_slots + 2], objects
