"""Samples of simulated events: shards, and the token file merged from them.

A shard depends on the settings and its own number alone. The sample is therefore the same in
whatever order its shards are made, one by one or side by side.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.data import checks, detector, towers, tracks
from globals_heads.data.detector import accepted, detect
from globals_heads.data.events import Events
from globals_heads.data.pythia import (
    COMMON,
    LABEL_OF,
    MAX_PYTHIA_SEED,
    PROCESSES,
    EventGenerator,
)
from globals_heads.data.scratch import Scratch
from globals_heads.data.token_file import SPLITS, write_token_file
from globals_heads.files import new_hdf5, open_hdf5, scratch_file
from globals_heads.settings import Process, SimulateSettings

# Larger batches are no faster; smaller batches discard fewer events after the last one needed.
MAX_BATCH = 200
MIN_BATCH = 20

DESCRIPTION = (
    "Simulated proton-proton collisions at 13 TeV: leading-order Pythia 8 with parton showers and "
    "hadronisation, no pile-up, multiparton interactions {multiparton}, all decays inclusive, and "
    "a fast detector after the public ATLAS card of Delphes with anti-kt jets of R = "
    "{jet_radius:g}. tttt is a 400 GeV scalar, 27 GeV wide, made with one top pair and decaying to "
    "another; ttH is the Standard Model process; ttW and ttZ are a top pair and a boson from two "
    "uncorrelated scatters of the same protons; there is no ttWW. Tops decay without spin "
    "correlation. The proportions of the processes are chosen, not predicted. The "
    "cuts (HT above {min_ht_gev:g} GeV, at least {min_objects} objects, the 18 hardest kept) act "
    "on what the detector sees. Objects stand in the order jets and b-jets, electrons, muons, "
    "photons, each by falling pT. The sample is fit to ask how MET, a vector sum, can be read "
    "from the objects of an event; telling tttt from the other processes on it is a "
    "demonstration, not physics. The attributes pythia_common, pythia_settings and detector hold "
    "all constants; docs/events.md explains them. Pythia's seed is first_pythia_seeds[process] + "
    "shard, beginning again at 1 after {max_seed}; the detector's is NumPy's default_rng([seed, "
    "shard, process index]) with the indices of process_indices."
)


def process_counts(
    fractions: Mapping[Process, float], first: int, num_events: int
) -> dict[Process, int]:
    """Return the number of events of each process in one shard.

    One sequence deals all events of the sample to the processes: Webster's apportionment, where
    the j-th event of a process is due at (j - 1/2) / fraction. A shard takes its stretch of this
    sequence. Rounding within each shard would favour the same processes in all shards.

    Parameters
    ----------
    fractions
        Share of each process; only the ratios matter.
    first
        Number of events of the sample in the shards before this one.
    num_events
        Number of events in this shard.
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

    The shards of a process count up from a number drawn for the sample, so no two shards of it
    hold the same events.
    """
    sequence = np.random.SeedSequence([seed, _process_index(process)])
    return 1 + (int(sequence.generate_state(1)[0]) + shard) % MAX_PYTHIA_SEED


def detector_constants() -> dict[str, dict[str, Any]]:
    """Return all constants of the detector's modules, by module and name."""
    constants: dict[str, dict[str, Any]] = {}
    for module in (tracks, towers, detector):
        constants[module.__name__.rpartition(".")[2]] = {
            name: asdict(value) if isinstance(value, towers.Calorimeter) else value
            for name, value in vars(module).items()
            if name.isupper() and not name.startswith("_")
        }
    return constants


