"""Reading: files of any format become one token file with splits, and a report of what was left.

The readers yield blocks of events; what follows is the same for all formats. A sample of any size
passes through a temporary file, since its order is known only when all events are counted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.data import checks
from globals_heads.data.csv_events import read_csv
from globals_heads.data.delphes import read_delphes
from globals_heads.data.events import Events
from globals_heads.data.formats import format_of
from globals_heads.data.ragged import Labels, Tally
from globals_heads.data.scratch import Scratch
from globals_heads.data.token_file import SPLITS, UNSPLIT, read_token_file, write_token_file
from globals_heads.data.units import GEV_PER_UNIT, LeadingJets
from globals_heads.files import scratch_file, write_text
from globals_heads.settings import ReadSettings

PLACES = {"csv": "line", "delphes": "event", "tokens": "event"}
# Events of the public four-top sample (Zenodo 10.5281/zenodo.7277951) by the name of the file.
PUBLIC_FILES = {
    "4top": ("tttt", 152_000),
    "ttbarHiggs": ("ttH", 36_072),
    "ttbarW": ("ttW", 38_000),
    "ttbarWW": ("ttWW", 38_000),
    "ttbarZ": ("ttZ", 38_000),
}


def read(
    files: Sequence[Path],
    settings: ReadSettings,
    object_types: Mapping[int, str],
    output: Path,
    report: Path,
) -> None:
    """Write the events of all files, in a random order, to one token file; print what was read.

    Parameters
    ----------
    files
        Files of one format.
    settings
        The block `read` of the config.
    object_types
        Meaning of each object-type code.
    output
        The token file: 80 % train, 10 % val, 10 % test of each process.
    report
        The JSON file of what was read and what was skipped.

    Raises
    ------
    UserError
        If a file cannot be read, more of it is damaged than the setting allows, or there are too
        few events.
    """
    labels = Labels(settings.labels)
    facts: dict[str, dict[str, Any]] = {}
    units = []
    with scratch_file(output) as stream:
        scratch = Scratch(stream)
        for path in files:
            kind, first = format_of(path), scratch.num_events
            tally, leading = Tally(PLACES[kind]), LeadingJets(object_types)
            for events in READERS[kind](path, settings, object_types, labels, tally):
                leading.add(events.types, events.objects[..., 1])
                checks.check_same_slots(path, events.types.shape[1], scratch.num_slots)
                scratch.append(events.rows, events.labels)
            num_events = scratch.num_events - first
            checks.check_skipped(
                path, tally.num_damaged, tally.num_places, tally.place, tally.kinds, settings
            )
            checks.check_num_events(path, num_events, tally.num_places, tally.place, tally.kinds)
            unit, reason = leading.unit(settings.unit)
            checks.check_any_objects(path, leading.any_objects, object_types)
            units.append(np.full(num_events, GEV_PER_UNIT[unit]))
            facts[str(path)] = {"format": kind, "events": num_events, "energies in": reason}
            facts[str(path)] |= tally.report()
            _print_file(path, facts[str(path)], tally)
        order = split_order(scratch.labels, settings.seed)
        checks.check_splits({name: len(part) for name, part in order.items()})
        counts = _counts(scratch.labels, order, labels)
        splits = scratch.shuffled(order, np.concatenate(units))
        attributes = {"description": "Read from files", "settings": settings.model_dump()}
        attributes["files"] = facts
        write_token_file(output, splits, object_types, attributes, labels.names)
    public = _public_counts(files)
    _print_counts(counts, public)
    content = {"files": facts, "events": counts, "events of the public sample": public}
    write_text(report, json.dumps(content, indent=2) + "\n")


def _read_unsplit(
    path: Path,
    settings: ReadSettings,
    object_types: Mapping[int, str],
    labels: Labels,
    tally: Tally,
) -> Iterator[Events]:
    """Yield the events of a token file with one X, in the file's unit of energy."""
    # A reader leaves the unit to what follows.
    splits, _ = read_token_file(path, object_types, "GeV", UNSPLIT)
    (split,) = splits.values()
    tally.num_places = len(split)
    stem = path.name.partition(".")[0]
    for events in split.blocks():
        if split.labels is None:
            events.labels[:] = labels.label(stem)
        tally.num_without_objects += int((events.types == 0).all(axis=1).sum())
        yield events


READERS = {"csv": read_csv, "delphes": read_delphes, "tokens": _read_unsplit}


def split_order(labels: NDArray[np.int64], seed: int) -> dict[str, NDArray[np.int64]]:
    """Return the numbers of the events of each split, in their order there.

    Of all events in the order of their labels, and at random among equal labels, each ninth of
    ten goes to val and each tenth to test. Each label is so shared out to within one event.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    turn[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels)) % 10
    turn = turn[order]
    chosen = (turn < 8, turn == 8, turn == 9)
    return {name: order[mask] for name, mask in zip(SPLITS, chosen, strict=True)}


def _counts(
    labels: NDArray[np.int64], order: Mapping[str, NDArray[np.int64]], names: Labels
) -> dict[str, dict[str, int]]:
    """Return the number of events by process and split."""
    counts = {}
    for label in np.unique(labels).tolist():
        numbers = {split: int((labels[part] == label).sum()) for split, part in order.items()}
        name = names.names.get(label, "unknown" if label == 0 else f"label {label}")
        counts[name] = {"all": sum(numbers.values()), **numbers}
    return counts


def _public_counts(files: Sequence[Path]) -> dict[str, int]:
    """Return the events of the public sample by process, for files with its names."""
    stems = {path.name.partition(".")[0] for path in files}
    return dict(PUBLIC_FILES[name] for name in PUBLIC_FILES if name in stems)


def _print_file(path: Path, facts: Mapping[str, Any], tally: Tally) -> None:
    print(f"Read {path}: {facts['events']} events, energies in {facts['energies in']}", flush=True)
    if tally.skipped:
        total = tally.num_skipped.total()
        print(f"  skipped {total} of {tally.num_places} {tally.place}s: {tally.kinds}")
    for name, number in tally.unknown_objects.items():
        first = tally.first_unknown[name]
        print(f"  left out {number} objects named {name!r} (first in {tally.place} {first})")
    for name, number in tally.unknown_processes.items():
        print(f"  {number} events of the process {name!r} have no label; see read.labels")
    if tally.num_cut["events"]:
        objects, events = tally.num_cut["objects"], tally.num_cut["events"]
        print(f"  cut off {objects} objects of {events} events with more objects than slots")
    if tally.num_without_objects:
        print(f"  kept {tally.num_without_objects} events without objects")
    for note in tally.notes:
        print(f"  {note}")


def _print_counts(counts: Mapping[str, Mapping[str, int]], public: Mapping[str, int]) -> None:
    print("events        " + "".join(f"{split:>10}" for split in ("all", *SPLITS)), end="")
    print(f"{'public':>10}" if public else "")
    for name, numbers in counts.items():
        print(f"{name:14}" + "".join(f"{number:>10}" for number in numbers.values()), end="")
        print(f"{public.get(name, ''):>10}" if public else "")
