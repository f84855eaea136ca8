"""Training: the loss against a plain reference, padding, angles, seeds, schedules, divergence."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_events import pack_random

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.settings import (
    BottleneckSettings,
    PackSettings,
    RunKey,
    Settings,
    TrainSettings,
    VqSettings,
)
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.model_file import load_model
from globals_heads.train.train import (
    Loss,
    Sums,
    batches,
    choose_device,
    evaluate_epoch,
    learning_rate,
    squared_error,
    train,
)

CPU = torch.device("cpu")
SMALL_CODEBOOK = BottleneckSettings(vq=VqSettings(codebook_size=16))


def run_settings(latent_space="none", globals_beta=1.0, seed=0, **changes):
    """Return the settings of one short run."""
    study = Settings(epochs=2, bottleneck=SMALL_CODEBOOK).model_copy(update=changes)
    return study.run_settings(
        RunKey(latent_space=latent_space, globals_beta=globals_beta, seed=seed)
    )


def trained(tmp_path, packed, name="run", **settings):
    """Train one run; return its weights and the text of its facts without timings."""
    folder = RunFolder(tmp_path / name)
    train(run_settings(**settings), packed, folder, threads=1)
    facts = [folder.metrics(split).read_text().splitlines() for split in ("train", "val")]
    lines = [line.rsplit(",", 3)[0] for part in facts for line in part]
    return load_model(folder.model).model.state_dict(), lines


def test_batches_hold_every_object_once_with_its_event(packed):
    seen = 0
    for number, batch in enumerate(batches(packed.train, 16, CPU)):
        events = range(16 * number, min(16 * number + 16, packed.train.num_events))
        counts = np.diff(packed.train.offsets)[events.start : events.stop]
        assert_array_equal(np.bincount(batch.event, minlength=len(events)), counts)
        assert_array_equal(batch.globals, packed.train.globals[events.start : events.stop])
        assert_array_equal(batch.features, packed.train.features[seen : seen + len(batch.types)])
        seen += len(batch.types)
    assert seen == len(packed.train.features)


def test_pooling_is_the_sum_over_objects_divided_by_the_slots(packed):
    """Event by event in float64; an event without objects pools to zero."""
    model = TokenAutoencoder(run_settings(), packed.info)
    batch = next(batches(packed.train, 60, CPU))
    with torch.no_grad():
        pooled = model(batch).pooled
        z_q = model.encoder(torch.cat([batch.features, model.type_embedding(batch.types)], dim=1))
    for event in range(60):
        own = z_q[batch.event == event].double().numpy()
        assert_allclose(pooled[event], own.sum(axis=0) / 18, atol=1e-6)
    assert (np.diff(packed.train.offsets) == 0).any()


def test_decoder_and_globals_head_see_quantised_latents(packed):
    torch.manual_seed(0)
    model = TokenAutoencoder(run_settings("vq"), packed.info).eval()
    batch = next(batches(packed.train, 60, CPU))
    with torch.no_grad():
        made = model(batch)
        z_e = model.encoder(torch.cat([batch.features, model.type_embedding(batch.types)], dim=1))
        z_q = model.bottleneck(z_e).z_q
        assert torch.allclose(made.features, model.decoder(z_q))
    expected = torch.zeros_like(made.pooled).index_add(0, batch.event, z_q) / 18
    assert torch.allclose(made.pooled, expected)
    assert not torch.allclose(z_q, z_e)


def test_the_type_decides_the_latent(packed):
    """The encoder sees the object type; without it two types would encode alike."""
    model = TokenAutoencoder(run_settings(), packed.info)
    batch = next(batches(packed.train, 60, CPU))
    other = batch._replace(types=batch.types % 7 + 1)
    with torch.no_grad():
        assert not torch.allclose(model(batch).pooled, model(other).pooled)


@pytest.mark.parametrize("latent_space", ["none", "linear", "vq", "residual_vq", "fsq"])
def test_loss_and_facts_equal_a_float64_reference(packed, latent_space):
    """Over all real objects at once, however the split is cut into batches."""
    torch.manual_seed(0)
    settings = run_settings(latent_space, globals_beta=10.0)
    model = TokenAutoencoder(settings, packed.info).eval()
    loss = Loss(settings, packed, model, CPU)
    whole = next(batches(packed.val, 60, CPU))
    with torch.no_grad():
        made = model(whole)
        z_e = model.encoder(torch.cat([whole.features, model.type_embedding(whole.types)], dim=1))
        z_q = model.bottleneck(z_e).z_q
    difference = made.features.double().numpy() - packed.val.features
    rec_tokens = np.mean(difference**2)
    rec_globals = np.mean((made.globals.double().numpy() - packed.val.globals) ** 2)
    total = rec_tokens + 10 * rec_globals
    facts = evaluate_epoch(model, loss, packed.val)
    if latent_space.endswith("vq"):
        commit = np.mean((z_e - z_q).double().numpy() ** 2)
        total += 0.25 * commit
        assert facts["commit"] == pytest.approx(commit, rel=1e-5)
    else:
        assert "commit" not in facts
    assert facts["rec_tokens"] == pytest.approx(rec_tokens, rel=1e-5)
    assert facts["rec_globals"] == pytest.approx(rec_globals, rel=1e-5)
    assert facts["loss"] == pytest.approx(total, rel=1e-5)
    assert float(loss(whole, made, Sums())) == pytest.approx(total, rel=1e-5)
    sums = Sums()
    for batch in batches(packed.val, 7, CPU):
        with torch.no_grad():
            loss(batch, model(batch), sums)
    assert loss.facts(sums)["loss"] == pytest.approx(total, rel=1e-4)


def test_components_are_not_multiplied_by_their_weights(packed):
    """The same weights give the same components at every globals_beta."""
    model = TokenAutoencoder(run_settings(), packed.info)
    facts = {
        beta: evaluate_epoch(
            model, Loss(run_settings(globals_beta=beta), packed, model, CPU), packed.val
        )
        for beta in (0.0, 10.0)
    }
    assert facts[0.0]["rec_globals"] == facts[10.0]["rec_globals"] > 0
    assert facts[0.0]["rec_tokens"] == facts[10.0]["rec_tokens"]
    assert facts[0.0]["loss"] == facts[0.0]["rec_tokens"]


def test_angles_differ_the_short_way_round():
    """3.1 and -3.1 rad are 0.083 rad apart; a column that is no angle keeps its difference."""
    period = torch.tensor([math.inf, 2 * math.pi])
    difference = torch.tensor([[6.2, 6.2]], requires_grad=True)
    short = 2 * math.pi - 6.2
    value = squared_error(difference, period).mean()
    assert value.item() == pytest.approx((6.2**2 + short**2) / 2, rel=1e-6)
    torch.autograd.backward(value)
    # The gradient drives the second column up, across the jump.
    assert_allclose(difference.grad[0], [6.2, -short], rtol=1e-5)


def test_the_loss_takes_angles_the_short_way_round(tmp_path):
    """phi and METphi nearly a whole turn too far are 0.1 rad short of the truth."""
    settings = PackSettings(features="raw", globals_target="polar")
    packed, settings = pack_random(tmp_path / "packed.h5", settings), run_settings()
    model = TokenAutoencoder(settings, packed.info)
    batch = next(batches(packed.train, 60, CPU))
    made = model(batch)
    turn = 2 * math.pi - 0.1
    scales = packed.info.features.scale[3], packed.info.globals.scale[1]
    features, globals_ = batch.features.clone(), batch.globals.clone()
    features[:, 3] += turn / scales[0]
    globals_[:, 1] += turn / scales[1]
    loss, sums = Loss(settings, packed, model, CPU), Sums()
    loss(batch, made._replace(features=features, globals=globals_), sums)
    facts = loss.facts(sums)
    assert facts["rec_tokens"] == pytest.approx((0.1 / scales[0]) ** 2 / 4, rel=1e-4)
    assert facts["rec_globals"] == pytest.approx((0.1 / scales[1]) ** 2 / 2, rel=1e-4)


def test_same_settings_give_the_same_weights_and_facts(tmp_path, packed):
    for space in ("none", "vq"):
        first, facts = trained(tmp_path, packed, f"{space}1", latent_space=space)
        torch.rand(5)  # whatever happened before in the process
        second, again = trained(tmp_path, packed, f"{space}2", latent_space=space)
        assert facts == again
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights(tmp_path, packed):
    first, _ = trained(tmp_path, packed, "a", seed=0)
    second, _ = trained(tmp_path, packed, "b", seed=1)
    assert not torch.equal(first["decoder.0.weight"], second["decoder.0.weight"])


def test_latent_spaces_of_one_seed_start_from_the_same_weights(packed):
    states = []
    for space in ("none", "linear", "vq"):
        torch.manual_seed(3)
        states.append(TokenAutoencoder(run_settings(space), packed.info).state_dict())
    for name, tensor in states[0].items():
        assert all(torch.equal(tensor, other[name]) for other in states[1:])


def test_the_head_of_beta_0_is_never_trained(tmp_path, packed):
    torch.manual_seed(0)
    start = TokenAutoencoder(run_settings(globals_beta=0.0), packed.info).state_dict()
    end, _ = trained(tmp_path, packed, globals_beta=0.0)
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
    loss = Loss(settings, packed, best.model, CPU)
    assert evaluate_epoch(best.model, loss, packed.val)["loss"] == pytest.approx(min(losses))


def test_model_pt_is_enough_to_use_the_model(tmp_path, packed):
    folder = RunFolder(tmp_path)
    train(run_settings("vq"), packed, folder, threads=1)
    best = load_model(folder.model)
    assert best.info == packed.info
    assert best.settings == run_settings("vq")
    batch = next(batches(packed.test, 60, CPU))
    with torch.inference_mode():
        objects = best.info.objects(best.model(batch).features.numpy())
    assert objects.shape == (len(packed.test.features), 4)


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


@pytest.mark.parametrize("latent_space", ["none", "vq", "residual_vq", "fsq"])
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
