"""Evaluation and yardsticks: planted predictions give the numbers that they must."""

import csv
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from samples import OBJECT_TYPES, pack_random, random_events

from globals_heads.events import Events
from globals_heads.facts import RunFolder
from globals_heads.files import UserError
from globals_heads.learn.checkpoint import load_model
from globals_heads.learn.evaluation import (
    Predictions,
    evaluate,
    predict,
    reconstructed_sum,
    token_errors,
)
from globals_heads.learn.model import TokenAutoencoder
from globals_heads.learn.training import fit, train
from globals_heads.learn.yardsticks import measure_yardsticks, visible_sum
from globals_heads.metrics import ridge_probe
from globals_heads.packing import open_packed, pack
from globals_heads.settings import PackSettings, RunKey, Settings, TrainSettings

KEY = RunKey(latent_space="vq", globals_beta=0.5, seed=2)


def values(rows):
    """Return {metric: value}."""
    return {row.metric: row.value for row in rows}


def read(path):
    """Return {(metric, group): value} of a facts file."""
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    return {(row["metric"], row["group"]): float(row["value"] or "nan") for row in rows}


def met(packed):
    return packed.info.met_components(packed.test.globals)


def test_token_errors_take_angles_the_short_way_round(tmp_path):
    """The jump of phi is no error of 2 pi, neither in the loss nor in the facts."""
    data = pack_random(tmp_path / "packed.h5", PackSettings(features="raw"))
    columns = data.info.features.invert(data.test.features)
    columns[:, 3] += 2 * np.pi - 0.1
    test = Predictions(data.info.features.normalise(columns), None, None, 0.0, None)
    expected = (0.1 / data.info.features.scale[3]) ** 2 / 4
    assert_allclose(token_errors(test, data), expected, rtol=1e-4)


def test_the_probe_is_fitted_on_the_training_split(packed, tmp_path):
    folder = RunFolder(tmp_path)
    train(Settings(epochs=1).run_settings(KEY), packed, folder, threads=1)
    evaluate(packed, folder, threads=1)
    model = load_model(folder.model).model
    pooled, truth = (
        {split: make(getattr(packed, split)) for split in ("train", "val", "test")}
        for make in (
            lambda split: predict(model, split).pooled,
            lambda split: packed.info.met_components(split.globals),
        )
    )
    probe = ridge_probe(
        (pooled["train"], truth["train"]), (pooled["val"], truth["val"]), pooled["test"]
    )
    expected = np.mean((probe - truth["test"]) ** 2) / packed.info.met_scale_gev**2
    assert read(folder.metrics("test"))["rec_globals", "probe"] == pytest.approx(expected)


def test_a_model_is_not_measured_on_data_of_other_units(packed, tmp_path):
    folder = RunFolder(tmp_path)
    train(Settings(epochs=1).run_settings(KEY), packed, folder, threads=1)
    other = pack_random(tmp_path / "other.h5", PackSettings(), num_events=50)
    with pytest.raises(UserError, match="was trained on other packed data"):
        evaluate(other, folder, threads=1)


def test_facts_of_a_diverged_run_say_so_and_nothing_of_the_test_split(packed, tmp_path):
    folder = RunFolder(tmp_path)
    settings = Settings(epochs=2, train=TrainSettings(learning_rate=1e30, clip_norm=None))
    train(settings.run_settings(KEY), packed, folder, threads=1)
    evaluate(packed, folder, threads=1)
    facts = read(folder.metrics("test"))
    assert facts["diverged", "all"] == 1
    assert facts["latent_dim", "all"] == 32
    assert ("rec_tokens", "all") not in facts
    with np.load(folder.events("test")) as errors:
        assert not errors.files


