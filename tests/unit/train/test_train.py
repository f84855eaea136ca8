"""Training: seeds, schedules, the best epoch, clipping, devices, divergence."""

import dataclasses
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_runs import outcome, run_settings, split_facts

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.settings import TrainSettings
from globals_heads.train.loss import Loss
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.model_file import load_model
from globals_heads.train.train import choose_device, learning_rate, report_epoch, train


def trained(folder, packed, *arguments, **settings):
    """Train one run; return its weights by name."""
    train(run_settings(*arguments, **settings), packed, RunFolder(folder), threads=1)
    return load_model(folder / "model.pt").model.state_dict()


@pytest.mark.parametrize("latent_space", ["none", "vq"])
def test_same_settings_give_the_same_weights_and_facts(tmp_path, packed, latent_space):
    for name in ("first", "second"):
        torch.rand(5)  # whatever happened before in the process
        trained(tmp_path / name, packed, latent_space)
    assert outcome(tmp_path / "first") == outcome(tmp_path / "second")


def test_another_seed_gives_other_weights(tmp_path, packed):
    first, second = (trained(tmp_path / str(seed), packed, seed=seed) for seed in (0, 1))
    assert not torch.equal(first["decoder.0.weight"], second["decoder.0.weight"])


def test_the_head_of_beta_0_is_never_trained(tmp_path, packed):
    torch.manual_seed(0)
    start = TokenAutoencoder(run_settings(globals_beta=0.0), packed.info).state_dict()
    end = trained(tmp_path, packed, globals_beta=0.0)
    for name, tensor in start.items():
        assert torch.equal(tensor, end[name]) == name.startswith("globals_head"), name


def test_model_pt_holds_the_epoch_of_the_lowest_validation_loss(tmp_path, packed):
    folder = RunFolder(tmp_path)
    settings = run_settings(train=TrainSettings(learning_rate=0.03), epochs=12)
    train(settings, packed, folder, threads=1)
    header, *rows = (line.split(",") for line in folder.metrics("val").read_text().splitlines())
    losses = [float(row[header.index("loss")]) for row in rows]
    best = load_model(folder.model)
    assert best.best_epoch == 1 + int(np.argmin(losses)) < 12
    loss = Loss(settings, packed.info, best.model)
    assert split_facts(best.model, loss, packed.val)["loss"] == pytest.approx(min(losses))


def test_clipping_is_counted_and_can_be_switched_off(tmp_path, packed):
    norms = {}
    for clip in (1e-6, None):
        folder = RunFolder(tmp_path / str(clip))
        # Three steps, all of them clipped: a fraction of 1, not 3.
        settings = TrainSettings(clip_norm=clip, batch_size=20)
        train(run_settings(train=settings), packed, folder, threads=1)
        header, row, *_ = folder.metrics("train").read_text().splitlines()
        first = dict(zip(header.split(","), row.split(","), strict=True))
        assert float(first["clipped_fraction"]) == (0 if clip is None else 1)
        norms[clip] = float(first["grad_norm"])
    # The recorded norm is the one before clipping.
    assert all(norm > 0.1 for norm in norms.values())


README = Path(__file__).parents[3] / "README.md"


def shell(first_word, folder):
    """Return the output of the command of the README that begins with `first_word`."""
    command = re.search(rf"^{first_word} .*$", README.read_text(encoding="utf-8"), re.M)[0]
    process = subprocess.run(["bash", "-c", command], cwd=folder, check=True, capture_output=True)
    return process.stdout.decode()


def logged(folder, epochs):
    """Write the run.log of a run whose epochs have these (validation loss, rec_tokens)."""
    state = SimpleNamespace(history={"train": [], "val": []})
    for val_loss, rec_tokens in epochs:
        measured = {"throughput": 1234.5, "epoch_time_s": 2.0, "clipped_fraction": 0.0}
        state.history["train"].append({"loss": 0.5, **measured})
        state.history["val"].append({"loss": val_loss, "rec_tokens": rec_tokens, "rec_globals": 1})
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.log").open("w", encoding="utf-8") as log, redirect_stdout(log):
        for epoch in range(1, len(epochs) + 1):
            report_epoch(state, epoch, len(epochs), None)


