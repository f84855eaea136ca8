"""Samples of generated events: shards that can be made side by side, merged into one token file.

Every shard depends on the settings and its own number alone, so a sample is the same however many
of its shards are made at once, and in whatever order.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.data.detector import accepted, detect
from globals_heads.data.pythia import (
    LABEL_OF,
    MAX_PYTHIA_SEED,
    PROCESSES,
    EventGenerator,
)
from globals_heads.data.token_file import NUM_COLUMNS, Events, write_token_file
from globals_heads.errors import UserError
from globals_heads.hdf5 import new_hdf5, open_hdf5
from globals_heads.settings import Process, SimulateSettings

# Larger batches gain no speed, smaller ones waste fewer events beyond the last one wanted.
MAX_BATCH = 200
MIN_BATCH = 20
# Below one accepted event in a thousand a sample takes hours; better to say so.
PATIENCE = 5_000
MIN_EFFICIENCY = 1e-3

DESCRIPTION = (
    "Simulated proton-proton collisions at 13 TeV: leading-order Pythia 8 with parton showers and "
    "hadronisation, no pile-up, multiparton interactions {multiparton}, all decays inclusive, and "
    "a fast detector after the public ATLAS card of Delphes with anti-kt jets of R = 0.4. tttt is "
    "a 400 GeV scalar made with one top pair and decaying to another; ttH is the Standard Model "
    "process; ttW and ttZ are a top pair and a boson from two uncorrelated scatters of the same "
    "protons; there is no ttWW. The proportions of the processes are chosen, not predicted. The "
    "cuts (HT above {min_ht_gev:g} GeV, at least {min_objects} objects, the 18 hardest kept) act "
    "on what the detector sees. Objects stand in the order jets and b-jets, electrons, muons, "
    "photons, each by falling pT. The sample is fit to ask how MET, a vector sum, can be read "
    "from the objects of an event; telling tttt from the other processes on it is a "
    "demonstration, not physics. Pythia's seed is first_pythia_seeds[process] + shard, beginning "
    "again at 1 after {max_seed}; the detector's is NumPy's default_rng([seed, shard, process "
    "index]) with the indices of process_indices."
)


def shard_sizes(num_events: int, shard_size: int) -> list[int]:
    """Return the numbers of events of all shards of a sample; only the last can be smaller."""
    sizes = [shard_size] * (num_events // shard_size)
    return [*sizes, num_events % shard_size] if num_events % shard_size else sizes


def process_counts(
    fractions: Mapping[Process, float], first: int, num_events: int
) -> dict[Process, int]:
    """Return how many of the events `first` to `first + num_events - 1` each process gets.

    The events of a sample are dealt to the processes in one sequence (Webster's apportionment,
    the j-th event of a process being due at (j - 1/2) / fraction), of which a shard takes its
    stretch. Largest remainders in each shard would favour the same processes in all of them.

    Parameters
    ----------
    fractions
        Share of each process; only the ratios matter.
    first
        Number of events of the sample before these.
    num_events
        Number of events to deal.
    """
    names = [name for name in PROCESSES if name in fractions]
    share = np.array([fractions[name] for name in names]) / sum(fractions.values())
    last = first + num_events
    candidates = np.ceil(share * last).astype(np.int64) + 1
    process = np.repeat(np.arange(len(names)), candidates)
    turn = np.concatenate([np.arange(n) for n in candidates]) + 0.5
    dealt = process[np.argsort(turn / share[process], kind="stable")][first:last]
    counts = np.bincount(dealt, minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def pythia_seed(seed: int, shard: int, process: Process) -> int:
    """Return Pythia's seed, 1 to 900,000,000, of one process in one shard.

    The shards of a process count up from a number drawn for the sample, so that no two of them
    ever hold the same events.
    """
    sequence = np.random.SeedSequence([seed, _process_index(process)])
    return 1 + (int(sequence.generate_state(1)[0]) + shard) % MAX_PYTHIA_SEED


def simulate_shard(
    settings: SimulateSettings,
    object_types: Mapping[int, str],
    shard: int,
    num_events: int,
    output: Path,
) -> None:
    """Make `num_events` accepted events and write them to a small HDF5 file.

    Parameters
    ----------
    settings
        Processes, seed and cuts.
    object_types
        Meaning of each object-type code.
    shard
        Number of the shard, from 0.
    num_events
        Number of accepted events; all shards before hold `settings.shard_size`.
    output
        The file: X (num_events, 92) in GeV and radians, Y (num_events,), and attributes.

    Raises
    ------
    UserError
        If the cuts accept less than one event in a thousand.
    """
    counts = process_counts(settings.fractions, shard * settings.shard_size, num_events)
    rows, labels, tally = [], [], {}
    for process, count in counts.items():
        generated = passed = 0
        for events, tried in _accepted_batches(settings, object_types, shard, process, count):
            rows.append(events.rows[: count - passed])
            labels.append(events.labels[: count - passed])
            generated += tried
            passed += len(events)
        tally[process] = {"generated": generated, "passed": passed, "kept": count}
    with new_hdf5(output) as file:
        file["X"] = np.concatenate(rows)
        file["Y"] = np.concatenate(labels)
        file.attrs["shard"] = shard
        file.attrs["origin"] = _origin(settings, object_types)
        file.attrs["counts"] = json.dumps(tally)
        seeds = {process: pythia_seed(settings.seed, shard, process) for process in counts}
        file.attrs["pythia_seeds"] = json.dumps(seeds)


def merge_shards(
    shards: Sequence[Path],
    settings: SimulateSettings,
    object_types: Mapping[int, str],
    num_events: int,
    output: Path,
) -> None:
    """Shuffle the events of all shards, split them 80/10/10 and write the token file.

    Parameters
    ----------
    shards
        The files of all shards, in any order.
    settings
        What they were made with.
    object_types
        Meaning of each object-type code.
    num_events
        Number of events in all shards together, at least 10.
    output
        The token file, with its provenance in the attributes.

    Raises
    ------
    UserError
        If the shards are not those of this sample.
    """
    if num_events < 10:
        raise UserError(
            f"num_events is {num_events}, but a sample needs at least 10 to fill its three "
            "splits; set num_events to 10 or more."
        )
    rows, labels, tallies = _read_shards(shards, _origin(settings, object_types), num_events)
    events = Events.from_rows(rows, labels)
    order = np.random.default_rng(settings.seed).permutation(num_events)
    tenth = num_events // 10
    train, val, test = np.split(order, [num_events - 2 * tenth, num_events - tenth])
    write_token_file(
        output,
        {"train": events[train], "val": events[val], "test": events[test]},
        object_types,
        {
            "description": DESCRIPTION.format(
                multiparton="on" if settings.multiparton else "off",
                min_ht_gev=settings.min_ht_gev,
                min_objects=settings.min_objects,
                max_seed=MAX_PYTHIA_SEED,
            ),
            "generators": _versions(),
            "settings": settings.model_dump(),
            "pythia_settings": {name: PROCESSES[name] for name in settings.fractions},
            "num_shards": len(shards),
            "first_pythia_seeds": {
                name: pythia_seed(settings.seed, 0, name) for name in settings.fractions
            },
            "process_indices": {name: _process_index(name) for name in settings.fractions},
            "processes": _efficiencies(tallies),
        },
    )


def _accepted_batches(
    settings: SimulateSettings,
    object_types: Mapping[int, str],
    shard: int,
    process: Process,
    count: int,
) -> Iterator[tuple[Events, int]]:
    """Yield batches of accepted events and how many were generated, until `count` are reached."""
    if count == 0:
        return
    seed = pythia_seed(settings.seed, shard, process)
    generator = EventGenerator(process, seed, settings.multiparton)
    rng = np.random.default_rng([settings.seed, shard, _process_index(process)])
    generated = passed = 0
    while passed < count:
        # As many as are likely to be missing: what comes beyond the last one is thrown away.
        expected = (count - passed) * (generated + 2) / (passed + 1)
        collisions = generator.next_batch(int(np.clip(expected, MIN_BATCH, MAX_BATCH)))
        events = detect(collisions, LABEL_OF[process], object_types, rng)
        chosen = accepted(events, object_types, settings.min_ht_gev, settings.min_objects)
        generated += len(events)
        passed += int(chosen.sum())
        if generated >= PATIENCE and passed < MIN_EFFICIENCY * generated:
            raise UserError(
                f"The cuts min_ht_gev {settings.min_ht_gev:g} and min_objects "
                f"{settings.min_objects} accepted {passed} of {generated} {process} events, but "
                "at least 1 in 1000 must pass; lower them under simulate in the config."
            )
        yield events[chosen], len(events)


def _read_shards(
    shards: Sequence[Path], origin: str, num_events: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[dict[str, Any]]]:
    """Return rows, labels and tallies of all shards, in the order of their numbers."""
    by_number = {}
    for path in shards:
        remedy = "delete it and let it be made again"
        with open_hdf5(path, "cannot be read as a shard of simulated events", remedy) as file:
            if file.attrs["origin"] != origin:
                raise UserError(
                    f"{path} was made with other settings or versions than the present ones; "
                    f"{remedy}."
                )
            tally = json.loads(file.attrs["counts"])
            rows, labels = file["X"][...], file["Y"][...]
            if rows.shape != (len(labels), NUM_COLUMNS) or labels.ndim != 1:
                raise ValueError(f"shapes {rows.shape} and {labels.shape}")
            by_number[int(file.attrs["shard"])] = (rows, labels, tally)
    parts = [by_number[number] for number in sorted(by_number)]
    found = sum(len(rows) for rows, _, _ in parts)
    if sorted(by_number) != list(range(len(shards))) or found != num_events:
        raise UserError(
            f"The shards numbered {sorted(by_number)} hold {found} events, but the sample needs "
            f"{num_events} from {len(shards)} different shards counted from 0; "
            "delete them and let them be made again."
        )
    rows = np.concatenate([rows for rows, _, _ in parts])
    labels = np.concatenate([labels for _, labels, _ in parts])
    return rows, labels, [tally for _, _, tally in parts]


def _efficiencies(tallies: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the events generated, passed and kept of each process, and the cuts' efficiency."""
    processes: dict[str, dict[str, float]] = {}
    for name in tallies[0]:
        total = {key: sum(t[name][key] for t in tallies) for key in ("generated", "passed", "kept")}
        total["efficiency"] = total["passed"] / max(total["generated"], 1)
        processes[name] = total
    return processes


def _origin(settings: SimulateSettings, object_types: Mapping[int, str]) -> str:
    """Return all that decides a shard's events besides its number, as JSON."""
    origin = {
        "settings": settings.model_dump(),
        "object_types": dict(object_types),
        "versions": _versions(),
    }
    return json.dumps(origin, sort_keys=True)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("pythia8mc", "fastjet", "globals-heads")}


def _process_index(process: Process) -> int:
    """Return the place of a process in `PROCESSES`, which no choice of fractions changes."""
    return list(PROCESSES).index(process)
