"""Events from the ROOT files of Delphes, read with uproot.

Jets lack an energy, which follows from their mass; electrons and muons are massless. `Jet.BTag`
is a bit mask of working points.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.events import Events
from globals_heads.data.ragged import Labels, Ragged, Tally
from globals_heads.errors import UserError, brief
from globals_heads.settings import ReadSettings

# Events that are in memory at a time.
BLOCK = 20_000


def read_delphes(
    path: Path,
    settings: ReadSettings,
    object_types: Mapping[int, str],
    labels: Labels,
    tally: Tally,
) -> Iterator[Events]:
    """Yield the events of a file block by block, in the file's unit of energy.

    Parameters
    ----------
    path
        The file.
    settings
        Tree, branches, bit of the b-tag and number of slots.
    object_types
        Meaning of the object-type codes.
    labels
        Label of each process, told from the file's name.
    tally
        Counts events, and what is skipped.

    Raises
    ------
    UserError
        If the file is damaged, or lacks the tree or a branch.
    """
    stem = path.name.partition(".")[0]
    label = labels.label(stem)
    try:
        with uproot.open(path) as file:
            reader = _Reader(path, _tree(path, file, settings.tree), settings, object_types)
            for start in range(0, reader.num_events, BLOCK):
                ragged = reader.ragged(start, min(start + BLOCK, reader.num_events), label, tally)
                if label == 0:
                    tally.unknown_processes[stem] += len(ragged.places)
                yield ragged.events(settings.slots, tally)
    except UserError:
        raise
    except Exception as error:  # uproot raises errors of many types
        raise UserError(
            f"{path} cannot be read as a ROOT file after event {tally.num_places} "
            f"({brief(error)}); fetch it again."
        ) from error


def _tree(path: Path, file: Any, name: str) -> Any:
    trees = file.keys(filter_classname="TTree", cycle=False)
    if name not in trees:
        raise UserError(
            f"{path} has no tree {name!r} (it has {sorted(set(trees))}); name its tree in the "
            "setting read.tree."
        )
    return file[name]


class _Reader:
    """The branches of one tree."""

    def __init__(
        self, path: Path, tree: Any, settings: ReadSettings, object_types: Mapping[int, str]
    ) -> None:
        self.path, self.tree, self.settings = path, tree, settings
        self.num_events = tree.num_entries
        self.codes = {name: code for code, name in object_types.items()}
        # A branch may lie inside another one, as in Jet/Jet.PT.
        self.names = {name.rpartition("/")[2]: name for name in tree.keys(recursive=True)}

    def ragged(self, start: int, stop: int, label: int, tally: Tally) -> Ragged:
        """Return the events from `start` up to `stop`; events without one MET are skipped."""
        branches = self.settings.branches
        met = [self._branch("met", leaf, start, stop) for leaf in ("MET", "Phi")]
        one = np.ones(stop - start, bool)
        for values in met:
            one &= np.asarray(ak.num(values) == 1)
        places = np.arange(start, stop)
        kind = f"with other than one {branches.met}.MET"
        tally.skip(kind, places[~one].tolist())
        parts = [
            self._objects("jet", start, stop),
            self._objects("electron", start, stop),
            self._objects("muon", start, stop),
            self._objects("photon", start, stop),
        ]
        event, types, objects = (np.concatenate(part) for part in zip(*parts, strict=True))
        tally.num_places = stop
        kept = one[event]
        number = np.cumsum(one) - 1
        globals_ = [np.asarray(ak.flatten(values[one]), dtype=float) for values in met]
        return Ragged(
            places=places[one],
            event=number[event[kept]],
            types=types[kept],
            objects=objects[kept],
            met=np.column_stack(globals_),
            labels=np.full(int(one.sum()), label, np.int64),
        )

    def _objects(
        self, kind: str, start: int, stop: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8], Array]:
        """Return event, type and (E, pT, eta, phi) of all objects of a collection."""

        def flat(leaf: str) -> Array:
            values = self._branch(kind, leaf, start, stop)
            if not np.array_equal(ak.num(values), counts):
                raise UserError(
                    f"{self.path} has other numbers of {self._name(kind, leaf)} than of "
                    f"{self._name(kind, 'PT')} in the events {start} to {stop - 1}; make the file "
                    "again."
                )
            return np.asarray(ak.flatten(values))

        counts = np.asarray(ak.num(self._branch(kind, "PT", start, stop)))
        pt, eta, phi = (flat(leaf).astype(float) for leaf in ("PT", "Eta", "Phi"))
        with np.errstate(over="ignore"):  # an impossible eta is refused later
            momentum = pt * np.cosh(eta)
        if self._has(kind, "E"):
            energy = flat("E").astype(float)
        elif self._has(kind, "Mass"):
            energy = np.hypot(momentum, flat("Mass").astype(float))
        elif kind == "jet":
            raise UserError(
                f"{self.path} has neither {self._name(kind, 'Mass')} nor {self._name(kind, 'E')} "
                f"in the tree {self.settings.tree!r}, so the energy of a jet is unknown; make the "
                "file again with one of them, or name another collection in read.branches.jet."
            )
        else:
            energy = momentum
        if kind == "jet":
            is_b = flat("BTag").astype(np.int64) >> self.settings.btag_bit & 1
            types = np.where(is_b, self.codes["b-jet"], self.codes["jet"])
        elif kind == "photon":
            types = np.full(len(pt), self.codes["photon"])
        else:
            minus, plus = ("e-", "e+") if kind == "electron" else ("mu-", "mu+")
            types = np.where(flat("Charge") > 0, self.codes[plus], self.codes[minus])
        event = np.repeat(np.arange(stop - start), counts)
        return event, types.astype(np.uint8), np.column_stack([energy, pt, eta, phi])

    def _name(self, kind: str, leaf: str) -> str:
        """Return the name of a branch: with a point, or with _ where uproot wrote a record."""
        prefix = getattr(self.settings.branches, kind)
        names = [f"{prefix}.{leaf}", f"{prefix}_{leaf}"]
        return next((name for name in names if name in self.names), names[0])

    def _has(self, kind: str, leaf: str) -> bool:
        return self._name(kind, leaf) in self.names

    def _branch(self, kind: str, leaf: str, start: int, stop: int) -> ak.Array:
        """Return one list of numbers per event."""
        name = self._name(kind, leaf)
        if name not in self.names:
            raise UserError(
                f"{self.path} has no branch {name} in the tree {self.settings.tree!r}; name "
                f"the collection in the setting read.branches.{kind}, or make the file again with "
                "this branch."
            )
        values = self.tree[self.names[name]].array(entry_start=start, entry_stop=stop)
        return values if values.ndim == 2 else values[:, np.newaxis]
