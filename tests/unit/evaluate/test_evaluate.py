"""Evaluation: planted predictions give the numbers that they must."""

import math
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose
from planted_met import pack_planted, read_metrics, true_met
from random_events import OBJECT_TYPES, pack_random, random_events

from globals_heads.data.pack import pack
from globals_heads.errors import UserError
from globals_heads.evaluate.evaluate import (
    EventPredictions,
    Predictions,
    codebook_metrics,
    evaluate,
    fit_true_objects,
    log_spread,
    num_parameters,
    predict,
    token_errors,
    tokens_nmse,
    visible_sum,
)
from globals_heads.evaluate.metrics import ridge_probe
from globals_heads.facts import RunFolder
from globals_heads.packed import log_features, open_packed
from globals_heads.settings import PackSettings, RunKey, Settings, TrainSettings
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.model_file import load_model
from globals_heads.train.train import train

KEY = RunKey(latent_space="vq", globals_beta=0.5, seed=2)


def train_and_evaluate(data, folder, key=KEY, **settings):
    """Make the facts of one short run in `folder`; return them as of the test split."""
    run, of_run = RunFolder(folder), Settings(**{"epochs": 1} | settings).run_settings(key)
    train(of_run, data, run, threads=1)
    evaluate(data, run, 1, of_run)
    return read_metrics(run.metrics("test"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Packed random events."""
    return pack_random(tmp_path_factory.mktemp("data") / "packed.h5", PackSettings())


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The folder of a run that was trained and evaluated; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    train_and_evaluate(data, folder)
    return RunFolder(folder)


def test_token_errors_take_angles_the_short_way_round(tmp_path):
    """The jump of phi is no error of 2 pi, neither in the loss nor in the facts."""
    data = pack_random(tmp_path / "packed.h5", PackSettings(features="raw"))
    columns = data.info.features.denormalise(data.test.features)
    columns[:, 3] += 2 * np.pi - 0.1
    test = Predictions(data.info.features.normalise(columns), None, None, 0.0, None)
    expected = (0.1 / data.info.features.scale[3]) ** 2 / 4
    assert_allclose(token_errors(test, data), expected, rtol=1e-4)


def test_the_probe_is_fitted_on_the_training_split(data, run):
    model = load_model(run.model).model
    pooled, truth = (
        {split: of(getattr(data, split)) for split in ("train", "val", "test")}
        for of in (
            lambda split: predict(model, split).pooled,
            lambda split: data.info.met_components(split.globals),
        )
    )
    probe = ridge_probe(
        (pooled["train"], truth["train"]), (pooled["val"], truth["val"]), pooled["test"]
    )
    expected = np.mean((probe - truth["test"]) ** 2) / data.info.met_scale_gev**2
    assert read_metrics(run.metrics("test"))["rec_globals", "probe"] == pytest.approx(expected)


def test_the_canonical_error_is_in_units_of_the_training_split(data, run):
    features = predict(load_model(run.model).model, data.test).features
    expected = tokens_nmse(
        data.info.objects(features),
        data.info.objects(data.test.features),
        log_features(data.info.objects(data.train.features)).std(axis=0),
    )
    assert read_metrics(run.metrics("test"))["tokens_nmse", "all"] == pytest.approx(expected)


def test_facts_do_not_depend_on_the_blocks(data, run, monkeypatch, tmp_path):
    """Large splits are read block by block; the last one is smaller."""
    copied = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    for module in ("evaluate", "metrics"):
        monkeypatch.setattr(f"globals_heads.evaluate.{module}.ROWS_PER_BLOCK", 7)
    evaluate(data, copied, 1, load_model(run.model).settings)
    expected, found = (read_metrics(each.metrics("test")) for each in (run, copied))
    assert found == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_a_model_is_not_measured_on_data_of_other_units(run, tmp_path):
    other = pack_random(tmp_path / "other.h5", PackSettings(), num_events=50)
    with pytest.raises(UserError, match="was trained on other packed data"):
        evaluate(other, run, 1, load_model(run.model).settings)


def test_facts_of_a_diverged_run_say_so_and_nothing_of_the_test_split(data, tmp_path):
    settings = TrainSettings(learning_rate=1e30, clip_norm=None)
    facts = train_and_evaluate(data, tmp_path, epochs=2, train=settings)
    assert facts["diverged", "all"] == 1
    assert facts["latent_dim", "all"] == 32
    assert ("rec_tokens", "all") not in facts
    with np.load(RunFolder(tmp_path).events("test")) as errors:
        assert not errors.files


def test_predictions_do_not_depend_on_the_batches(data, run, monkeypatch):
    model = load_model(run.model).model
    whole = predict(model, data.test)
    monkeypatch.setattr("globals_heads.evaluate.evaluate.EVENTS_PER_EVALUATION_BATCH", 7)
    parts = predict(model, data.test)
    assert_allclose(whole.features, parts.features, atol=1e-5)
    assert_allclose(whole.pooled, parts.pooled, atol=1e-5)
    assert whole.commit == pytest.approx(parts.commit, rel=1e-4)
    assert (whole.codes == parts.codes).all()
    assert len(whole.codes) == len(data.test.features)


@pytest.mark.parametrize(
    ("latent_space", "target"),
    [
        ("none", "components"),
        ("linear", "polar"),
        ("vq", "components"),
        ("residual_vq", "polar"),
        ("fsq", "components"),
    ],
)
def test_a_real_run_has_all_its_facts(tmp_path, latent_space, target):
    data = pack_random(tmp_path / "packed.h5", PackSettings(globals_target=target))
    key = RunKey(latent_space=latent_space, globals_beta=1, seed=0)
    measured = train_and_evaluate(data, tmp_path / "run", key)
    finite = {name for name, value in measured.items() if math.isfinite(value)}
    expected = {("rec_tokens", "all"), ("rec_globals", "head"), ("rec_globals", "probe")}
    assert expected <= finite
    assert (("bits_per_token", "all") in finite) == (latent_space not in ("none", "linear"))
    assert (("commit", "all") in finite) == latent_space.endswith("vq")
    assert measured["best_epoch", "all"] == 1
    model = load_model(tmp_path / "run/model.pt").model
    assert measured["num_parameters", "all"] == num_parameters(model)
    # An untrained model knows little: the error is near that of a constant, in either target.
    assert 0.3 < measured["rec_globals", "head"] < 5


def test_test_facts_repeat_the_validation_loss_when_the_splits_are_equal(tmp_path):
    """The long way through GeV gives the number of the training loop."""
    events = random_events(60)
    splits = dict.fromkeys(("train", "val", "test"), events)
    pack(splits, OBJECT_TYPES, PackSettings(), "equal", "GeV", tmp_path / "packed.h5")
    key = RunKey(latent_space="none", globals_beta=1, seed=0)
    measured = train_and_evaluate(open_packed(tmp_path / "packed.h5"), tmp_path, key)
    header, row = RunFolder(tmp_path).metrics("val").read_text().splitlines()
    val = dict(zip(header.split(","), row.split(","), strict=True))
    assert measured["rec_tokens", "all"] == pytest.approx(float(val["rec_tokens"]), rel=1e-5)
    assert measured["rec_globals", "head"] == pytest.approx(float(val["rec_globals"]), rel=1e-5)


def test_the_fit_on_the_objects_sees_the_training_split_alone(tmp_path):
    data = pack_planted(tmp_path, PackSettings(), factors=(0.5, 0.7, 0.3))
    a, predicted = fit_true_objects(data)
    assert a == pytest.approx(0.5, rel=1e-4)
    assert_allclose(predicted, true_met(data) * 0.5 / 0.3, atol=1e-2)


def same(met, phi):
    return met, phi


def evaluate_planted(tmp_path, monkeypatch, data, turn, pt_factors=(1, 1, 1), signs=(1, 1, 1)):
    """Return the facts of a model whose head predicts turn(MET, METphi).

    Its objects have half as much energy again, and pT times a factor per split; all else is true.
    Its pooled latents are the true MET components with a sign per split, so that the probe has all
    to read.
    """
    folder = RunFolder(tmp_path / "run")
    key = RunKey(latent_space="none", globals_beta=1, seed=0)
    settings = Settings(epochs=1).run_settings(key)
    train(settings, data, folder, threads=1)

    def predicted(_, split):
        place = [split is s for s in (data.train, data.val, data.test)].index(True)
        polar = data.info.globals.denormalise(split.globals)
        head = data.info.globals.normalise(np.column_stack(turn(*polar.T)))
        objects = data.info.features.denormalise(split.features)
        objects[:, :2] += np.log([1.5, pt_factors[place]])
        features = data.info.features.normalise(objects)
        pooled = signs[place] * data.info.met_components(split.globals)
        return Predictions(features, head, pooled, 0.0, None)

    def predicted_events(model, split, info, latent_dim):
        found = predicted(model, split)
        return EventPredictions(found.pooled, visible_sum(found.features, split.offsets, info))

    monkeypatch.setattr("globals_heads.evaluate.evaluate.predict", predicted)
    monkeypatch.setattr("globals_heads.evaluate.evaluate.predict_events", predicted_events)
    evaluate(data, folder, 1, settings)
    return read_metrics(folder.metrics("test"))


def test_a_head_that_is_off_by_a_turn_shows_as_what_it_is(tmp_path, monkeypatch):
    """A full turn is no error, half a turn is one of pi, and a mirror image one of -2 phi."""
    data = pack_planted(tmp_path, PackSettings(globals_target="polar"))

    def facts(turn):
        return evaluate_planted(tmp_path, monkeypatch, data, turn)

    true = true_met(data)
    hard = np.hypot(*true.T) > 50
    full = facts(lambda met, phi: (met, phi - 2 * np.pi))
    assert full["rec_globals", "head"] == pytest.approx(0, abs=1e-9)
    assert full["met_dphi_rms", "head"] == pytest.approx(0, abs=1e-5)
    half = facts(lambda met, phi: (met, phi + np.pi))
    expected = 4 * np.mean(true**2) / data.info.met_scale_gev**2
    assert half["rec_globals", "head"] == pytest.approx(expected, rel=1e-5)
    assert half["met_dphi_rms", "head"] == pytest.approx(np.pi, rel=1e-5)
    response = {g: v for (m, g), v in half.items() if m == "met_response" and g[:5] == "head:"}
    assert response == pytest.approx(dict.fromkeys(response, -1), rel=1e-5)
    assert response
    mirrored = facts(lambda met, phi: (met, -phi))
    expected = np.mean(true[:, 1] ** 2 * 4) / 2 / data.info.met_scale_gev**2
    assert mirrored["rec_globals", "head"] == pytest.approx(expected, rel=1e-5)
    turned = -2 * np.arctan2(true[hard, 1], true[hard, 0])
    turned = np.arctan2(np.sin(turned), np.cos(turned))
    assert mirrored["met_dphi_rms", "head"] == pytest.approx(np.sqrt(np.mean(turned**2)), rel=1e-4)
    for found in (full, half, mirrored):  # what the head does is not the objects' or the probe's
        for source in ("probe", "reco_objects"):
            assert found["rec_globals", source] == pytest.approx(0, abs=1e-5)
        expected = (math.log(1.5) / data.info.features.scale[0]) ** 2 / 5
        assert found["rec_tokens", "all"] == pytest.approx(expected, rel=1e-5)
        assert found["tokens_nmse", "all"] == pytest.approx(expected, rel=1e-5)
        assert found["token_bias", "energy_relative"] == pytest.approx(0.5, rel=1e-5)
        assert found["event_bias", "visible_mass"] > 0 == found["event_bias", "ht"]
        assert found["skill", "probe"] == pytest.approx(1, abs=1e-5)


def test_skill_is_that_of_the_probe_beside_the_fit_on_true_objects(tmp_path, monkeypatch):
    """The probe knows all, the fit misses the test split by a third of it."""
    data = pack_planted(tmp_path, PackSettings(globals_target="polar"), factors=(0.2, 0.2, 0.3))
    found = evaluate_planted(tmp_path, monkeypatch, data, same)
    fit_error = np.mean((true_met(data) / 3) ** 2) / data.info.met_scale_gev**2
    assert found["skill", "probe"] == pytest.approx(1 / (1 - fit_error), rel=1e-4)
    assert found["rec_globals", "reco_objects"] == pytest.approx(fit_error, rel=1e-4)


def test_the_fit_on_reconstructed_objects_sees_them_alone(tmp_path, monkeypatch):
    """pT comes out doubled in training, which the fit halves, and tripled in the test split."""
    data = pack_planted(tmp_path, PackSettings(globals_target="polar"))
    found = evaluate_planted(tmp_path, monkeypatch, data, same, pt_factors=(2, 5, 3))
    expected = np.mean((true_met(data) / 2) ** 2) / data.info.met_scale_gev**2
    assert found["rec_globals", "reco_objects"] == pytest.approx(expected, rel=1e-4)
    assert found["skill", "probe"] == pytest.approx(1, abs=1e-5), "of true objects"


def test_the_penalty_of_the_probe_is_chosen_on_validation(tmp_path, monkeypatch):
    """There the latents mislead, so that the strongest penalty does best: it halves the slope."""
    data = pack_planted(tmp_path, PackSettings(globals_target="polar"))
    found = evaluate_planted(tmp_path, monkeypatch, data, same, signs=(1, -1, 1))
    assert found["r2", "probe"] == pytest.approx(1 - 0.5**2, abs=0.01)


def test_the_canonical_error_of_tokens_has_the_units_of_the_default_features(tmp_path):
    """It is rec_tokens for them, and the same number for objects reconstructed in any other way."""
    rng, found = np.random.default_rng(0), []
    for features in ("log", "raw"):
        data = pack_random(tmp_path / "packed.h5", PackSettings(features=features))
        true, in_training = (
            data.info.objects(data.test.features),
            log_spread(data.train.features, data.info),
        )
        if not found:
            reco = true * np.exp(rng.normal(0, 0.1, true.shape) * [1, 1, 0, 0])
            reco[:, 3] += rng.normal(0, 0.1, len(true))
            inverse = data.info.features.normalise(log_features(reco))
            test = Predictions(inverse, None, None, 0.0, None)
            assert token_errors(test, data).mean() == pytest.approx(
                tokens_nmse(reco, true, in_training), rel=1e-4
            )
        found.append(tokens_nmse(reco + np.array([0, 0, 0, 2 * np.pi]), true, in_training))
    assert found[0] > 0.001
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    # E or pT below 0, as a model of raw features may predict them, count as 1 GeV.
    for column in (0, 1):
        below, one = true.copy(), true.copy()
        below[0, column], one[0, column] = -3.0, 1.0
        assert tokens_nmse(below, true, in_training) == tokens_nmse(one, true, in_training) > 0


def test_use_of_the_codebook_by_hand(data):
    """Jets use four codes of eight alike, all other objects the first one alone."""
    jets = data.test.types == 1
    codes = np.where(jets, np.arange(len(jets)) % 4, 0)[:, None]
    counts = np.bincount(codes[:, 0], minlength=8)
    used = counts[counts > 0] / counts.sum()
    entropy = -np.sum(used * np.log2(used))
    found = {
        (row.metric, row.group): (row.value, row.unit)
        for row in codebook_metrics(Predictions(None, None, None, 0.25, codes), 8, data)
    }
    assert found["perplexity", "all"] == (pytest.approx(2**entropy), "1")
    assert found["bits_per_token", "all"] == (pytest.approx(entropy), "bit")
    assert found["active_codes", "all"] == (4, "1")
    assert found["utilisation", "all"] == (0.5, "1")
    assert found["commit", "all"] == (0.25, "1")
    assert found["perplexity", "jet"][0] == pytest.approx(4, rel=0.05)
    assert found["perplexity", "photon"][0] == pytest.approx(1)
    twice = Predictions(None, None, None, math.nan, np.repeat(codes, 2, axis=1))
    found = {(row.metric, row.group): row.value for row in codebook_metrics(twice, 8, data)}
    assert found["bits_per_token", "all"] == pytest.approx(2 * entropy)
    assert ("commit", "all") not in found


@pytest.mark.parametrize(("latent_space", "more"), [("none", 0), ("linear", 33 * 32), ("vq", 0)])
def test_parameters_are_those_that_the_optimiser_trains(data, latent_space, more):
    """Codes of a codebook follow their averages; they are not among them."""
    layers = [(13, 128), (128, 128), (128, 32), (32, 128), (128, 128), (128, 5), (32, 32), (32, 2)]
    expected = 8 * 8 + sum((size_in + 1) * size_out for size_in, size_out in layers)
    key = RunKey(latent_space=latent_space, globals_beta=1, seed=0)
    model = TokenAutoencoder(Settings().run_settings(key), data.info)
    assert num_parameters(model) == expected + more


def test_errors_per_event_add_up_to_the_facts(data, run):
    measured, errors = read_metrics(run.metrics("test")), np.load(run.events("test"))
    tokens = errors["sse_tokens"].sum() / errors["num_tokens"].sum()
    assert tokens == pytest.approx(measured["rec_tokens", "all"])
    for source in ("head", "probe", "reco_objects"):
        assert errors[f"{source}_error"].shape == (60,)
        assert errors[f"{source}_error"].mean() == pytest.approx(measured["rec_globals", source])
    assert (errors["num_tokens"] == np.diff(data.test.offsets)).all()
    before = run.events("test").read_bytes()
    evaluate(data, run, 1, load_model(run.model).settings)
    assert run.events("test").read_bytes() == before


def test_reconstructed_objects_keep_the_planted_relation_or_lose_it(tmp_path):
    """A perfect autoencoder keeps the planted relation; one that turns all objects loses it."""
    data = pack_planted(tmp_path, PackSettings())
    visible = visible_sum(data.test.features, data.test.offsets, data.info)
    assert_allclose(-0.5 * visible, true_met(data), atol=1e-2)
    columns = data.info.features.denormalise(data.test.features)
    columns[:, 3:] *= -1  # phi + pi
    turned = data.info.features.normalise(columns)
    assert_allclose(visible_sum(turned, data.test.offsets, data.info), -visible, atol=1e-2)
