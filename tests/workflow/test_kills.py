"""The real command, killed at random moments, ends with the bits of one that never was."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import yaml
from random_events import pack_random
from small_runs import outcome

from globals_heads.settings import BottleneckSettings, RunKey, Settings, TrainSettings, VqSettings
from globals_heads.train.signals import EXIT_CODE

STUDY = Settings(
    epochs=6,
    bottleneck=BottleneckSettings(vq=VqSettings(codebook_size=64, dead_code_threshold=0.5)),
    train=TrainSettings(device="cpu"),
)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
SAVED = {signal.SIGTERM, signal.SIGUSR1, signal.SIGINT}
# The command, saving ten times a second.
ALWAYS_SAVING = """
from globals_heads import cli
from globals_heads.train import checkpoint
checkpoint.SAVE_INTERVAL_S = 0.1
cli.main()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The path of packed events for some seconds of training."""
    path = tmp_path_factory.mktemp("data") / "packed.h5"
    pack_random(path, STUDY.pack, num_events=6000)
    return path


def start(folder, data, latent_space, *, always_save=False):
    """Start a training in the background; its output goes to run.log, emptied before."""
    folder.mkdir(exist_ok=True)
    settings = STUDY.run_settings(RunKey(latent_space=latent_space, globals_beta=1, seed=0))
    (folder / "cfg.yaml").write_text(yaml.safe_dump(settings.model_dump()))
    command = [sys.executable, *(["-c", ALWAYS_SAVING] if always_save else ["-m", "globals_heads"])]
    command += ["train", str(folder), "--data", str(data)]
    with (folder / "run.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def wait_for(folder, process, text="val_loss"):
    """Wait until `text` is in the log, or the process has ended; return the log."""
    while process.poll() is None and text not in (folder / "run.log").read_text():
        time.sleep(0.001)
    return (folder / "run.log").read_text()


def finished(folder):
    """Return the outcome of a run; check that its log is whole and that no litter is left."""
    kept = {".lock", "checkpoint.pt", "status.json"}
    assert {path.name for path in folder.iterdir()} == kept | {
        "cfg.yaml", "facts", "model.pt", "run.log",
    }  # fmt: skip
    lines = [line for line in (folder / "run.log").read_text().splitlines() if line[0] == "["]
    assert [line.split("]")[0] for line in lines] == [f"[{i}/6" for i in range(1, 7)]
    found = outcome(folder)
    assert len(found[-1]) == 2 * (1 + STUDY.epochs)
    return found


def undisturbed(folder, data, latent_space):
    assert start(folder, data, latent_space).wait() == 0
    return finished(folder)


# A run that was killed more often than this is left to finish.
MOST_KILLS = 25


def kill_until_finished(folder, data, latent_space, draw, counts):
    """Start and kill one run until it comes to its end.

    Half of the lives save all the time; half of those are killed hard while they write.
    """
    saves = False
    for life in range(1000):
        always_save = draw.choice([True, False])
        process = start(folder, data, latent_space, always_save=always_save)
        if life < MOST_KILLS:
            # From the time when the training goes on; importing torch would take most kills.
            wait_for(folder, process, "resumed from" if saves else "/6]")
            time.sleep(draw.uniform(0, 0.5))
            number = draw.choice(SIGNALS)
            if always_save and draw.random() < 0.5:
                number = signal.SIGKILL
                while process.poll() is None and not any(folder.glob(".checkpoint.pt.*")):
                    time.sleep(0.0005)
            killed = time.monotonic()
            process.send_signal(number)
        code = process.wait(timeout=60)
        log = (folder / "run.log").read_text()
        if saves:
            assert "resumed from" in log, log
        assert "damaged" not in log
        assert "another training" not in log
        if code == 0:
            return
        counts["longest ms"] = max(counts["longest ms"], round(1000 * (time.monotonic() - killed)))
        assert code == (EXIT_CODE if number in SAVED else -number), log
        assert number not in SAVED or f"Stopped by {number.name}, after" in log
        saves = (folder / "checkpoint.pt").exists()
        counts[number.name] += 1
        counts["while writing"] += any(folder.glob(".checkpoint.pt.*"))
    raise AssertionError("no life was long enough")


@pytest.mark.slow
@pytest.mark.parametrize("latent_space", ["none", "vq"])
def test_many_kills(tmp_path, data, latent_space, capsys):
    """At least twenty kills of each kind of run; as many runs as that takes."""
    draw, counts, runs = random.Random(latent_space), Counter(), 0
    expected = undisturbed(tmp_path / "undisturbed", data, latent_space)
    while sum(counts[number.name] for number in SIGNALS) < 20:
        runs += 1
        folder = tmp_path / str(runs)
        kill_until_finished(folder, data, latent_space, draw, counts)
        assert finished(folder) == expected
    with capsys.disabled():
        print(f"\n{latent_space}: {runs} runs, kills: {dict(counts)}")


def test_interrupted_from_the_keyboard(tmp_path, data):
    """SIGINT saves, too, and leaves with one sentence."""
    process = start(tmp_path, data, "none")
    wait_for(tmp_path, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == EXIT_CODE
    last = (tmp_path / "run.log").read_text().splitlines()[-1]
    assert last.startswith("Stopped by SIGINT, after ")
    assert last.endswith(" steps; the same command goes on from there.")


@pytest.mark.slow
def test_a_run_has_one_writer(tmp_path, data):
    """The second process names the first and waits; a killed one holds nothing."""
    first = start(tmp_path, data, "none")
    wait_for(tmp_path, first)
    command = [sys.executable, "-m", "globals_heads", "train", str(tmp_path), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        line = second.stdout.readline()
        assert line.startswith("Waiting for another process that still trains ")
        assert f"(process {first.pid} on " in line
        first.kill()
        first.wait()
        assert second.stdout.readline().startswith("resumed from checkpoint.pt")
        second.stdout.read()
    assert second.returncode == 0


def test_who_waits_can_be_stopped(tmp_path, data):
    """It has nothing to save, and leaves with the same code."""
    first = start(tmp_path, data, "none")
    wait_for(tmp_path, first)
    command = [sys.executable, "-m", "globals_heads", "train", str(tmp_path), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        second.stdout.readline()
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=10) == EXIT_CODE
        assert second.stdout.read().startswith("Stopped by SIGTERM, waiting for another process;")
    first.kill()
    first.wait()
