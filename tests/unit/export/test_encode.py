"""Encoding and decoding give the numbers of the evaluation, for every latent space."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from random_events import random_events
from trained_models import read_events, train_small

import globals_heads
from globals_heads.errors import UserError
from globals_heads.evaluate.evaluate import predict, token_errors
from globals_heads.export.encode import decode, encode, load_model
from globals_heads.kinematics import event_sum
from globals_heads.packed import PackSettings
from globals_heads.train.model_file import save_model

CASES = {
    "none": PackSettings(),
    "linear": PackSettings(features="raw", globals_target="polar"),
    "vq": PackSettings(),
    "residual_vq": PackSettings(globals_target="polar"),
    "fsq": PackSettings(features="raw"),
}


@pytest.fixture(scope="module", params=CASES)
def small(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    return train_small(path, request.param, pack_settings=CASES[request.param])


def test_encoding_gives_the_numbers_of_the_evaluation(small):
    events = read_events(small.tokens)["test"]
    trained, test, info = load_model(small.folder.model), small.data.test, small.data.info
    found, expected = encode(trained, events), predict(trained.model, test)
    real, num_objects = events.types > 0, np.diff(test.offsets)
    sums = event_sum(token_errors(expected, small.data), test.offsets)
    with np.errstate(invalid="ignore"):
        assert_array_equal(found.error, sums / num_objects)
    assert_array_equal(found.pooled, expected.pooled)
    met = found.predicted_met
    assert_allclose(
        np.column_stack([met[:, 0] * np.cos(met[:, 1]), met[:, 0] * np.sin(met[:, 1])]),
        info.met_components(expected.globals),
        atol=1e-9,
    )
    assert_array_equal(found.met, events.met)
    if expected.codes is None:
        assert found.codes is None
        assert not found.latents[~real].any()
    else:
        assert found.latents is None
        assert_array_equal(found.codes[real], expected.codes)
        assert (found.codes[~real] == -1).all()
    assert_array_equal(found.labels, events.labels)


def test_decoding_gives_the_reconstruction_of_the_evaluation(small):
    events = read_events(small.tokens)["test"]
    trained = load_model(small.folder.model)
    expected = predict(trained.model, small.data.test)
    encoded = encode(trained, events)
    found = decode(trained, encoded)
    real = events.types > 0
    assert_array_equal(found.objects[real], small.data.info.objects(expected.features))
    assert not found.objects[~real].any()
    assert_array_equal(found.met, encoded.predicted_met)
    assert_array_equal(found.types, events.types)
    assert_array_equal(found.labels, events.labels)


def test_events_need_no_order_of_their_slots(small):
    """An empty slot may lie between objects; the object behind it keeps its slot."""
    trained, events = load_model(small.folder.model), random_events(20)
    order = np.argsort(np.random.default_rng(1).random(18))
    turned = type(events)(
        events.types[:, order], events.objects[:, order], events.met, events.labels
    )
    expected, found = encode(trained, events), encode(trained, turned)
    assert_allclose(found.pooled, expected.pooled, atol=1e-5)
    name = "latents" if expected.codes is None else "codes"
    assert_allclose(getattr(found, name), getattr(expected, name)[:, order], atol=1e-5)


def test_events_without_objects(small):
    trained, events = load_model(small.folder.model), random_events(3)
    empty = type(events)(events.types * 0, events.objects * 0, events.met, events.labels)
    encoded = encode(trained, empty)
    assert not encoded.pooled.any()
    assert np.isnan(encoded.error).all()
    assert not decode(trained, encoded).objects.any()


def test_an_unknown_type_is_named(small):
    events = random_events(5)
    events.types[3, 2] = 9
    with pytest.raises(UserError, match=r"Event 3 has the object type 9 in slot 2, .* 1 to 7"):
        encode(load_model(small.folder.model), events)


def test_a_diverged_model_is_refused(small, tmp_path):
    trained = load_model(small.folder.model)
    save_model(tmp_path / "model.pt", trained._replace(diverged=True))
    with pytest.raises(UserError, match=r"model\.pt belongs to .*beta_1/seed_0, which diverged"):
        load_model(tmp_path / "model.pt")


def test_the_package_offers_them():
    assert globals_heads.encode is encode
    assert globals_heads.load_model is load_model
    with pytest.raises(AttributeError, match="no attribute 'encoder'"):
        globals_heads.encoder  # noqa: B018
