"""The live view of the grid, read from files alone: at any time, from any machine that sees them.

This module knows nothing of how runs are trained; it reads what they leave behind.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, get_args

from rich.console import Group
from rich.table import Table
from rich.text import Text

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.files import WAITING, is_locked
from globals_heads.settings import LatentSpace, run_path

# In the order of the live view.
STYLES = {
    "failed": "red",
    "running": "cyan",
    "diverged": "magenta",
    "waiting": "dim",
    "done": "green",
}
EPOCH_LINE = re.compile(
    r"^\[(\d+)/(\d+)\] val_loss=(\S+) .*?(\d+) events/s, (\S+) s/epoch$", re.MULTILINE
)
NUM_EPOCHS = re.compile(r"^epochs: (\d+)$", re.MULTILINE)
RUN_NAME = re.compile(r"/beta_[0-9.]+(e[+-]?[0-9]+)?/seed_[0-9]+$")
TAIL_BYTES = 8192  # holds many lines of a log, or the end of a traceback


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
        Validation loss of the last finished epoch, as its log spells it.
    throughput
        Training events per second in that epoch.
    left_s
        Seconds that a running one still needs; None if not known.
    note
        Why it failed, diverged or stopped, in one line, with the path of its log.
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
    log = results / "logs" / "train" / f"{run_path(name)}.log"
    tail = _tail(log) or _tail(folder.path / "run.log")
    wanted = NUM_EPOCHS.search(_tail(folder.settings))
    epochs_wanted = int(wanted[1]) if wanted else 0
    status = RunStatus(name, "waiting", 0, epochs_wanted)
    left = None
    for epoch, epochs, val_loss, throughput, epoch_time_s in EPOCH_LINE.findall(tail):
        status = status._replace(
            epoch=int(epoch), epochs=int(epochs), val_loss=val_loss, throughput=int(throughput)
        )
        left = (int(epochs) - int(epoch)) * float(epoch_time_s)
    last = tail.strip().rpartition("\n")[2]
    # Made with as many epochs as its cfg.yaml says now; otherwise it is to be trained again.
    if folder.is_finished and status.epochs == epochs_wanted:
        diverged = last.startswith("diverged")
        return status._replace(
            state="diverged" if diverged else "done", note=f"{last} ({log})" if diverged else ""
        )
    if is_locked(folder.path):
        if left is not None:
            left = max(left - (time.time() - log.stat().st_mtime), 0.0)
        note = f"{last} ({log})" if last.startswith(WAITING) else ""
        return status._replace(state="running", left_s=left, note=note)
    if folder.is_finished:
        return RunStatus(name, "waiting", 0, epochs_wanted)
    if folder.model.is_file():
        log = results / "logs" / "evaluate" / f"{run_path(name)}.log"
        last = _tail(log).strip().rpartition("\n")[2]
        return status._replace(state="failed" if last else "waiting", note=_reason(last, log))
    if last.startswith("Stopped"):
        return status._replace(note=_reason(last, log))
    return status._replace(state="failed" if last else "waiting", note=_reason(last, log))


def _reason(last: str, log: Path) -> str:
    """Return why a run ended, as the last line of its log says it; nothing without a line."""
    if EPOCH_LINE.match(last) or last.startswith(("resumed", WAITING)):
        last = "killed without a word"
    return f"{last} ({log})" if last else ""


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(stream.seek(0, 2) - TAIL_BYTES, 0))
            return stream.read().decode(errors="replace")
    except OSError:  # not there, or nothing that this user may read
        return ""


def rendered(statuses: list[RunStatus], *, live: bool = False) -> Group:
    """Return the grid as a table for the terminal, with notes and sums.

    Parameters
    ----------
    statuses
        Of all runs.
    live
        Whether the end may be cut off by a small terminal: then what matters comes first.
    """
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


def watched(results: Path, interval_s: float) -> Iterator[Group]:
    """Yield the table again and again, each `interval_s` seconds."""
    while True:
        yield rendered(read_status(results), live=True)
        time.sleep(interval_s)