def simulate_shard(
    settings: SimulateSettings,
    object_types: Mapping[int, str],
    shard: int,
    num_events: int,
    output: Path,
) -> None:
    """Simulate `num_events` accepted events and write them to a small HDF5 file.

    Parameters
    ----------
    settings
        Processes, seed and cuts.
    object_types
        Meaning of each object-type code.
    shard
        Number of the shard, from 0.
    num_events
        Number of accepted events; each earlier shard holds `settings.shard_size`.
    output
        The file: X (num_events, 92) in GeV and radians, Y (num_events,), and attributes.

    Raises
    ------
    UserError
        If the cuts accept less than one event in a thousand, or the file cannot be written.
    """
    counts = process_counts(settings.fractions, shard * settings.shard_size, num_events)
    rows, labels, tally = [], [], {}
    for process, count in counts.items():
        batches, tally[process] = _accepted_events(settings, object_types, shard, process, count)
        rows += [events.rows for events in batches]
        labels += [events.labels for events in batches]
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
        Settings of the simulation; those of the shards must be equal.
    object_types
        Meaning of each object-type code.
    num_events
        Number of events in all shards together, at least 10.
    output
        The token file, with its provenance in the attributes.

    Raises
    ------
    UserError
        If the shards are not those of this sample, or the file cannot be written.
    """
    with scratch_file(output) as stream:
        scratch = Scratch(stream)
        origin = _origin(settings, object_types)
        order, tallies = _read_shards(shards, origin, num_events, scratch)
        order = order[np.random.default_rng(settings.seed).permutation(num_events)]
        tenth = num_events // 10
        parts = np.split(order, [num_events - 2 * tenth, num_events - tenth])
        splits = scratch.shuffled(dict(zip(SPLITS, parts, strict=True)))
        attributes = {
            "description": DESCRIPTION.format(
                multiparton="on" if settings.multiparton else "off",
                min_ht_gev=settings.min_ht_gev,
                min_objects=settings.min_objects,
                jet_radius=settings.jet_radius,
                max_seed=MAX_PYTHIA_SEED,
            ),
            "generators": _versions(),
            "settings": settings.model_dump(),
            "pythia_common": COMMON,
            "pythia_settings": {name: PROCESSES[name] for name in settings.fractions},
            "detector": detector_constants(),
            "num_shards": len(shards),
            "first_pythia_seeds": {
                name: pythia_seed(settings.seed, 0, name) for name in settings.fractions
            },
            "process_indices": {name: _process_index(name) for name in settings.fractions},
            "processes": _efficiencies(tallies),
        }
        write_token_file(output, splits, object_types, attributes)


def _accepted_events(
    settings: SimulateSettings,
    object_types: Mapping[int, str],
    shard: int,
    process: Process,
    count: int,
) -> tuple[list[Events], dict[str, int]]:
    """Return `count` accepted events in batches, and how many were generated, passed and kept."""
    batches: list[Events] = []
    seed = pythia_seed(settings.seed, shard, process)
    generator = EventGenerator(process, seed, settings.multiparton)
    rng = np.random.default_rng([settings.seed, shard, _process_index(process)])
    generated = passed = 0
    while passed < count:
        # Only as many as are probably still needed, since events beyond `count` are discarded.
        expected = (count - passed) * (generated + 2) / (passed + 1)
        collisions = generator.next_batch(int(np.clip(expected, MIN_BATCH, MAX_BATCH)))
        events = detect(collisions, LABEL_OF[process], object_types, settings, rng)
        chosen = accepted(events, object_types, settings.min_ht_gev, settings.min_objects)
        batches.append(events[chosen][: count - passed])
        generated += len(events)
        passed += int(chosen.sum())
        checks.check_efficiency(settings, process, passed, generated)
    return batches, {"generated": generated, "passed": passed, "kept": count}


def _read_shards(
    shards: Sequence[Path], origin: str, num_events: int, scratch: Scratch
) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """Append all shards to `scratch`.

    Returns
    -------
    order
        Where the events of shard 0, 1, ... lie in `scratch`.
    tallies
        The tallies of shard 0, 1, ...
    """
    by_number = {}
    for path in shards:
        with open_hdf5(path, *checks.SHARD) as file:
            tally = json.loads(file.attrs["counts"])
            rows, labels = file["X"][...], file["Y"][...]
            checks.check_shard(path, rows, labels, file.attrs["origin"], origin)
            number = int(file.attrs["shard"])
        first = scratch.num_events
        scratch.append(rows, labels)
        by_number[number] = (np.arange(first, scratch.num_events), tally)
    sizes = {number: len(places) for number, (places, _) in by_number.items()}
    checks.check_sample(sizes, len(shards), num_events)
    parts = [by_number[number] for number in sorted(by_number)]
    return np.concatenate([places for places, _ in parts]), [tally for _, tally in parts]


def _efficiencies(tallies: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the generated, passed and kept events and the cuts' efficiency of each process."""
    processes: dict[str, dict[str, float]] = {}
    for name in tallies[0]:
        total = {key: sum(t[name][key] for t in tallies) for key in ("generated", "passed", "kept")}
        total["efficiency"] = total["passed"] / max(total["generated"], 1)
        processes[name] = total
    return processes


def _origin(settings: SimulateSettings, object_types: Mapping[int, str]) -> str:
    """Return the settings and versions that decide the events of all shards, as JSON."""
    origin = {
        "settings": settings.model_dump(),
        "object_types": dict(object_types),
        "versions": _versions(),
    }
    return json.dumps(origin, sort_keys=True)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("pythia8mc", "fastjet", "globals-heads")}


def _process_index(process: Process) -> int:
    """Return the place of a process in `PROCESSES`; it is the same for all fractions."""
    return list(PROCESSES).index(process)
