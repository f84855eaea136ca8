"""The live view: each state from the files that a run leaves behind."""

import io
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from globals_heads.cli import app
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.files import is_locked, run_lock
from globals_heads.status import EPOCH_LINE, read_status, rendered
from globals_heads.train.train import format_log_line

RUN = "vq/beta_10/seed_0"
LINES = [f"[{i}/4] val_loss=0.{i} rec_tokens=0.1 900 events/s, 10 s/epoch" for i in (1, 2)]


@pytest.fixture
def runs(tmp_path):
    """A study's folder of runs with one run that waits."""
    folder = RunFolder.of(tmp_path, RUN)
    folder.path.mkdir(parents=True)
    folder.settings.write_text("latent_space: vq\nepochs: 4\n")
    return tmp_path


def log(runs, *lines, step="train"):
    path = runs / "logs" / step / f"runs/{RUN}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def finish(runs):
    folder = RunFolder.of(runs, RUN)
    (folder.path / "facts").mkdir()
    for split in ("train", "val", "test"):
        folder.metrics(split).touch()
    folder.events("test").touch()
    folder.model.touch()


def status(runs):
    (found,) = read_status(runs)
    return found


def test_the_line_of_a_log_is_understood():
    facts = {
        "epoch": 3,
        "loss": 0.5,
        "rec_tokens": 0.4,
        "rec_globals": 0.1,
        "clipped_fraction": 0.0,
        "throughput": 1234.5,
        "epoch_time_s": 0.125,
    }
    match = EPOCH_LINE.match(format_log_line(20, facts, facts))
    assert match.groups() == ("3", "20", "0.5", "1234", "0.125")


def give_up():
    """Wait for no other process."""
    raise AssertionError


def test_a_run_waits_until_its_log_says_anything(runs):
    assert status(runs)[:4] == (RUN, "waiting", 0, 4)
    log(runs)
    assert status(runs).state == "waiting"


def test_a_run_trains_while_its_lock_is_held(runs):
    path = log(runs, *LINES)
    os.utime(path, (time.time() - 5, time.time() - 5))
    with run_lock(RunFolder.of(runs, RUN).path, give_up):
        found = status(runs)
    assert found[1:6] == ("running", 2, 4, "0.2", 900)
    assert 13 < found.left_s <= 15  # two epochs of ten seconds, five of which have passed


def test_a_run_that_waits_for_another_process_says_for_whom(runs):
    line = "Waiting for another process that still trains it (process 7 on node)"
    log(runs, line)
    with run_lock(RunFolder.of(runs, RUN).path, give_up):
        found = status(runs)
    assert found.state == "running"
    assert found.note.startswith(line)


def test_a_finished_run_with_other_epochs_than_its_settings_waits(runs):
    """Snakemake will train it again, and has not yet come to it."""
    log(runs, *(line.replace("/4]", "/2]") for line in LINES))
    finish(runs)
    assert status(runs)[:4] == (RUN, "waiting", 0, 4)


def test_nothing_is_cut_off_for_another_program(runs):
    """A table is as wide as its longest name, whatever the terminal."""
    command = [sys.executable, "-m", "globals_heads", "status", "--results", str(runs)]
    long = RunFolder.of(runs, "a_long_name_of_a_variant" * 4 + f"/{RUN}").path
    shutil.copytree(RunFolder.of(runs, RUN).path, long)
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^{'a_long_name_of_a_variant' * 4}/{RUN} +waiting +0/4", found, re.M)


def test_the_live_view_begins_with_what_matters(runs):
    """A small terminal cuts off its end."""
    finish(runs)
    failed = runs / "runs/vq/beta_10/seed_1"
    shutil.copytree(RunFolder.of(runs, RUN).path, failed)
    RunFolder(failed).model.unlink()
    path = runs / "logs/train/runs/vq/beta_10/seed_1.log"
    path.parent.mkdir(parents=True)
    path.write_text("Error: out of luck\n")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(rendered(read_status(runs), live=True))
    first, note, _, row, *_ = console.export_text().splitlines()
    assert first.startswith("2 runs: 1 failed, 1 done")
    assert note.startswith("vq/beta_10/seed_1: ")
    assert row.startswith("vq/beta_10/seed_1")


def test_a_first_epoch_has_no_time_left_to_tell(runs):
    log(runs)
    with run_lock(RunFolder.of(runs, RUN).path, give_up):
        assert status(runs)[1:7] == ("running", 0, 4, "", None, None)


def test_asking_does_not_keep_a_training_from_its_lock(runs):
    with run_lock(RunFolder.of(runs, RUN).path, give_up):
        assert is_locked(RunFolder.of(runs, RUN).path)
    assert not is_locked(RunFolder.of(runs, RUN).path)
    with run_lock(RunFolder.of(runs, RUN).path, give_up):
        pass


def test_a_finished_run_is_done(runs):
    log(runs, *LINES)
    finish(runs)
    assert status(runs)[1:3] == ("done", 2)


def test_a_diverged_run_says_when(runs):
    path = log(runs, *LINES, "diverged in epoch 2: the loss is not finite")
    finish(runs)
    assert status(runs).state == "diverged"
    assert status(runs).note == f"diverged in epoch 2: the loss is not finite ({path})"


@pytest.mark.parametrize(
    ("last", "state", "note"),
    [
        ("Error: the disk is full; make room.", "failed", "Error: the disk is full; make room."),
        ("ValueError: x", "failed", "ValueError: x"),
        (LINES[1], "failed", "killed without a word"),
        ("resumed from checkpoint.pt, after 1 epochs", "failed", "killed without a word"),
        ("Stopped by SIGTERM, after 2 epochs", "waiting", "Stopped by SIGTERM, after 2 epochs"),
    ],
)
def test_a_run_that_ended_early_says_why(runs, last, state, note):
    path = log(runs, LINES[0], last)
    assert status(runs).state == state
    assert status(runs).note == f"{note} ({path})"


def test_a_failed_evaluation_says_why(runs):
    finish(runs)
    RunFolder.of(runs, RUN).metrics("test").unlink()
    log(runs, *LINES)
    assert status(runs).state == "waiting"
    path = log(runs, "Error: no such data.", step="evaluate")
    assert status(runs)[1:3] == ("failed", 2)
    assert status(runs).note == f"Error: no such data. ({path})"


def test_runs_come_in_the_order_of_the_grid(runs):
    for name in ("none/beta_1", "none/beta_0.5", "linear/beta_0", "wide/none/beta_0"):
        folder = RunFolder.of(runs, f"{name}/seed_0")
        folder.path.mkdir(parents=True)
        folder.settings.write_text("epochs: 4\n")
    names = ["none/beta_0.5", "none/beta_1", "linear/beta_0", "vq/beta_10", "wide/none/beta_0"]
    assert [s.run for s in read_status(runs)] == [f"{name}/seed_0" for name in names]


def test_the_table_names_every_run_and_counts_states(runs):
    log(runs, *LINES, "Error: bad [thing]; mend it.")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(rendered(read_status(runs)), soft_wrap=True)
    text = capture.get()
    assert f"{RUN}  failed    2/4" in text
    assert "Error: bad [thing]; mend it." in text  # brackets are no markup
    assert text.endswith("1 runs: 1 failed\n")


def test_the_command(runs):
    result = CliRunner().invoke(app, ["status", "--results", str(runs)])
    assert result.exit_code == 0
    assert "1 runs: 1 waiting" in result.output


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no run; start with .*--results"):
        read_status(tmp_path)
