"""Events in memory, and their rows in the public 92-column layout.

One row is one event: columns 0-17 the object types (0 is an empty slot), 18 MET, 19 METphi,
20-91 (E, pT, eta, phi) of the 18 slots.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array

NUM_SLOTS = 18
NUM_COLUMNS = 92
MET_COLUMN = 18
LABELS = {1: "tttt", 2: "ttH", 3: "ttW", 4: "ttWW", 5: "ttZ"}


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
    objects: Array
    met: Array
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.types)

    def __getitem__(self, index: Any) -> "Events":
        """Return the events that a NumPy index or mask selects."""
        return Events(self.types[index], self.objects[index], self.met[index], self.labels[index])

    @property
    def rows(self) -> NDArray[np.float32]:
        """The events in the 92-column layout, shape (N, 92)."""
        flat = self.objects.reshape(len(self), 4 * NUM_SLOTS)
        return np.concatenate([self.types, self.met, flat], axis=1, dtype=np.float32)

    @classmethod
    def from_rows(cls, rows: Array, labels: NDArray[Any]) -> "Events":
        """Return the events of `rows` in GeV, shape (N, 92)."""
        return cls(
            types=rows[:, :NUM_SLOTS].astype(np.uint8),
            objects=objects_of(rows),
            met=rows[:, MET_COLUMN : MET_COLUMN + 2],
            labels=np.asarray(labels).astype(np.int64),
        )


def objects_of(rows: Array) -> Array:
    """Return (E, pT, eta, phi) of all slots of `rows`, shape (N, 18, 4), as a view."""
    return rows[:, MET_COLUMN + 2 :].reshape(-1, NUM_SLOTS, 4)
