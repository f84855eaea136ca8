"""Training: seeds, schedules, the best epoch, clipping, devices, divergence."""

import dataclasses

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
from globals_heads.train.train import choose_device, learning_rate, train


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
