"""The record of a training, and the live view: each state from the files that a run leaves."""

import io
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from typer.testing import CliRunner

from globals_heads.cli import app
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.files import is_locked, run_lock
from globals_heads.status import (
    EVALUATED,
    left_s,
    read_record,
    read_status,
    recorded,
    rendered,
    update_record,
)
from globals_heads.train.signals import Stopped

RUN = "vq/beta_10/seed_0"
TWO_EPOCHS = {
    "epoch": 2,
    "epochs": 4,
    "val_loss": 0.2,
    "throughput": 900.4,
    "epoch_time_s": 10.0,
}


@pytest.fixture
def runs(tmp_path):
    """A study's folder of runs with one run that waits."""
    folder = RunFolder.of(tmp_path, RUN)
    folder.path.mkdir(parents=True)
    folder.settings.write_text("latent_space: vq\nepochs: 4\n")
    return tmp_path


@pytest.fixture
def folder(runs):
    """The folder of the one run."""
    return RunFolder.of(runs, RUN)


def log(runs, *lines, step="train"):
    path = runs / "logs" / step / f"runs/{RUN}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def finish(folder):
    (folder.path / "facts").mkdir()
    for split in ("train", "val", "test"):
        folder.metrics(split).touch()
    folder.events("test").touch()
    folder.model.touch()


def status(runs):
    (found,) = read_status(runs)
    return found


def row(runs):
    """Return state, epochs and further columns of the one run, as the table shows them."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(rendered(read_status(runs)))
    lines = console.export_text().splitlines()
    (found,) = [line for line in lines if line.startswith(f"{RUN} ")]
    return found.split()[1:]


def locked(folder):
    """Hold the run's lock, and wait for no other process."""

    def give_up():
        raise AssertionError

    return run_lock(folder.path, give_up)


def test_a_record_tells_how_a_training_ends(folder):
    with recorded(folder):
        update_record(folder, **TWO_EPOCHS)
        record = read_record(folder)
        assert record.state == "running"
        assert (record.epoch, record.epochs, record.val_loss) == (2, 4, 0.2)
        assert datetime.now(UTC) - record.written < timedelta(minutes=1)
    assert read_record(folder).state == "finished"
    for error, state in ((Stopped("SIGTERM", "in a test"), "stopped"), (ValueError(), "failed")):
        with pytest.raises(type(error)), recorded(folder):
            assert read_record(folder).epoch == 0, "nothing is left of the training before"
            raise error
        assert read_record(folder).state == state


def test_a_record_is_json_for_other_programs(folder):
    update_record(folder, val_loss=float("nan"), throughput=float("inf"))
    found = json.loads(folder.status_file.read_text(), parse_constant=lambda name: 1 / 0)
    assert found["val_loss"] is found["throughput"] is None


def test_a_record_that_cannot_be_written_ends_no_training(folder):
    folder.status_file.mkdir()
    with recorded(folder):
        pass


def test_a_training_loads_nothing_of_the_view():
    """rich takes a tenth of a second, and more memory."""
    code = "import sys, globals_heads.status; assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_waits_until_its_log_says_anything(runs):
    assert status(runs).run == RUN
    assert row(runs) == ["waiting", "0/4"]
    log(runs)
    assert row(runs) == ["waiting", "0/4"]


def test_a_run_trains_while_its_lock_is_held(runs, folder):
    with locked(folder), recorded(folder):
        assert row(runs) == ["running", "0/4"]
        update_record(folder, **TWO_EPOCHS)
        assert row(runs)[:4] == ["running", "2/4", "0.2", "900"]
        assert 19 < status(runs).record.left_s <= 20  # two epochs of ten seconds


def test_time_since_the_last_epoch_counts(runs, folder):
    update_record(folder, **TWO_EPOCHS)
    record = json.loads(folder.status_file.read_text())
    earlier = datetime.now(UTC) - timedelta(seconds=5)
    folder.status_file.write_text(json.dumps(record | {"written": earlier.isoformat()}))
    with locked(folder):
        assert row(runs)[-1] in ("0:00:14", "0:00:15")


def test_the_time_left_of_the_study_comes_first(runs, folder):
    """Two runs, one at a time: half of the first, and all of the second."""
    other = RunFolder.of(runs, "vq/beta_10/seed_1")
    other.path.mkdir()
    other.settings.write_text("epochs: 3\n")
    update_record(folder, **TWO_EPOCHS)
    assert left_s(read_status(runs)) == 0, "nothing runs"
    with locked(folder):
        assert 49 < left_s(read_status(runs)) <= 2 * 10 + 3 * 10
        console = Console(width=60, record=True, file=io.StringIO())
        console.print(rendered(read_status(runs)))
    first = console.export_text().splitlines()[0]
    assert re.fullmatch(r"2 runs: 1 running, 1 waiting; about 0:00:(50|49) left", first.strip())


def test_a_run_for_which_another_process_waits_says_for_whom(runs, folder):
    with locked(folder):
        update_record(folder, state="waiting_for_lock")
        update_record(folder, **TWO_EPOCHS)
        assert row(runs)[:2] == ["running", "2/4"]
        found = status(runs)
    assert re.fullmatch(r"another process waits .*: process \d+ on .+", found.note)


def test_a_finished_run_with_other_epochs_than_its_settings_waits(runs, folder):
    """Snakemake will train it again, and has not yet come to it."""
    update_record(folder, **TWO_EPOCHS | {"epochs": 2}, state="finished")
    finish(folder)
    assert row(runs) == ["waiting", "0/4"]