def test_the_line_of_an_epoch_has_plain_decimals(tmp_path):
    logged(tmp_path, [(1.2e-05, 12345.678), (0.1234567, 1e-9)])
    assert (tmp_path / "run.log").read_text(encoding="utf-8").splitlines() == [
        "[1/2] val_loss=0.000012 rec_tokens=12350 rec_globals=1 train_loss=0.5 clipped=0 "
        "1234 events/s, 2 s/epoch",
        "[2/2] val_loss=0.1235 rec_tokens=0.000000001 rec_globals=1 train_loss=0.5 clipped=0 "
        "1234 events/s, 2 s/epoch",
    ]


def test_the_best_run_by_validation_loss_is_found_over_all_seeds(tmp_path):
    """A tiny loss, a loss that is not finite, other weights, and rec_tokens in another order."""
    runs = tmp_path / "results/runs"
    logged(runs / "none/beta_1/seed_0", [(0.3, 0.01), (0.2, 0.02)])
    logged(runs / "vq/beta_1/seed_0", [(1.2, 0.001), (float("nan"), 0.0)])
    logged(runs / "vq/beta_1/seed_10", [(1.5, 0.2), (9.9e-05, 0.9), (0.4, 0.3)])
    logged(runs / "linear/beta_0/seed_0", [(1.1e-05, 0.1)])
    found = shell("grep", tmp_path)
    assert found.startswith("results/runs/vq/beta_1/seed_10/run.log:[2/3] val_loss=0.000099 ")
    assert found.count("\n") == 1


def test_the_loop_over_the_numbers_shows_the_last_epochs_of_nine_runs(tmp_path):
    for number in range(9):
        logged(tmp_path / f"results/by_number/{number}", [(number + i / 10, 1) for i in range(8)])
    lines = shell("for", tmp_path).splitlines()
    assert [line.split()[1] for line in lines[:5]] == [f"val_loss=0.{i}" for i in range(3, 8)]
    assert len(lines) == 9 * 5


def test_cosine_schedule_falls_from_the_full_rate_towards_zero():
    cosine = TrainSettings(learning_rate=1e-3, lr_schedule="cosine")
    rates = [learning_rate(cosine, epoch, 4) for epoch in (1, 2, 3, 4)]
    assert_allclose(rates, [1e-3, 8.535534e-4, 5e-4, 1.464466e-4], rtol=1e-6)
    assert learning_rate(TrainSettings(), 4, 4) == 1e-3


@pytest.mark.parametrize(
    ("setting", "gpu", "expected"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_follows_the_setting(monkeypatch, setting, gpu, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert choose_device(setting) == torch.device(expected)


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"train\.device is 'cuda', but .* set it to auto or cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("latent_space", ["none", "vq", "fsq"])
def test_a_batch_without_objects_counts_for_its_globals_alone(tmp_path, packed, latent_space):
    """Batches of one event, some of them empty: nothing is divided by zero objects."""
    settings = run_settings(latent_space, train=TrainSettings(batch_size=1), epochs=1)
    train(settings, packed, RunFolder(tmp_path), threads=1)
    assert load_model(tmp_path / "model.pt").best_epoch == 1


def test_codes_of_a_diverged_run_are_not_counted(tmp_path, packed):
    settings = run_settings("fsq", train=TrainSettings(learning_rate=1e6, clip_norm=None))
    train(settings, packed, RunFolder(tmp_path), threads=1)
    assert (tmp_path / "facts" / "metrics_train.csv").is_file()


def test_a_diverged_run_stops_and_says_so(tmp_path, packed, capsys):
    features = packed.train.features.copy()
    features[0] = 1e30  # its square overflows
    data = dataclasses.replace(packed, train=dataclasses.replace(packed.train, features=features))
    folder = RunFolder(tmp_path)
    train(run_settings(), data, folder, threads=1)
    assert "diverged in epoch 1" in capsys.readouterr().out
    assert len(folder.metrics("train").read_text().splitlines()) == 2
    best = load_model(folder.model)
    assert best.best_epoch == 0
    assert best.diverged
    assert all(torch.isfinite(tensor).all() for tensor in best.model.state_dict().values())
