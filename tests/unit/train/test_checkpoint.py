"""Resume: interrupted anywhere, a run ends with the same bits; bad checkpoints are not used."""

import io
import itertools
import math
import os
import random
import signal
from pathlib import Path

import pytest
import torch
from random_events import pack_random
from small_runs import outcome

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.provenance import input_digests
from globals_heads.settings import (
    BottleneckSettings,
    FsqSettings,
    ModelSettings,
    ResidualVqSettings,
    RunKey,
    Settings,
    TrainSettings,
    VqSettings,
)
from globals_heads.train import train as training
from globals_heads.train.checkpoint import Checkpoint, TrainingState, checkpoint_key
from globals_heads.train.signals import Stopped, StopRequest

KEY = {"settings": "a", "code": "b"}
# Codes are drawn again all the time, and the best epoch is the second of three.
CODES = {"codebook_size": 16, "dead_code_threshold": 0.9}
STUDY = Settings(
    epochs=3,
    model=ModelSettings(latent_dim=4, hidden_dims=[8], type_embedding_dim=2, globals_hidden_dim=4),
    bottleneck=BottleneckSettings(
        vq=VqSettings(**CODES), residual_vq=ResidualVqSettings(**CODES), fsq=FsqSettings(levels=[4])
    ),
    train=TrainSettings(batch_size=16, learning_rate=0.1, lr_schedule="cosine"),
    variants={
        "rotation": {
            "bottleneck": {name: {"gradient": "rotation"} for name in ("vq", "residual_vq")}
        }
    },
)
NUM_TICKS = 3 * (4 + 1)  # four steps and one batch of the validation in each epoch


class StopAt(StopRequest):
    """Ask to stop the `number`-th time that anybody looks."""

    def __init__(self, number=math.inf):
        super().__init__(with_parent=False)
        self.left = number

    @property
    def reason(self):
        self.left -= 1
        return "the test" if self.left == 0 else None


def settings_of(name):
    """Return the settings of a latent space, or of latent space and variant: vq:rotation."""
    space, _, variant = name.partition(":")
    key = RunKey(latent_space=space, globals_beta=1, seed=4, variant=variant)
    return STUDY.run_settings(key)


def train(folder, packed, latent_space="vq", stop_at=math.inf, key=KEY, settings=None):
    """Train with a checkpoint in `folder`; return whether it came to its end."""
    folder.mkdir(exist_ok=True)
    checkpoint = Checkpoint(folder / "checkpoint.pt", key, StopAt(stop_at))
    settings = settings or settings_of(latent_space)
    try:
        training.train(settings, packed, RunFolder(folder), 1, checkpoint)
    except Stopped:
        return False
    return True


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return pack_random(tmp_path_factory.mktemp("data") / "packed.h5", STUDY.pack)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """Return a function that gives the outcome of a run without checkpoint or interruption."""
    outcomes = {}

    def of(latent_space="vq"):
        if latent_space not in outcomes:
            folder = tmp_path_factory.mktemp(latent_space)
            training.train(settings_of(latent_space), data, RunFolder(folder), 1)
            outcomes[latent_space] = outcome(folder)
        return outcomes[latent_space]

    return of


def test_stopped_anywhere_the_outcome_is_the_same(tmp_path, data, undisturbed, capsys):
    """In vq, which has the most state; the next test stops all latent spaces at every step."""
    for stop_at in range(1, NUM_TICKS + 1):
        folder = tmp_path / str(stop_at)
        assert not train(folder, data, stop_at=stop_at)
        torch.rand(5)  # the state of another process
        capsys.readouterr()
        assert train(folder, data)
        epochs, looks = divmod(stop_at - 1, 5)
        assert capsys.readouterr().out.startswith(
            f"resumed from checkpoint.pt, after {epochs} epochs and {min(looks + 1, 4)} steps\n"
        )
        assert outcome(folder) == undisturbed()


@pytest.mark.parametrize(
    "latent_space",
    ["none", "linear", "vq", "vq:rotation", "residual_vq", "residual_vq:rotation", "fsq"],
)
def test_stopped_after_every_step_the_outcome_is_the_same(
    tmp_path, data, undisturbed, latent_space, capsys
):
    lives = 1
    while not train(tmp_path, data, latent_space, stop_at=2):
        lives += 1
    assert lives > 7
    log = capsys.readouterr().out.split("resumed")[-1].splitlines()[1:]
    assert outcome(tmp_path) == undisturbed(latent_space)
    assert [line.split("]")[0] for line in log] == ["[1/3", "[2/3", "[3/3"], (
        "the last life shows the epochs of all"
    )


