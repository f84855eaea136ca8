"""The live view of the grid, and the record that each training writes for it.

The view reads files alone, so it works at any time and from any machine that sees the results.
"""

import math
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
    "trained": "yellow",
    "diverged": "magenta",
    "waiting": "dim",
    "done": "green",
}
# Not `read_settings`: with a thousand runs its checks would take seconds at each refresh.
NUM_EPOCHS = re.compile(r"^epochs: (\d+)$", re.MULTILINE)
RUN_NAME = re.compile(r"/beta_[0-9.]+(e[+-]?[0-9]+)?/seed_[0-9]+$")
TAIL_BYTES = 8192  # holds the last line of a log
EVALUATED = "evaluated"  # the last line of the log of an evaluation that succeeded


class Record(BaseModel):
    """A run's status.json: the state of its training and the numbers of its last finished epoch.

    Attributes
    ----------
    state
        waiting_for_lock: another process trains the same run. A killed process leaves running.
    epoch, epochs
        Epochs finished and wanted.
    val_loss
        Validation loss; null if it is not finite.
    throughput
        Training events per second.
    epoch_time_s
        Seconds that the epoch took.
    diverged
        Whether the loss is not finite.
    written
        Time of writing.
    """

    state: Literal["running", "waiting_for_lock", "stopped", "failed", "finished"] = "running"
    epoch: int = 0
    epochs: int = 0
    val_loss: float | None = None
    throughput: float | None = None
    epoch_time_s: float | None = None
    diverged: bool = False
    written: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def left_s(self) -> float:
        """Seconds until the last epoch ends, if the training goes on as fast."""
        since = (datetime.now(UTC) - self.written).total_seconds()
        return max((self.epochs - self.epoch) * (self.epoch_time_s or 0) - since, 0)


def read_record(folder: RunFolder) -> Record | None:
    """Return a run's record; None if it has none that can be read."""
    try:
        return Record.model_validate_json(folder.status_file.read_bytes())
    except (OSError, ValueError):
        return None


def update_record(folder: RunFolder, **changes: Any) -> None:
    """Change fields of a run's record, or of a new one."""
    record = read_record(folder) or Record()
    changes["written"] = datetime.now(UTC)
    text = record.model_copy(update=changes).model_dump_json(indent=2)
    with suppress(UserError):  # the view matters less than the training
        write_text(folder.status_file, text + "\n")


@contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Record that a training runs, and how it ends."""
    remove_leftovers(folder.status_file)
    update_record(folder, **dict(Record()))  # nothing stays of an earlier training
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
    record
        The numbers to show.
    note
        Why it failed, diverged, stopped or waits, in one line.
    """

    run: str
    state: str
    record: Record
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
    untrained = Record(epochs=int(wanted[1]) if wanted else 0)
    record = read_record(folder)
    recorded_state = record.state if record else None
    shown = record if record and record.epoch else untrained
    state, note = "waiting", ""
    if is_locked(folder.path):
        state = "running"
        if recorded_state == "waiting_for_lock":
            holder = _last_line(folder.path / LOCK)
            note = f"another process waits until this one ends: {holder}"
    elif folder.is_finished and not folder.checkpoint.exists():  # an evaluation deletes it
        if record and record.epochs != untrained.epochs:  # Snakemake will train it again
            shown = untrained
        elif record and record.diverged:
            state, note = "diverged", _reason(train_log)
        else:
            state = "done"
    elif folder.model.is_file():
        # An evaluation whose files were deleted did not fail.
        note = "" if _last_line(evaluate_log) == EVALUATED else _reason(evaluate_log)
        state = "failed" if note else "trained"
    elif recorded_state == "finished":  # and its model deleted since
        shown = untrained
    else:
        note = _reason(train_log)
        if recorded_state in ("running", "waiting_for_lock"):
            note = f"killed; last line of its log: {note or train_log}"
        state = "failed" if note and recorded_state != "stopped" else "waiting"
    return RunStatus(name, state, shown, note)


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


def left_s(statuses: list[RunStatus]) -> float:
    """Return the seconds until all trainings end, if as many run at a time as now; 0 if none runs.

    An epoch of a waiting run counts as the mean epoch of the others.
    """
    running = [status.record.left_s for status in statuses if status.state == "running"]
    known = [s.record.epoch_time_s for s in statuses if s.record.epoch_time_s is not None]
    if not running or not known:
        return 0
    waiting = [status.record for status in statuses if status.state == "waiting"]
    epochs = sum(record.epochs - record.epoch for record in waiting)
    return max(*running, (sum(running) + epochs * sum(known) / len(known)) / len(running))


def rendered(statuses: list[RunStatus], *, live: bool = False) -> "Group":
    """Return the sums, the notes and the grid as a table for the terminal.

    Parameters
    ----------
    statuses
        Of all runs.
    live
        Whether a small terminal may cut off the end: then the rows that matter come first.
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
        record, numbers = status.record, ["", "", ""]
        if record.epoch:
            val_loss, throughput = (
                math.nan if n is None else n for n in (record.val_loss, record.throughput)
            )
            left = str(timedelta(seconds=round(record.left_s)))
            running = status.state == "running"
            numbers = [f"{val_loss:.5g}", f"{throughput:.0f}", left if running else ""]
        state = Text(status.state, STYLES[status.state])
        table.add_row(status.run, state, f"{record.epoch}/{record.epochs}", *numbers)
    counts = Counter(status.state for status in statuses)
    sums = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    notes = [Text(f"{status.run}: {status.note}") for status in statuses if status.note]
    seconds = left_s(statuses)
    left = f"; about {timedelta(seconds=round(seconds))} left" if seconds else ""
    return Group(Text(f"{len(statuses)} runs: {sums}{left}"), *notes, table)


def watched(results: Path, interval_s: float) -> "Iterator[Group]":
    """Yield the table again and again, each `interval_s` seconds."""
    while True:
        yield rendered(read_status(results), live=True)
        time.sleep(interval_s)