def test_predictions_do_not_depend_on_the_batches(packed, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    train(Settings(epochs=1).run_settings(KEY), packed, folder, threads=1)
    model = load_model(folder.model).model
    whole = predict(model, packed.test)
    monkeypatch.setattr("globals_heads.learn.evaluation.EVENTS_PER_EVALUATION_BATCH", 7)
    parts = predict(model, packed.test)
    assert_allclose(whole.features, parts.features, atol=1e-5)
    assert_allclose(whole.pooled, parts.pooled, atol=1e-5)
    assert whole.commit == pytest.approx(parts.commit, rel=1e-4)
    assert (whole.codes == parts.codes).all()
    assert len(whole.codes) == len(packed.test.features)


@pytest.mark.parametrize("latent_space", ["none", "linear", "vq", "residual_vq", "fsq"])
@pytest.mark.parametrize("target", ["components", "polar"])
def test_a_real_run_has_all_its_facts(tmp_path, latent_space, target):
    data = pack_random(tmp_path / "packed.h5", PackSettings(globals_target=target))
    key = RunKey(latent_space=latent_space, globals_beta=1, seed=0)
    folder = RunFolder(tmp_path / "run")
    train(Settings(epochs=1).run_settings(key), data, folder, threads=1)
    evaluate(data, folder, threads=1)
    measured = read(folder.metrics("test"))
    finite = {name for name, value in measured.items() if math.isfinite(value)}
    expected = {("rec_tokens", "all"), ("rec_globals", "head"), ("rec_globals", "probe")}
    assert expected <= finite
    assert (("bits_per_token", "all") in finite) == (latent_space not in ("none", "linear"))
    assert (("commit", "all") in finite) == latent_space.endswith("vq")
    # An untrained model knows little: the error is near that of a constant, in either target.
    assert 0.3 < measured["rec_globals", "head"] < 5


def test_test_facts_repeat_the_validation_loss_when_the_splits_are_equal(tmp_path):
    """The long way through GeV gives the number of the training loop."""
    events = random_events(60)
    splits = dict.fromkeys(("train", "val", "test"), events)
    pack(splits, OBJECT_TYPES, PackSettings(), "equal", tmp_path / "packed.h5")
    data, folder = open_packed(tmp_path / "packed.h5"), RunFolder(tmp_path)
    key = RunKey(latent_space="none", globals_beta=1, seed=0)
    train(Settings(epochs=1).run_settings(key), data, folder, threads=1)
    evaluate(data, folder, threads=1)
    measured = read(folder.metrics("test"))
    header, row = folder.metrics("val").read_text().splitlines()
    val = dict(zip(header.split(","), row.split(","), strict=True))
    assert measured["rec_tokens", "all"] == pytest.approx(float(val["rec_tokens"]), rel=1e-5)
    assert measured["rec_globals", "head"] == pytest.approx(float(val["rec_globals"]), rel=1e-5)


def planted(factor):
    """Return events whose MET is `factor` times minus the vector sum of the objects."""
    events = random_events(200, 5)
    pt, phi = events.objects[..., 1], events.objects[..., 3]
    x = -factor * (pt * np.cos(phi)).sum(axis=1)
    y = -factor * (pt * np.sin(phi)).sum(axis=1)
    met = np.column_stack([np.hypot(x, y), np.arctan2(y, x)])
    return Events(events.types, events.objects, met, events.labels)


def test_yardsticks_of_a_planted_relation(tmp_path):
    splits = dict.fromkeys(("train", "val", "test"), planted(0.5))
    pack(splits, OBJECT_TYPES, PackSettings(), "planted", tmp_path / "packed.h5")
    data = open_packed(tmp_path / "packed.h5")
    measure_yardsticks(
        data,
        Settings(epochs=1).globals_network,
        tmp_path / "yardsticks.csv",
        tmp_path / "errors.npz",
        threads=1,
    )
    measured = read(tmp_path / "yardsticks.csv")
    assert measured["fitted_a", "linear_fit"] == pytest.approx(0.5, rel=1e-4)
    assert measured["rec_globals", "linear_fit"] == pytest.approx(0, abs=1e-6)
    assert measured["rec_globals", "training_mean"] == pytest.approx(1, rel=1e-5)
    # -sum pT is twice the truth: it misses by the truth itself.
    truth = met(data)
    expected = np.mean(truth**2) / data.info.met_scale_gev**2
    assert measured["rec_globals", "minus_sum_pt"] == pytest.approx(expected, rel=1e-4)
    errors = np.load(tmp_path / "errors.npz")
    for name in ("training_mean", "minus_sum_pt", "linear_fit", "globals_network"):
        assert errors[f"{name}_error"].mean() == pytest.approx(
            measured["rec_globals", name], abs=1e-6
        )
    assert_allclose(-0.5 * visible_sum(data.test, data.info), truth, atol=1e-2)


def test_the_globals_network_learns_the_globals_and_no_tokens(packed):
    """Its loss is the globals error alone, so its decoder keeps its first weights."""
    settings = Settings(epochs=2).globals_network
    torch.manual_seed(settings.seed)
    start = TokenAutoencoder(settings, packed.info).state_dict()
    model, history, _ = fit(settings, packed, threads=1, tokens_weight=0.0)
    assert history["train"][0]["loss"] == history["train"][0]["rec_globals"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, start[name]) == name.startswith("decoder"), name


def test_errors_per_event_add_up_to_the_facts(packed, tmp_path):
    folder = RunFolder(tmp_path)
    train(Settings(epochs=1).run_settings(KEY), packed, folder, threads=1)
    evaluate(packed, folder, threads=1)
    measured, errors = read(folder.metrics("test")), np.load(folder.events("test"))
    tokens = errors["sse_tokens"].sum() / errors["num_tokens"].sum()
    assert tokens == pytest.approx(measured["rec_tokens", "all"])
    for source in ("head", "probe", "survived"):
        assert errors[f"{source}_error"].shape == (60,)
        assert errors[f"{source}_error"].mean() == pytest.approx(measured["rec_globals", source])
    assert (errors["num_tokens"] == np.diff(packed.test.offsets)).all()
    before = folder.events("test").read_bytes()
    evaluate(packed, folder, threads=1)
    assert folder.events("test").read_bytes() == before


def test_what_survives_is_a_fit_on_the_reconstructed_objects(tmp_path):
    """A perfect autoencoder keeps the planted relation; one that turns all objects loses it."""
    splits = dict.fromkeys(("train", "val", "test"), planted(0.5))
    pack(splits, OBJECT_TYPES, PackSettings(), "planted", tmp_path / "packed.h5")
    data = open_packed(tmp_path / "packed.h5")
    perfect = Predictions(data.test.features, None, None, 0.0, None)
    visible = reconstructed_sum(perfect, data.test, data.info)
    assert_allclose(-0.5 * visible, met(data), atol=1e-2)
    columns = data.info.features.invert(data.test.features)
    columns[:, 3:] *= -1  # phi + pi
    turned = perfect._replace(features=data.info.features.normalise(columns))
    assert_allclose(reconstructed_sum(turned, data.test, data.info), -visible, atol=1e-2)