@pytest.mark.parametrize(
    "part",
    [
        *sorted(TrainingState.__dataclass_fields__.keys() - {"epoch_started", "history"}),
        "torch_random",
    ],
)
def test_every_part_of_a_checkpoint_matters(tmp_path, data, undisturbed, monkeypatch, part):
    """A part that is not restored changes the outcome, or these tests would not see its loss."""
    best_epoch, diverged, *_ = undisturbed()
    assert (best_epoch, diverged) == (2, False)
    train(tmp_path, data, stop_at=12)  # in the third
    load = TrainingState.load_state_dict
    monkeypatch.setattr(
        TrainingState,
        "load_state_dict",
        lambda self, state: load(self, state | {part: self.state_dict()[part]}),
    )
    assert train(tmp_path, data)
    assert outcome(tmp_path) != undisturbed()


@pytest.mark.parametrize("number", range(1, 10))
def test_killed_at_any_point_of_a_write_the_outcome_is_the_same(
    tmp_path, data, undisturbed, monkeypatch, capsys, number
):
    """SIGKILL half-way through the content, or before a sync or a new name, of the first saves."""
    calls = itertools.count(1)

    def deadly(function):
        def call(first, *arguments):
            if next(calls) == number:
                if function is Path.write_bytes:
                    function(first, arguments[0][: len(arguments[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(first, *arguments)

        return call

    child = os.fork()
    if child == 0:
        for owner, name in ((Path, "write_bytes"), (Path, "replace"), (os, "fsync")):
            monkeypatch.setattr(owner, name, deadly(getattr(owner, name)))
        monkeypatch.setattr("globals_heads.train.checkpoint.SAVE_INTERVAL_S", 0)
        train(tmp_path / "run", data)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert train(tmp_path / "run", data)
    log = capsys.readouterr().out
    assert ("resumed from" in log) == (number > 3)  # the third call gives the first one its name
    assert "damaged" not in log
    assert outcome(tmp_path / "run") == undisturbed()
    assert not list((tmp_path / "run").glob(".checkpoint.pt.*"))


def test_a_checkpoint_outlives_its_training(tmp_path, data, monkeypatch):
    """What was trained is not trained again, before all is written and afterwards."""
    (tmp_path / ".checkpoint.pt.abc").write_bytes(b"of a process killed while it wrote")
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, data)
    with monkeypatch.context() as patch:
        patch.setattr(training, "run_epoch", None)
        assert train(tmp_path, data)
        model = (tmp_path / "model.pt").read_bytes()
        (tmp_path / "model.pt").unlink()
        assert train(tmp_path, data)
    assert (tmp_path / "model.pt").read_bytes() == model
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint.pt", "facts", "model.pt", "status.json"]


def test_saving_within_an_epoch_changes_nothing(tmp_path, data, undisturbed, monkeypatch):
    saved = []
    save = Checkpoint.save

    def counted(self, state):
        saved.append((state.epoch, state.step))
        save(self, state)

    monkeypatch.setattr(Checkpoint, "save", counted)
    assert train(tmp_path / "never", data)
    assert saved == [(2, 0), (3, 0), (4, 0)]
    saved.clear()
    monkeypatch.setattr("globals_heads.train.checkpoint.SAVE_INTERVAL_S", 0)
    assert train(tmp_path / "always", data)
    assert saved[:5] == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 4)]
    assert len(saved) == NUM_TICKS + 3
    assert outcome(tmp_path / "never") == outcome(tmp_path / "always") == undisturbed()


def test_a_diverged_run_is_not_trained_on(tmp_path, data, capsys):
    settings = settings_of("none")
    train_settings = settings.train.model_copy(update={"learning_rate": 1e30, "clip_norm": None})
    settings = settings.model_copy(update={"train": train_settings})

    assert not train(tmp_path, data, settings=settings, stop_at=5)  # in the validation
    assert train(tmp_path, data, settings=settings)
    assert outcome(tmp_path)[:2] == (0, True)
    assert capsys.readouterr().out.count("diverged in epoch 1") == 1
    assert len(outcome(tmp_path)[3]) == 4, "two headers and two rows"


def damaged(content):
    """Yield what is left of a file that was cut, emptied or changed somewhere."""
    draw = random.Random(0)
    yield b""
    for _ in range(5):
        yield content[: draw.randrange(len(content))]
    for _ in range(5):
        place = draw.randrange(len(content) - 600)
        yield content[:place] + bytes(512) + content[place + 512 :]  # a block never written
    yield b"text\n" * 100


def test_a_damaged_checkpoint_is_named_and_not_used(tmp_path, data, undisturbed, capsys):
    train(tmp_path, data, stop_at=13)
    path = tmp_path / "checkpoint.pt"
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        assert train(tmp_path, data)
        log = capsys.readouterr().out
        assert "checkpoint.pt is damaged and not used" in log
        assert "resumed" not in log
        assert outcome(tmp_path) == undisturbed()


def test_one_changed_bit_is_seen_or_harmless(tmp_path, data, undisturbed):
    """torch itself would read changed numbers without a word."""
    train(tmp_path / "made", data, stop_at=13)
    content = (tmp_path / "made" / "checkpoint.pt").read_bytes()
    draw = random.Random(0)
    for number in range(12):
        place = draw.randrange(len(content))
        changed = bytes([content[place] ^ 1 << draw.randrange(8)])
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "checkpoint.pt").write_bytes(content[:place] + changed + content[place + 1 :])
        assert train(folder, data)
        assert outcome(folder) == undisturbed()