def test_nothing_is_cut_off_for_another_program(runs, folder):
    """A table is as wide as its longest name, whatever the terminal."""
    command = [sys.executable, "-m", "globals_heads", "status", "--results", str(runs)]
    long = RunFolder.of(runs, "a_long_name_of_a_variant" * 4 + f"/{RUN}").path
    shutil.copytree(folder.path, long)
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^{'a_long_name_of_a_variant' * 4}/{RUN} +waiting +0/4", found, re.M)


def test_the_live_view_begins_with_what_matters(runs, folder):
    """A small terminal cuts off its end."""
    finish(folder)
    failed = runs / "runs/vq/beta_10/seed_1"
    shutil.copytree(folder.path, failed)
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


def test_asking_does_not_keep_a_training_from_its_lock(folder):
    with locked(folder):
        assert is_locked(folder.path)
    assert not is_locked(folder.path)
    with locked(folder):
        pass


@pytest.mark.parametrize("content", [None, "", "[]", '{"state": "dead"}', "\0" * 300])
def test_a_finished_run_is_done_whatever_became_of_its_record(runs, folder, content):
    finish(folder)
    if content is not None:
        folder.status_file.write_text(content)
    assert status(runs).state == "done"
    folder.metrics("test").unlink()
    folder.model.unlink()
    assert row(runs) == ["waiting", "0/4"]
    path = log(runs, "Error: no luck.")
    assert row(runs) == ["failed", "0/4"]
    assert status(runs).note == f"Error: no luck. ({path})"


def test_a_finished_run_is_done_until_its_model_is_deleted(runs, folder):
    update_record(folder, **TWO_EPOCHS | {"epoch": 4}, state="finished")
    log(runs, "[4/4] val_loss=0.2")
    finish(folder)
    assert row(runs) == ["done", "4/4", "0.2", "900"]
    folder.model.unlink()
    assert row(runs) == ["waiting", "0/4"]
    assert not status(runs).note


def test_a_diverged_run_says_when(runs, folder):
    update_record(folder, **TWO_EPOCHS | {"val_loss": None}, diverged=True, state="finished")
    path = log(runs, "diverged in epoch 2: the loss is not finite")
    finish(folder)
    assert row(runs)[:3] == ["diverged", "2/4", "nan"]
    assert status(runs).note == f"diverged in epoch 2: the loss is not finite ({path})"


@pytest.mark.parametrize(
    ("recorded_state", "last", "state", "note"),
    [
        ("failed", "Error: the disk is full; make room.", "failed", "Error: the disk is full"),
        ("failed", "ValueError: x", "failed", "ValueError: x"),
        (
            "running",
            "[2/4] val_loss=0.2",
            "failed",
            "killed; last line of its log: [2/4]",
        ),
        ("running", "", "failed", "killed; last line of its log: "),
        (
            "waiting_for_lock",
            "Waiting for ...",
            "failed",
            "killed; last line of its log: Waiting for ...",
        ),
        ("stopped", "Stopped by SIGTERM, after 2 epochs", "waiting", "Stopped by SIGTERM"),
    ],
)
def test_a_run_that_ended_early_says_why(runs, folder, recorded_state, last, state, note):
    update_record(folder, **TWO_EPOCHS, state=recorded_state)
    path = log(runs, "[1/4] val_loss=0.3", last)
    if not last:
        path.write_text("")
    assert row(runs) == [state, "2/4", "0.2", "900"]
    assert status(runs).note.startswith(note)
    assert str(path) in status(runs).note


def test_a_failed_evaluation_says_why(runs, folder):
    finish(folder)
    folder.metrics("test").unlink()
    update_record(folder, **TWO_EPOCHS, state="finished")
    log(runs, "[2/4] val_loss=0.2")
    assert status(runs).state == "trained"
    log(runs, EVALUATED, step="evaluate")  # and its files were deleted since
    assert status(runs).state == "trained"
    path = log(runs, "Error: no such data.", step="evaluate")
    assert row(runs)[:2] == ["failed", "2/4"]
    assert status(runs).note == f"Error: no such data. ({path})"


def test_runs_come_in_the_order_of_the_grid(runs):
    for name in ("none/beta_1", "none/beta_0.5", "linear/beta_0", "wide/none/beta_0"):
        folder = RunFolder.of(runs, f"{name}/seed_0")
        folder.path.mkdir(parents=True)
        folder.settings.write_text("epochs: 4\n")
    names = ["none/beta_0.5", "none/beta_1", "linear/beta_0", "vq/beta_10", "wide/none/beta_0"]
    assert [s.run for s in read_status(runs)] == [f"{name}/seed_0" for name in names]


def test_the_table_names_every_run_and_counts_states(runs, folder):
    update_record(folder, **TWO_EPOCHS, state="failed")
    log(runs, "Error: bad [thing]; mend it.")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(rendered(read_status(runs)), soft_wrap=True)
    text = capture.get()
    assert f"{RUN}  failed    2/4" in text
    assert "Error: bad [thing]; mend it." in text  # brackets are no markup
    assert text.startswith("1 runs: 1 failed\n")


def test_the_command(runs):
    result = CliRunner().invoke(app, ["status", "--results", str(runs)])
    assert result.exit_code == 0
    assert "1 runs: 1 waiting" in result.output


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no run; start with .*--results"):
        read_status(tmp_path)
