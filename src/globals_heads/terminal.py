"""What a run says in the terminal: one line per finished step, and the answer at its end.

Snakemake's log file keeps its own words, with all files and commands.
"""

import csv
import json
import logging
import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from globals_heads.facts import RunFolder
from globals_heads.numbers import MIN_SEEDS
from globals_heads.settings import Settings

# Snakemake's logger, and its handler that writes to the terminal.
LOGGER = logging.getLogger("snakemake.logging")
HANDLER = "DefaultStreamHandler"
# Records without a line in the terminal.
SILENT = ("job_info", "shellcmd", "job_started", "job_finished")
STOPS = "Terminating processes on user request"  # what Snakemake says after Ctrl-C
STOPPED = (
    "Stopped. Everything that is finished is saved, and each training saved after the step that it "
    "was in. The same command goes on from there."
)


class Terminal(logging.Formatter):
    """Filter and formatter of Snakemake's handler.

    Parameters
    ----------
    results
        The folder of the study's results.
    """

    def __init__(self, results: Path) -> None:
        super().__init__()
        self.results = results
        self.is_stopped = False
        self.products: dict[int, tuple[str, str]] = {}  # by job: its rule and its first output
        self.finished: list[int] = []  # jobs without their line yet
        self.trainings = Trainings()

    def start(self, num_trainings: int) -> None:
        """Take the place of Snakemake's formatter, unless all its words are wanted (--verbose)."""
        self.trainings.waiting = num_trainings
        handler = next((each for each in LOGGER.handlers if each.name == HANDLER), None)
        if handler and handler.formatter and LOGGER.level != logging.DEBUG:
            self.usual = handler.formatter
            handler.addFilter(self)
            handler.setFormatter(self)
        if num_trainings:
            LOGGER.info("Where each run stands: type `make status` in a second terminal.")

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the terminal shows a record."""
        event = getattr(record, "event", None)
        if event == "job_info":
            job = _job(record)
            self.products[job["jobid"]] = job["rule_name"], next(iter(job["output"]), "")
            if job["rule_name"] == "train":
                self.trainings.begin(job["jobid"])
        elif event == "job_finished":
            self.finished.append(_job(record)["job_id"])
        self.is_stopped |= str(record.msg).startswith(STOPS)
        if self.is_stopped and record.levelno >= logging.ERROR:
            return False
        return event not in SILENT and record.msg != "Select jobs to execute..."

    def format(self, record: logging.LogRecord) -> str:
        """Return one line for each finished step, and Snakemake's own words of anything else."""
        if getattr(record, "event", None) != "progress":
            return self.usual.format(record)
        count = f"[{_job(record)['done']}/{_job(record)['total']}]"
        lines = [f"{count} {self._step(job)}" for job in self.finished if job in self.products]
        self.finished.clear()
        return "\n".join(lines)

    def _step(self, job: int) -> str:
        rule, product = self.products[job]
        if rule != "train":
            return f"{rule} {product}".strip()
        folder = RunFolder(Path(product).parent)
        name = folder.path.relative_to(self.results).as_posix().removeprefix("runs").lstrip("/_")
        return f"train {name}: {losses(folder)}; {self.trainings.end(job)}"


class Trainings:
    """The trainings of a command: how many wait, since when the others run, how long some took."""

    def __init__(self) -> None:
        self.waiting = 0
        self.started: dict[int, float] = {}
        self.durations_s: list[float] = []

    def begin(self, job: int) -> None:
        """Count a training that begins, or begins again."""
        self.waiting -= job not in self.started
        self.started[job] = time.monotonic()

    def end(self, job: int) -> str:
        """Count a training that has ended; return how many have, and the time left, in words."""
        now, side_by_side = time.monotonic(), len(self.started)
        self.durations_s.append(now - self.started.pop(job))
        mean_s = sum(self.durations_s) / len(self.durations_s)
        running_s = [max(mean_s - (now - start), 0) for start in self.started.values()]
        left_s = max((sum(running_s) + self.waiting * mean_s) / side_by_side, *running_s, 0)
        done = len(self.durations_s)
        count = f"{done} of {done + len(self.started) + self.waiting} trained"
        return f"{count}, about {timedelta(seconds=round(left_s))} left" if left_s else count


def losses(folder: RunFolder) -> str:
    """Return the losses of a trained run's best epoch in words."""
    with folder.metrics("val").open(encoding="utf-8") as stream:
        epochs = list(csv.DictReader(stream))
    if not math.isfinite(float(epochs[-1]["loss"])):
        return f"diverged in epoch {len(epochs)}"
    best = min(epochs, key=lambda row: float(row["loss"]))
    words = [
        f"{name} {float(best[column]):.4g}"
        for name, column in (
            ("val_loss", "loss"),
            ("rec_tokens", "rec_tokens"),
            ("rec_globals", "rec_globals"),
        )
    ]
    return f"best epoch {best['epoch']} of {len(epochs)}, {', '.join(words)}"


def answer(study: Settings, results: Path, with_more_seeds: str) -> str:
    """Return the answer after its warnings, where its page is, and the command that answers more.

    Parameters
    ----------
    study
        The settings of the study.
    results
        The folder of its results.
    with_more_seeds
        The command that trains enough seeds for intervals.
    """
    verdict = json.loads((results / "verdict.json").read_text(encoding="utf-8"))
    more = "All results as one page:    make report"
    if study.seeds < MIN_SEEDS:
        more = f"Sure of more, with {MIN_SEEDS} seeds: {with_more_seeds}"
    page = f"Tables and numbers:         {results / 'verdict.html'}"
    return "\n".join(["", *verdict["warnings"], *verdict["answer"], "", page, more, ""])


def _job(record: logging.LogRecord) -> dict[str, Any]:
    """Return what Snakemake adds to a record."""
    return record.__dict__
