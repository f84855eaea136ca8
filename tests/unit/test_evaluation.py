"""Evaluation and yardsticks: planted predictions give the numbers that they must."""

import csv
import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from samples import OBJECT_TYPES, pack_random, random_events

from globals_heads.events import Events
from globals_heads.facts import RunFolder
from globals_heads.files import UserError
from globals_heads.learn.checkpoint import load_model
from globals_heads.learn.evaluation import (
    Predictions,
    evaluate,
    globals_metrics,
    predict,
    rec_tokens,
    token_metrics,
)
from globals_heads.learn.training import train
from globals_heads.learn.yardsticks import measure_yardsticks, visible_sum
from globals_heads.metrics import ridge_probe
from globals_heads.packing import open_packed, pack
from globals_heads.settings import PackSettings, RunKey, Settings

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


def test_a_perfect_prediction_has_no_error(packed):
    measured = values(globals_metrics("head", met(packed), met(packed), packed.info))
    assert set(measured.values()) == {0.0}
    assert set(measured) == {
        "rec_globals",
        "met_component_rms",
        "met_dphi_sigma68",
        "met_dphi_rms",
    }


def test_units_of_the_globals_error(packed):
    """A miss of 3 GeV in x alone: RMS 3 / sqrt 2 GeV; NMSE is its square over the scale's."""
    measured = values(
        globals_metrics("head", met(packed) + np.array([3, 0]), met(packed), packed.info)
    )
    assert measured["met_component_rms"] == pytest.approx(3 / math.sqrt(2))
    assert measured["rec_globals"] == pytest.approx(4.5 / packed.info.met_scale_gev**2)


def test_a_rotation_shows_in_dphi_as_what_it_is(packed):
    for degrees in (30, -30, 180):
        angle = math.radians(degrees)
        rotation = np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        turned = met(packed) @ rotation.T
        measured = values(globals_metrics("head", turned, met(packed), packed.info))
        assert measured["met_dphi_rms"] == pytest.approx(abs(angle))
        assert measured["met_dphi_sigma68"] == pytest.approx(0, abs=1e-9)


def test_dphi_keeps_its_sign(packed):
    """Half turned to the left and half to the right: the spread is the angle, not zero."""
    truth = np.tile([100.0, 0.0], (60, 1))
    side = np.where(np.arange(60) % 2, 1, -1)
    turned = 100 * np.column_stack([np.cos(0.5 * side), np.sin(0.5 * side)])
    measured = values(globals_metrics("head", turned, truth, packed.info))
    assert measured["met_dphi_sigma68"] == pytest.approx(0.5)


def test_dphi_looks_at_hard_met_alone(packed):
    soft = np.hypot(*met(packed).T) <= 50
    predicted = np.where(soft[:, None], -met(packed), met(packed))
    measured = values(globals_metrics("head", predicted, met(packed), packed.info))
    assert soft.any()
    assert measured["met_dphi_rms"] == 0


@pytest.mark.parametrize("features", ["log", "raw"])
def test_token_residuals_are_reconstructed_minus_true(tmp_path, features):
    """Every second object is moved by a known amount in pT, eta and across the jump of phi."""
    data = pack_random(tmp_path / "packed.h5", PackSettings(features=features))
    true = data.info.objects(data.test.features)
    moved = true.copy()
    odd = np.arange(len(true)) % 2 == 1
    moved[odd] *= [1, 1.2, 1, 1]
    moved[odd] += [4, 0, 0.5, 2 * np.pi - 0.1]
    columns = moved
    if features == "log":
        e, pt, eta, phi = moved.T
        columns = np.column_stack([np.log(e), np.log(pt), eta, np.cos(phi), np.sin(phi)])
    test = Predictions(
        data.info.features.normalise(columns), np.zeros((60, 2)), np.zeros((60, 1)), 0.0, None
    )
    measured = {row.group: row.value for row in token_metrics(data, test)}
    # Half of the residuals are 0 and half are d: the 16 % and 84 % quantiles are 0 and d.
    assert measured["energy"] == pytest.approx(2, rel=1e-3)
    assert measured["pt_relative"] == pytest.approx(0.1, rel=1e-3)
    assert measured["eta"] == pytest.approx(0.25, rel=1e-3)
    assert measured["phi"] == pytest.approx(0.05, rel=1e-3)
    if features == "raw":  # the jump of phi is no error of 2 pi for the loss either
        scale = np.array(data.info.features.scale)
        residual = np.where(odd[:, None], moved - true, 0) / scale
        residual[:, 3] = np.where(odd, -0.1, 0) / scale[3]
        assert rec_tokens(data, test) == pytest.approx(np.mean(residual**2), rel=1e-4)


def test_phi_residuals_take_the_short_way_round(packed):
    """All objects lie at phi = 3.1 and half of them are reconstructed at -3.1."""
    features = packed.test.features.copy()
    phi = np.where(np.arange(len(features)) % 2, -3.1, 3.1)
    scale, mean = np.array(packed.info.features.scale), np.array(packed.info.features.mean)
    columns = [np.full(len(phi), 3.1), phi]
    true, made = (
        np.column_stack(
            [features[:, :3], (np.stack([np.cos(x), np.sin(x)], -1) - mean[3:]) / scale[3:]]
        )
        for x in columns
    )
    data = dataclasses.replace(packed, test=dataclasses.replace(packed.test, features=true))
    test = Predictions(made, np.zeros((60, 2)), np.zeros((60, 1)), 0.0, None)
    measured = {row.group: row.value for row in token_metrics(data, test)}
    assert measured["phi"] == pytest.approx((2 * np.pi - 6.2) / 2)


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
    assert whole.code_counts.sum() == parts.code_counts.sum() == len(packed.test.features)


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
    measure_yardsticks(data, tmp_path / "yardsticks.csv")
    measured = read(tmp_path / "yardsticks.csv")
    assert measured["fitted_a", "linear_fit"] == pytest.approx(0.5, rel=1e-4)
    assert measured["rec_globals", "linear_fit"] == pytest.approx(0, abs=1e-6)
    assert measured["rec_globals", "training_mean"] == pytest.approx(1, rel=1e-5)
    # -sum pT is twice the truth: it misses by the truth itself.
    truth = met(data)
    expected = np.mean(truth**2) / data.info.met_scale_gev**2
    assert measured["rec_globals", "minus_sum_pt"] == pytest.approx(expected, rel=1e-4)
    assert_allclose(-0.5 * visible_sum(data.test, data.info), truth, atol=1e-2)
