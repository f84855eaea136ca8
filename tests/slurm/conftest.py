"""A cluster on loopback, and studies that run on it with the real profile."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback import NotPossibleError, cluster

# What the tests change of the profile: names of partitions, limits, and how often to look.
SITE = {"STUDY_PARTITION": "cpu", "STUDY_GPU_PARTITION": "gpu"}
POLLING = ("--slurm-groups-init-seconds-before-status-checks", "6")
# Appended to the study's copy of the training: slow without work, so that the tests last as long on
# a busy machine; and a run that fails.
SLOW = """
_run_epoch = run_epoch


def run_epoch(*arguments):
    time.sleep({seconds})
    return _run_epoch(*arguments)
"""
FAILING = """
_fit = fit


def fit(settings, *arguments):
    if settings.key.name == "{run}":
        raise ValueError("out of luck")
    return _fit(settings, *arguments)
"""


@pytest.fixture(scope="session")
def slurm():
    """The cluster; the tests that need it are skipped where it cannot be."""
    try:
        with cluster() as state:
            yield state
    except NotPossibleError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def trained(study_type, tmp_path_factory):
    """A study whose four runs were trained undisturbed on this machine; not to be changed."""
    study = study_type.create_tiny(tmp_path_factory.mktemp("trained") / "study", epochs=40)
    study.run("--until", "train", "-j2")
    return study


@pytest.fixture(scope="session")
def submit_for_session(slurm, trained, tmp_path_factory):
    """Start snakemake on the cluster for a copy of `trained` whose runs are to be made again."""
    submitted = []

    def submit(*arguments, seconds_per_epoch=0, failing_run=None, **environment):
        study = trained.copy(tmp_path_factory.mktemp("submitted") / "study")
        for folder in ("runs", "logs/train"):
            shutil.rmtree(study / "results" / folder)
        with (study / "src/globals_heads/train/train.py").open("a", encoding="utf-8") as file:
            file.write(SLOW.format(seconds=seconds_per_epoch))
            file.write(FAILING.format(run=failing_run))
        submitted.append(Submitted(study, arguments, environment))
        return submitted[-1]

    yield submit
    for each in submitted:
        each.end()


@pytest.fixture
def submit_new(slurm, study_type, tmp_path):
    """Start snakemake on the cluster for a study of which nothing has been made."""
    submitted = []

    def submit(*arguments, **settings):
        study = study_type.create_tiny(tmp_path / "study", **settings)
        submitted.append(Submitted(study, arguments, {}))
        return submitted[-1]

    yield submit
    for each in submitted:
        each.end()


@pytest.fixture
def submit(submit_for_session):
    """Do the same, and end it with the test."""
    submitted = []

    def submit(*arguments, **options):
        submitted.append(submit_for_session(*arguments, **options))
        return submitted[-1]

    yield submit
    for each in submitted:
        each.end()


class Submitted:
    """A snakemake that runs beside the test.

    Parameters
    ----------
    study
        Where it runs.
    arguments
        What it is called with, besides the profile.
    environment
        Variables of the profile.
    """

    def __init__(self, study, arguments, environment):
        self.study = study
        self.arguments = arguments
        self.study.environment |= SITE | environment
        self.output = ""
        self.start()

    def start(self):
        """Type the command (again)."""
        self.log = (self.study / "terminal.log").open("w", encoding="utf-8")
        self.process = self.study.start(
            *self.arguments, *POLLING, profile="profiles/slurm", stdout=self.log
        )

    def wait(self, returncode=0, timeout=600, watch=None):
        """Wait for its end and return what it printed; meanwhile nobody trains a run twice.

        `watch` is called again and again.
        """
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.terminal()
            self.trainings()
            if watch:
                watch()
            time.sleep(0.2)
        assert self.process.returncode == returncode, self.terminal()
        return self.terminal()

    def wait_for(self, condition, timeout=300):
        """Wait until `condition()` holds, and return what it returned."""
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert self.process.poll() in (None, -9), self.terminal()
            assert time.monotonic() < deadline, self.terminal()
            self.trainings()
            time.sleep(0.2)
        return result

    def wait_for_epochs(self, number):
        """Wait until every run in training has finished so many epochs; return their numbers."""
        return self.wait_for(
            lambda: (epochs := self.epochs()) and min(epochs.values()) >= number and epochs
        )

    def terminal(self):
        """Return all that it printed."""
        return (self.study / "terminal.log").read_text(encoding="utf-8")

    def trainings(self):
        """Return the runs that some process trains right now; no run has two."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                here = (folder / "cwd").readlink() == self.study.path
                # What waits for another training has not loaded this yet, and what has just ended
                # its training has closed that.
                here = here and "libtorch" in (folder / "maps").read_text()
                files = {link.readlink().name for link in (folder / "fd").iterdir()}
                here = here and ".lock" in files
            except OSError:  # it has just ended
                continue
            if here and words[1:4] == ["-m", "globals_heads", "train"]:
                found[folder.name] = (parent, words[4].removeprefix("results/runs/"))
        # The child of a training looks the same until it starts a program of its own.
        runs = [run for parent, run in found.values() if parent not in found]
        assert len(runs) == len(set(runs)), f"two processes train one run: {runs}"
        return runs

    def epochs(self):
        """Return how many epochs each run has finished, by its log."""
        folder = self.study / "results/logs/train/runs"
        found = {
            str(path.relative_to(folder).with_suffix("")): re.findall(
                r"^\[(\d+)/40\]", path.read_text(encoding="utf-8"), re.M
            )
            for path in folder.glob("**/seed_0.log")
        }
        return {run: int(epochs[-1]) if epochs else 0 for run, epochs in found.items()}

    def resumed_after(self):
        """Return after how many epochs each run was taken up again, by its log."""
        found = {}
        pattern = r"^resumed from checkpoint\S* after (\d+) epochs"
        for run in self.epochs():
            if match := re.search(pattern, self.train_log(run), re.M):
                found[run] = int(match[1])
        return found

    def train_log(self, run):
        """Return the log of a training."""
        return (self.study / f"results/logs/train/runs/{run}.log").read_text(encoding="utf-8")

    def status(self):
        """Return the state of each run as the status view, outside of all jobs, shows it."""
        command = [sys.executable, "-m", "globals_heads", "status"]
        environment = os.environ | self.study.environment
        answer = subprocess.run(
            command,
            cwd=self.study.path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return dict(re.findall(r"^(\S+/seed_0) +(\w+)", answer, re.M))

    def jobs(self, *states):
        """Return the Slurm jobs that were submitted here, in these states or any, oldest first."""
        found = [
            job
            for job in squeue()
            if job["work_dir"] == str(self.study.path) and (not states or job["state"] in states)
        ]
        return sorted(found, key=lambda job: int(job["id"]))

    def end(self):
        """End it and all its Slurm jobs."""
        self.process.kill()
        self.process.wait()
        self.log.close()
        if ids := [job["id"] for job in self.jobs("RUNNING", "PENDING")]:
            subprocess.run(["scancel", "--full", "--signal=KILL", *ids], check=False)
            subprocess.run(["scancel", *ids], check=False)


def squeue():
    """Return the Slurm jobs of the cluster, finished ones included."""
    fields = {
        "id": "%A", "state": "%T", "partition": "%P", "cpus": "%C", "memory": "%m", "limit": "%l",
        "gres": "%b", "node": "%N", "work_dir": "%Z",
    }  # fmt: skip
    command = ["squeue", "--states=all", "--noheader", "--format", "|".join(fields.values())]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    return [dict(zip(fields, line.split("|"), strict=True)) for line in answer.splitlines()]


@pytest.fixture
def same_outcome(trained):
    """Check that a study's runs have the weights and facts of the undisturbed ones."""

    def check(study, *runs):
        for run in runs:
            for kind in ("model.pt", "facts/metrics_train.csv", "facts/metrics_val.csv"):
                path = f"results/runs/{run}/{kind}"
                expected, found = (each / path for each in (trained, study))
                if kind == "model.pt":
                    assert found.read_bytes() == expected.read_bytes()
                else:
                    assert repeatable(found) == repeatable(expected)

    return check


def repeatable(path):
    """Return a table of facts without the columns that no run repeats."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unrepeatable = {"epoch_time_s", "throughput", "peak_memory_mib"}
    return [{name: row[name] for name in row if name not in unrepeatable} for row in rows]
