"""Events whose objects come as one long list: counted, sorted by pT, cut and padded.

All readers of files with any number of objects per event end here. What they leave out is
counted in a `Tally`; nothing is dropped silently.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.checks import MAX_ENERGY, MAX_ETA, MAX_PHI
from globals_heads.data.events import LABELS, Events

# Places that are named for each kind of skipped line.
NUM_NAMED = 5
# Files are published whose last event is cut short and followed by a number.
NUM_LAST = 2


@dataclass
class Tally:
    """What was read from one file, and what was not.

    Attributes
    ----------
    place
        What the file consists of: line, or event.
    num_places
        How many of them there are.
    skipped, num_skipped, last
        First places, and the number, of each kind of skipped ones; the last two of all kinds.
    unknown_objects, first_unknown
        Number of dropped objects by their name, and the first place of each name.
    unknown_processes
        Number of events of each process that has no label.
    num_cut
        Events that had more objects than slots, and the objects cut off.
    num_without_objects
        Events that have no objects; they are kept.
    notes
        What a reader needs to know.
    """

    place: str
    num_places: int = 0
    skipped: dict[str, list[int]] = field(default_factory=dict)
    last: list[int] = field(default_factory=list)
    num_skipped: Counter[str] = field(default_factory=Counter)
    unknown_objects: Counter[str] = field(default_factory=Counter)
    first_unknown: dict[str, int] = field(default_factory=dict)
    unknown_processes: Counter[str] = field(default_factory=Counter)
    num_cut: Counter[str] = field(default_factory=Counter)
    num_without_objects: int = 0
    notes: list[str] = field(default_factory=list)

    def skip(self, kind: str, places: Sequence[int]) -> None:
        """Count skipped places of one kind."""
        if len(places):
            self.num_skipped[kind] += len(places)
            self.skipped[kind] = [*self.skipped.get(kind, []), *map(int, places)][:NUM_NAMED]
            self.last = sorted([*self.last, *map(int, places)])[-NUM_LAST:]

    @property
    def num_damaged(self) -> int:
        """Number of skipped places, but for the last two of a file, where it was cut."""
        at_end = sum(place > self.num_places - NUM_LAST for place in self.last)
        return self.num_skipped.total() - at_end

    @property
    def kinds(self) -> str:
        """What was skipped, in words."""
        return ", ".join(
            f"{self.num_skipped[kind]} {kind} ({self.place} {', '.join(map(str, places))}"
            f"{', ...' if self.num_skipped[kind] > len(places) else ''})"
            for kind, places in self.skipped.items()
        )

    def unknown_object(self, name: str, place: int, number: int = 1) -> None:
        """Count objects that are dropped because of their name; the first is at `place`."""
        self.unknown_objects[name] += number
        self.first_unknown.setdefault(name, place)

    def add(self, part: "Tally") -> None:
        """Count the next part of the file, whose places are counted from 1 again."""
        for kind, places in part.skipped.items():
            shifted = [self.num_places + place for place in places]
            self.skipped[kind] = [*self.skipped.get(kind, []), *shifted][:NUM_NAMED]
        self.last = [*self.last, *(self.num_places + place for place in part.last)][-NUM_LAST:]
        for name, place in part.first_unknown.items():
            self.first_unknown.setdefault(name, self.num_places + place)
        self.num_places += part.num_places
        self.num_skipped += part.num_skipped
        self.unknown_objects += part.unknown_objects
        self.unknown_processes += part.unknown_processes
        self.num_cut += part.num_cut
        self.num_without_objects += part.num_without_objects

    def report(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            f"{self.place}s": self.num_places,
            "skipped": {
                kind: {"number": self.num_skipped[kind], f"first {self.place}s": places}
                for kind, places in self.skipped.items()
            },
            "unknown objects": {
                name: {"number": number, f"first {self.place}": self.first_unknown[name]}
                for name, number in self.unknown_objects.items()
            },
            "unknown processes": dict(self.unknown_processes),
            "events with more objects than slots": self.num_cut["events"],
            "objects cut off": self.num_cut["objects"],
            "events without objects": self.num_without_objects,
            "notes": self.notes,
        }


class Labels:
    """The label of each process.

    Parameters
    ----------
    processes
        Process of a process ID or of a file's name, such as {"4top": "tttt"}.
    """

    def __init__(self, processes: Mapping[str, str]) -> None:
        names = dict.fromkeys([*LABELS.values(), *processes.values()])
        self.names = dict(enumerate(names, start=1))
        codes = {name: code for code, name in self.names.items()}
        known = {name: name for name in names} | dict(processes)
        self._codes = {key.lower(): codes[name] for key, name in known.items()}

    def label(self, *names: str) -> int:
        """Return the label of the first known one of `names`; 0 if none is known."""
        return next((self._codes[n.lower()] for n in names if n.lower() in self._codes), 0)


@dataclass(frozen=True)
class Ragged:
    """Events as a file has them, with O objects in all.

    Attributes
    ----------
    places
        Line or number of each event in its file, shape (N,).
    event
        Index of the event of each object, shape (O,).
    types
        Object-type codes, shape (O,).
    objects
        (E, pT, eta, phi) in the file's unit, shape (O, 4).
    met
        (MET, METphi), shape (N, 2).
    labels
        Labels, shape (N,).
    """

    places: NDArray[np.int64]
    event: NDArray[np.int64]
    types: NDArray[np.uint8]
    objects: Array
    met: Array
    labels: NDArray[np.int64]

    def events(self, num_slots: int, tally: Tally) -> Events:
        """Return the possible ones as events, their hardest objects first.

        Parameters
        ----------
        num_slots
            Slots of an event; further objects are cut off.
        tally
            Counts what is left out.
        """
        good = self._possible(tally)
        # Numbers of the events that stay, and the objects of these events.
        number = np.cumsum(good) - 1
        kept = np.flatnonzero(good[self.event])
        event = number[self.event[kept]]
        # Complex numbers are sorted by their real, then by their imaginary part, and several times
        # as fast as by np.lexsort.
        order = np.argsort(event - 1j * self.objects[kept, 1], kind="stable")
        kept, event = kept[order], event[order]
        num_events = int(good.sum())
        counts = np.bincount(event, minlength=num_events)
        slot = np.arange(len(event)) - np.repeat(np.cumsum(counts) - counts, counts)
        tally.num_without_objects += int((counts == 0).sum())
        tally.num_cut["events"] += int((counts > num_slots).sum())
        tally.num_cut["objects"] += int((slot >= num_slots).sum())
        inside = slot < num_slots
        kept, event, slot = kept[inside], event[inside], slot[inside]
        types = np.zeros((num_events, num_slots), np.uint8)
        types[event, slot] = self.types[kept]
        objects = np.zeros((num_events, num_slots, 4), np.float32)
        objects[event, slot] = self.objects[kept]
        return Events(types, objects, self.met[good], self.labels[good])

    def _possible(self, tally: Tally) -> NDArray[np.bool_]:
        """Return which events are possible; count the others."""
        energy, pt, eta, phi = self.objects.T
        met, metphi = self.met.T
        finite = np.isfinite(self.objects).all(axis=1)
        with np.errstate(invalid="ignore"):
            kinds = {
                "a number that is not finite": (~finite, ~np.isfinite(self.met).all(axis=1)),
                "an energy or pT that is not above 0": (
                    (energy <= 0) | (pt <= 0),
                    np.zeros(len(met), bool),
                ),
                "a negative MET": (np.zeros(len(pt), bool), met < 0),
                f"an energy, pT or MET above {MAX_ENERGY:g}": (
                    (energy > MAX_ENERGY) | (pt > MAX_ENERGY),
                    met > MAX_ENERGY,
                ),
                f"an eta beyond {MAX_ETA:g} or a phi beyond 2 pi": (
                    (np.abs(eta) > MAX_ETA) | (np.abs(phi) > MAX_PHI),
                    np.abs(metphi) > MAX_PHI,
                ),
            }
        good = np.ones(len(met), bool)
        for kind, (of_objects, of_events) in kinds.items():
            wrong = of_events.copy()
            wrong[self.event[of_objects]] = True
            tally.skip(kind, self.places[wrong & good].tolist())
            good &= ~wrong
        return good
