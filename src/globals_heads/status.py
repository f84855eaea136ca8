"""The live view of the grid, and the record that each training writes for it.

The view reads files alone, so it works at any time and from any machine that sees the results.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from pydantic import AwareDatetime, BaseModel, Field

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.files import LOCK, is_locked, remove_leftovers, write_text
from globals_heads.settings import LatentSpace, run_path
from globals_heads.train.signals import Stopped

if TYPE_CHECKING:
    from rich.console import Group

# In the order of the live view.
STYLES = {
    "failed": "red",
    "running": "cyan",
    "diverged": "magenta",
    "waiting": "dim",
    "done": "green",
}
NUM_EPOCHS = re.compile(r"^epochs: (\d+)$", re.MULTILINE)
RUN_NAME = re.compile(r"/beta_[0-9.]+(e[+-]?[0-9]+)?/seed_[0-9]+$")
TAIL_BYTES = 8192  # holds the last line of a log


class Record(BaseModel):
    """A run's status.json: what its training says while it runs, and at its end.

    Attributes
    ----------
    state
        waiting: for another process that trains the same run. A process that is killed leaves
        running behind.
    epoch, epochs
        Epochs finished and wanted; 0 before the first one.
    val_loss
        Validation loss of the last finished epoch; null if it is not finite.
    throughput
        Training events per second in that epoch.
    epoch_time_s
        Seconds that the epoch took.
    diverged
        Whether the loss of that epoch is not finite.
    written
        When the record was written.
    """

    state: Literal["running", "waiting", "stopped", "failed", "finished"]
    epoch: int = 0
    epochs: int = 0
    val_loss: float | None = None
    throughput: float | None = None
    epoch_time_s: float | None = None
    diverged: bool = False
    written: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


def read_record(folder: RunFolder) -> Record | None:
    """Return a run's record; None if it has none that can be read."""
    try:
        return Record.model_validate_json(folder.status_file.read_bytes())
    except (OSError, ValueError):
        return None


def update_record(folder: RunFolder, **changes: Any) -> None:
    """Change fields of a run's record; without a record, write one of a running training."""
    record = read_record(folder) or Record(state="running")
    changes["written"] = datetime.now(UTC)
    text = record.model_copy(update=changes).model_dump_json(indent=2)
    with suppress(UserError):  # the view matters less than the training
        write_text(folder.status_file, text + "\n")


@contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Record that a training runs, and how it ends."""
    remove_leftovers(folder.status_file)
    update_record(folder, **dict(Record(state="running")))
    try:
        yield
    except BaseException as error:
        update_record(folder, state="stopped" if isinstance(error, Stopped) else "failed")
        raise
    update_record(folder, state="finished")


class RunStatus(NamedTuple):
    """Where one run stands.

    Attributes
    ----------
    run
        Its name.
    state
        A key of `STYLES`.
    epoch, epochs
        Epochs finished and wanted.
    val_loss
        Validation loss of the last finished epoch.
    throughput
        Training events per second in that epoch.
    left_s
        Seconds that a running one still needs; None if not known.
    note
        Why it failed, diverged, stopped or waits, in one line.
    """

    run: str
    state: str
    epoch: int
    epochs: int
    val_loss: str = ""
    throughput: int | None = None
    left_s: float | None = None
    note: str = ""


def read_status(results: Path) -> list[RunStatus]:
    """Return where each run stands, in the order of the grid.

    Parameters
    ----------
    results
        The folder of the study's results.

    Raises
    ------
    UserError
        If it holds no run.
    """
    found = (
        path.parent.relative_to(results).as_posix().removeprefix("runs").lstrip("/_")
        for path in results.glob("runs*/*/beta_*/seed_*/cfg.yaml")
    )
    names = [name for name in found if RUN_NAME.search(name)]
    if not names:
        raise UserError(
            f"{results} holds no run; start with `snakemake --profile local`, or give the folder "
            "of the results with --results."
        )
    return [_run_status(results, name) for name in sorted(names, key=_place)]


def _place(run: str) -> tuple[list[str], int, float, int]:
    *variant, space, beta, seed = run.split("/")
    spaces = get_args(LatentSpace)
    column = spaces.index(space) if space in spaces else len(spaces)
    return variant, column, float(beta.removeprefix("beta_")), int(seed.removeprefix("seed_"))


def _run_status(results: Path, name: str) -> RunStatus:
    folder = RunFolder.of(results, name)
    train_log, evaluate_log = (
        results / "logs" / step / f"{run_path(name)}.log" for step in ("train", "evaluate")
    )
    wanted = NUM_EPOCHS.search(_tail(folder.settings))
    untrained = RunStatus(name, "waiting", 0, int(wanted[1]) if wanted else 0)
    record = read_record(folder)
    status = _recorded_status(untrained, record) if record else untrained

    if is_locked(folder.path):
        holder = _last_line(folder.path / LOCK)
        waits = record is not None and record.state == "waiting"
        note = f"another process waits until this one ends: {holder}" if waits else ""
        return status._replace(state="running", note=note)
    status = status._replace(left_s=None)
    if folder.is_finished:
        return _finished_status(untrained, status, record, train_log)
    note = _reason(train_log)
    if folder.model.is_file():
        note = _reason(evaluate_log)
    elif record and record.state == "stopped":
        return status._replace(note=note)
    elif record and record.state == "finished":  # and its model deleted since
        return untrained
    elif record and record.state in ("running", "waiting"):
        note = f"killed without a word; {note or train_log}"
    return status._replace(state="failed" if note else "waiting", note=note)


def _finished_status(
    untrained: RunStatus, status: RunStatus, record: Record | None, log: Path
) -> RunStatus:
    """Return the status of a trained and evaluated run; `log` is that of its training."""
    if record is None:  # deleted by hand
        return untrained._replace(state="done", epoch=untrained.epochs)
    if record.epochs != untrained.epochs:  # Snakemake will train it again
        return untrained
    if record.diverged:
        return status._replace(state="diverged", note=_reason(log))
    return status._replace(state="done")


def _recorded_status(untrained: RunStatus, record: Record) -> RunStatus:
    """Return the numbers of a record, for a run that still trains."""
    if not record.epoch or not record.epoch_time_s:
        return untrained
    since = (datetime.now(UTC) - record.written).total_seconds()
    return untrained._replace(
        epoch=record.epoch,
        epochs=record.epochs,
        val_loss="nan" if record.val_loss is None else f"{record.val_loss:.5g}",
        throughput=None if record.throughput is None else round(record.throughput),
        left_s=max((record.epochs - record.epoch) * record.epoch_time_s - since, 0.0),
    )


def _reason(log: Path) -> str:
    """Return the last line of a log and its path; nothing without a line."""
    last = _last_line(log)
    return f"{last} ({log})" if last else ""


def _last_line(path: Path) -> str:
    return _tail(path).strip().rpartition("\n")[2]


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(stream.seek(0, 2) - TAIL_BYTES, 0))
            return stream.read().decode(errors="replace")
    except OSError:  # not there, or nothing that this user may read
        return ""


def rendered(statuses: list[RunStatus], *, live: bool = False) -> "Group":
    """Return the grid as a table for the terminal, with notes and sums.

    Parameters
    ----------
    statuses
        Of all runs.
    live
        Whether a small terminal may cut off the end: then what matters comes first.
    """
    # Not at the top: a training writes its record without them.
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if live:
        statuses = sorted(statuses, key=lambda status: list(STYLES).index(status.state))
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "state", "epoch", "val_loss", "events/s", "left"):
        right = heading in ("epoch", "val_loss", "events/s", "left")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for status in statuses:
        table.add_row(
            status.run,
            Text(status.state, STYLES[status.state]),
            f"{status.epoch}/{status.epochs}",
            status.val_loss,
            "" if status.throughput is None else str(status.throughput),
            "" if status.left_s is None else str(timedelta(seconds=round(status.left_s))),
        )
    counts = Counter(status.state for status in statuses)
    sums = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    notes = [Text(f"{status.run}: {status.note}") for status in statuses if status.note]
    total = Text(f"{len(statuses)} runs: {sums}")
    return Group(total, *notes, table) if live else Group(table, *notes, total)


def watched(results: Path, interval_s: float) -> "Iterator[Group]":
    """Yield the table again and again, each `interval_s` seconds."""
    while True:
        yield rendered(read_status(results), live=True)
        time.sleep(interval_s)