def test_a_checkpoint_of_another_training_is_named_and_not_used(
    tmp_path, data, undisturbed, capsys
):
    train(tmp_path, data, stop_at=13)
    assert train(tmp_path, data, key=KEY | {"code": "c"})
    log = capsys.readouterr().out
    assert "checkpoint.pt is not used; another training made it (different code)\n" in log
    assert "resumed" not in log
    assert outcome(tmp_path) == undisturbed()


def test_a_checkpoint_cannot_run_code(tmp_path, data, capsys):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "hacked"),)

    buffer = io.BytesIO()
    torch.save({"key": KEY, "state": Hostile()}, buffer)
    (tmp_path / "checkpoint.pt").write_bytes(buffer.getvalue())
    assert train(tmp_path, data)
    assert "checkpoint.pt is damaged and not used" in capsys.readouterr().out
    assert not (tmp_path / "hacked").exists()


def test_the_key_knows_settings_data_and_threads():
    def key_of(settings, data, threads):
        return checkpoint_key(input_digests("train", settings, data), threads)

    def differing(*arguments):
        other = key_of(*arguments)
        return {name for name, value in key.items() if other[name] != value}

    settings = settings_of("vq")
    longer = settings.model_copy(update={"epochs": 4})
    key = key_of(settings, "packed.h5", 1)
    assert differing(settings, "packed.h5", 1) == set()
    assert differing(longer, "packed.h5", 1) == {"settings"}
    assert differing(settings, "other.h5", 1) == {"packed data"}
    assert differing(settings, "packed.h5", 2) == {"number of threads"}
    assert key["torch version"] == torch.__version__


def test_a_checkpoint_that_cannot_be_written_is_named_and_the_one_before_stays(
    tmp_path, data, undisturbed, monkeypatch
):
    train(tmp_path, data, stop_at=3)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(UserError, match=r"checkpoint\.pt cannot be written .*make room"):
            train(tmp_path, data)
    assert not list(tmp_path.glob(".checkpoint.pt.*"))
    assert train(tmp_path, data)
    assert outcome(tmp_path) == undisturbed()


def test_times_of_an_interrupted_epoch_add_up(tmp_path, data, monkeypatch):
    """Each look at the clock takes a second, in whatever process; stops take no time."""
    now = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    times = {}
    for name, stops in {"one life": [], "two lives": [3]}.items():
        for stop_at in [*stops, math.inf]:
            train(tmp_path / name, data, "none", stop_at)
        header, first, *_ = (tmp_path / name / "facts/metrics_train.csv").read_text().splitlines()
        times[name] = float(first.split(",")[header.split(",").index("epoch_time_s")])
    assert 0 < times["two lives"] - times["one life"] <= 3
