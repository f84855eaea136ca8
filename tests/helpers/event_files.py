"""Files of events in the formats that are read, made from events whose every number is known."""

import gzip
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from random_events import OBJECT_TYPES, random_events

from globals_heads.data.events import Events

NAMES = {
    "jet": ["j"],
    "b-jet": ["b"],
    "e+": ["e+"],
    "e-": ["e-"],
    "mu+": ["m+", "mu+"],
    "mu-": ["m-", "mu-"],
    "photon": ["g", "a"],
}


def sorted_by_pt(events: Events) -> Events:
    """Return the events with their objects by falling pT, as they come back."""
    order = np.argsort(-events.objects[..., 1], axis=1, kind="stable")
    return Events(
        np.take_along_axis(events.types, order, axis=1),
        np.take_along_axis(events.objects, order[..., None], axis=1),
        events.met,
        events.labels,
    )


def massless(events: Events) -> Events:
    """Return the events with E = pT cosh(eta), which files without E have."""
    objects = events.objects.copy()
    objects[..., 0] = objects[..., 1] * np.cosh(objects[..., 2])
    return Events(events.types, objects, events.met, events.labels)


def csv_lines(
    events: Events, process: str = "4top", old: bool = False, unit: float = 1000.0
) -> list[str]:
    """Return events as Dark Machines lines, in MeV, with all spellings of the objects in turn."""
    lines, number = [], 0
    for i in range(len(events)):
        met, metphi = events.met[i]
        header = ["1.5", repr(float(met * unit)), repr(float(metphi))]
        fields = header if old else [str(5_000_000 + i), process, *header]
        for code, (energy, pt, eta, phi) in zip(events.types[i], events.objects[i], strict=True):
            if code:
                spellings = NAMES[OBJECT_TYPES[int(code)]]
                momentum = [*[energy * unit, pt * unit][old:], eta, phi]
                number += 1
                values = [repr(float(value)) for value in momentum]
                fields.append(",".join([spellings[number % len(spellings)], *values]))
        lines.append(";".join(fields) + (";" if i % 2 else ""))
    return lines


def write_csv(path: Path, lines: list[str], end: str = "\n") -> Path:
    """Write lines, compressed if the name says so."""
    text = (end.join(lines) + end).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_delphes(path: Path, events: Events, change=None, tree: str = "Delphes") -> Path:
    """Write events as a flat Delphes file; `change` edits the branches before that."""
    names = np.array(["", *OBJECT_TYPES.values()])[events.types]

    def lists(values: np.ndarray, *kinds: str) -> ak.Array:
        """Return for each event the values of its objects of these kinds."""
        chosen = np.isin(names, kinds)
        return ak.unflatten(values[chosen], chosen.sum(axis=1))

    def of(*kinds: str) -> dict[str, ak.Array]:
        columns = zip(("E", "PT", "Eta", "Phi"), np.moveaxis(events.objects, -1, 0), strict=True)
        return {leaf: lists(values, *kinds) for leaf, values in columns}

    branches = {}
    jets = of("jet", "b-jet")
    energy = jets.pop("E")
    jets["Mass"] = np.sqrt(np.maximum(energy**2 - (jets["PT"] * np.cosh(jets["Eta"])) ** 2, 0))
    # Bit 0 tells b-jets; bit 1, another working point, is set for all.
    jets["BTag"] = lists((names == "b-jet").astype(np.uint32) + np.uint32(2), "jet", "b-jet")
    branches |= {f"Jet.{leaf}": values for leaf, values in jets.items()}
    for prefix, plus, minus in (("Electron", "e+", "e-"), ("Muon", "mu+", "mu-")):
        leptons = of(plus, minus)
        del leptons["E"]
        leptons["Charge"] = lists(np.where(names == plus, 1, -1).astype(np.int32), plus, minus)
        branches |= {f"{prefix}.{leaf}": values for leaf, values in leptons.items()}
    branches |= {f"Photon.{leaf}": values for leaf, values in of("photon").items()}
    branches["MissingET.MET"] = ak.from_regular(ak.Array(events.met[:, :1]))
    branches["MissingET.Phi"] = ak.from_regular(ak.Array(events.met[:, 1:]))
    if change is not None:
        change(branches)
    types = {name: values.type.content for name, values in branches.items()}
    with uproot.recreate(path) as file:
        file.mktree(tree, types)
        half = len(events) // 2
        for part in (slice(0, half), slice(half, None)):  # two baskets
            file[tree].extend({name: values[part] for name, values in branches.items()})
    return path


def delphes_events(num_events: int, seed: int = 0) -> Events:
    """Return random events without mass for all but jets."""
    events = random_events(num_events, seed)
    jets = np.isin(events.types, [1, 2])
    return Events(
        events.types,
        np.where(jets[..., None], events.objects, massless(events).objects),
        events.met,
        events.labels,
    )
