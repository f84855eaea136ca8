"""A study remembers itself: its settings stay with its results, as results/study.yaml.

Each command compares its settings with this file, so that a forgotten option costs no finished
work.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import yaml

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.files import write_text
from globals_heads.provenance import dataset_name, finished_runs, source_name
from globals_heads.settings import Process, Settings
from globals_heads.validation import load_yaml, read_validated

NAME = "study.yaml"
CONFIG = Path("config/config.yaml")
CONFIG_SAID = f"# {CONFIG} said: "
FOLDERS = "# What the data in each folder were made from.\n"


def read_study(results: Path) -> Settings | None:
    """Return the settings of the study in `results`; None if nothing was made there."""
    path = results / NAME
    return read_validated(Settings, path) if path.exists() else None


def remember(study: Settings, results: Path) -> None:
    """Write study.yaml, and the list of the data.

    A look (`missing_runs: show`) makes no study. Neither does a change of which no run is trained:
    it may have been a mistake, and the runs of the study before are still there.
    """
    path = results / NAME
    if study.missing_runs == "show" or (
        path.exists() and not finished_runs(study, results, ["train"])
    ):
        return
    values = study.model_dump()
    # Overlays merge mappings: a process that is left out here would come back from config.yaml.
    values["simulate"]["fractions"] = {
        name: study.simulate.fractions.get(name, 0.0) for name in get_args(Process)
    }
    said = CONFIG_SAID + json.dumps(_config(), default=str)
    with suppress(UserError, ValueError, TypeError):  # the first step that cannot write says so
        write_text(path, yaml.safe_dump(values, sort_keys=False) + said + "\n")
        _list_data(study, results / "data/folders.yaml")


def _list_data(study: Settings, path: Path) -> None:
    """Write what each folder of data was made from, those of other settings included."""
    events = {"data", "read"} if study.data else {"num_events", "simulate"}
    known = load_yaml(path.read_text(encoding="utf-8")) if path.exists() else {}
    known |= {
        source_name(study): study.model_dump(include=events | {"object_types"}),
        dataset_name(study): study.model_dump(include=events | {"object_types", "pack"}),
    }
    known = {name: made_from for name, made_from in known.items() if (path.parent / name).exists()}
    if known:
        write_text(path, FOLDERS + yaml.safe_dump(known, sort_keys=False))


def forgotten(study: Settings, named: Mapping[str, Any], results: Path) -> tuple[str, int]:
    """Return how a command differs from the study in `results`, and the trained runs it costs.

    Parameters
    ----------
    study
        The settings of the command.
    named
        What --config and --configfile give. These keys are meant, and so are the keys that were
        changed in config/config.yaml since.
    results
        The folder of the study's results.

    Returns
    -------
    str
        What the study has, what the command assumes, and what to do; empty without a difference.
    int
        Number of runs, trained or on the way, that would be trained again or count as missing.
    """
    before = read_study(results)
    if before is None:
        return "", 0
    meant = _leaves(named).keys() | _changed_in_config(results / NAME)
    old, new = (_leaves(each.model_dump(exclude={"missing_runs"})) for each in (before, study))
    keys = [key for key in old | new if old.get(key) != new.get(key) and key not in meant]
    if not keys:
        return "", 0
    kept = finished_runs(study, results, ["train"])
    others = [RunFolder.of(results, key.name) for key in study.runs if key not in kept]
    number = sum(folder.is_trained or folder.checkpoint.is_file() for folder in others)
    runs = f"{number or 'no'} run{'' if number == 1 else 's'}"
    has, assumes = (
        ", ".join(f"{'.'.join(key)}: {json.dumps(values.get(key))}" for key in keys)
        for values in (old, new)
    )
    return (
        f"{results / NAME} has {has}; this command assumes {assumes} and "
        f"would {'count' if study.missing_runs == 'show' else 'train'} {runs} "
        f"{'as missing' if study.missing_runs == 'show' else 'again'}. "
        f"To go on with that study, add --configfile {results / NAME}; to change it, name each of "
        f"these keys in --config, --configfile or {CONFIG}; to start another one, use --directory."
    ), number


def _leaves(values: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of nested mappings by their places."""
    if not isinstance(values, Mapping):
        return {place: values}
    parts = (_leaves(value, (*place, str(key))) for key, value in values.items())
    return {key: value for part in parts for key, value in part.items()}


def _config() -> Any:
    return load_yaml(CONFIG.read_text(encoding="utf-8")) if CONFIG.exists() else {}


def _changed_in_config(path: Path) -> set[tuple[str, ...]]:
    """Return the keys of config/config.yaml that say other than when the study was made."""
    last = path.read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
    if not last.startswith(CONFIG_SAID):
        return set()
    now = json.loads(json.dumps(_config(), default=str))
    before, after = (_leaves(each) for each in (json.loads(last.removeprefix(CONFIG_SAID)), now))
    return {key for key in before | after if before.get(key) != after.get(key)}
