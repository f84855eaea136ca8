"""Events on their way through a temporary file, so that samples of any size can be shuffled.

The events are written in the order in which they come. When all are there, they are sorted into
buckets of neighbouring places, each small enough to be put in order in memory. The disk reads and
writes long pieces only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.data.events import Events, split_rows
from globals_heads.data.token_file import BLOCK

# Events in a bucket; 24 MB for 18 slots. No result depends on it.
BUCKET = 65_536


class Scratch:
    """Events in an open file, first in the order of their coming, then shuffled.

    Parameters
    ----------
    stream
        An empty file that can be read and written.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._labels: list[NDArray[np.int64]] = []
        self._num_columns = 0
        self.num_events = 0

    @property
    def num_slots(self) -> int | None:
        """Number of slots of the events; None before there are any."""
        return (self._num_columns - 2) // 5 if self.num_events else None

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of all events in the order of their coming."""
        return np.concatenate(self._labels)

    def append(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Append events: their rows in the layout of token files, and their labels."""
        self._stream.write(np.ascontiguousarray(rows).data)
        self._labels.append(labels)
        self._num_columns = rows.shape[1]
        self.num_events += len(rows)

    def shuffled(
        self, orders: Mapping[str, NDArray[np.int64]], gev: NDArray[np.float64] | None = None
    ) -> "dict[str, ScratchEvents]":
        """Return the events of each split.

        Parameters
        ----------
        orders
            Numbers of the events of each split, in their order there; together all events.
        gev
            The unit of energies of each event in GeV; None: all are in GeV.
        """
        sizes = [len(order) for order in orders.values()]
        first = dict(zip(orders, np.cumsum([0, *sizes]), strict=False))
        edges = [
            np.arange(first[split], first[split] + len(order), BUCKET)
            for split, order in orders.items()
        ]
        places = self._sorted_into(np.concatenate([*edges, [self.num_events]]), orders)
        labels = self.labels
        return {
            split: ScratchEvents(
                read=self._read,
                edges=np.append(of_split, first[split] + len(order)),
                places=places,
                labels=labels[order],
                gev=None if gev is None or (gev == 1).all() else gev[order],
            )
            for of_split, (split, order) in zip(edges, orders.items(), strict=True)
        }

    def _sorted_into(
        self, edges: NDArray[np.int64], orders: Mapping[str, NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        """Write all events again, sorted into buckets; return the place of each written one."""
        place = np.empty(self.num_events, np.int64)
        place[np.concatenate(list(orders.values()))] = np.arange(self.num_events)
        written = np.empty_like(place)
        free = edges.copy()  # the next free row of each bucket
        for start in range(0, self.num_events, BLOCK):
            stop = min(start + BLOCK, self.num_events)
            rows, places = self._read(start - self.num_events, stop - start), place[start:stop]
            bucket = np.searchsorted(edges, places, side="right") - 1
            order = np.argsort(bucket, kind="stable")
            limits = np.searchsorted(bucket[order], np.arange(len(edges)))
            for i, (a, b) in enumerate(pairwise(limits)):
                if a < b:
                    self._seek(free[i])
                    self._stream.write(rows[order[a:b]].data)
                    written[free[i] : free[i] + b - a] = places[order[a:b]]
                    free[i] += b - a
        return written

    def _seek(self, row: int) -> None:
        # The sorted events follow the unsorted ones, which have the rows -num_events to -1.
        self._stream.seek((self.num_events + int(row)) * self._num_columns * 4)

    def _read(self, row: int, num_rows: int) -> NDArray[np.float32]:
        rows = np.empty((num_rows, self._num_columns), np.float32)
        self._seek(row)
        self._stream.readinto(rows.data)  # type: ignore[attr-defined]
        return rows


@dataclass(frozen=True)
class ScratchEvents:
    """The events of one split in a `Scratch`.

    Attributes
    ----------
    read
        Returns rows of the scratch file, given the first one and their number.
    edges
        First row of each bucket of the split, and the end of the last one.
    places
        Place of each row among all events of all splits.
    labels, gev
        Labels, and the unit of energies in GeV or None, of the events of the split.
    """

    read: Any
    edges: NDArray[np.int64]
    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    gev: NDArray[np.float64] | None

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.labels)

    def blocks(self) -> Iterator[Events]:
        """Yield the events bucket by bucket, in GeV."""
        for start, stop in pairwise(self.edges.tolist()):
            rows = np.empty_like(read := self.read(start, stop - start))
            rows[self.places[start:stop] - start] = read
            part = slice(start - self.edges[0], stop - self.edges[0])
            if self.gev is not None:
                _, met, objects = split_rows(rows)
                met[:, 0] *= self.gev[part]
                objects[..., :2] *= self.gev[part, None, None]
            yield Events.from_rows(rows, self.labels[part])
