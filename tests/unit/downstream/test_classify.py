"""What the classifier gets: original, reconstructed and encoded objects of the same events."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trained_models import SIZES, train_small

from globals_heads.downstream import classify as module
from globals_heads.downstream.classify import classify_events, classify_run, convert, inputs
from globals_heads.errors import UserError
from globals_heads.evaluate.evaluate import predict
from globals_heads.facts import RunFolder
from globals_heads.train.model_file import load_model, save_model


@pytest.fixture(scope="module", params=["none", "residual_vq"])
def small(request, tmp_path_factory):
    return train_small(tmp_path_factory.mktemp(request.param), request.param)


def test_inputs_are_the_reconstruction_and_the_codes_or_latents(small):
    trained = load_model(small.folder.model)
    found, expected = convert(trained, small.data.test), predict(trained.model, small.data.test)
    assert_allclose(found.reconstructed, expected.features, atol=1e-5)
    if expected.codes is None:
        assert found.encoded.shape == (len(expected.features), 4)
    else:
        assert_array_equal(found.encoded, expected.codes)


def test_labels_and_met_are_those_of_the_events(small):
    info = small.data.info
    found = inputs(small.data, "val", small.data.val.features)
    assert_array_equal(found.is_signal, small.data.val.labels == 1)
    met = info.met_components(small.data.val.globals) / info.met_scale_gev
    assert_allclose(found.objects.globals, met, rtol=1e-5)


def test_one_number_per_test_event(small, tmp_path, monkeypatch):
    """The classifier of a run has the run's seed."""
    seeds = []

    def classified(train, val, test, num_types, codebook_size, seed):
        seeds.append((seed, codebook_size))
        return test.is_signal * 2.0

    monkeypatch.setattr(module, "classify", classified)
    classify_events(small.data, tmp_path / "seed_5.npz", 5, 1)
    classify_run(small.data, small.folder, 1)
    size = load_model(small.folder.model).model.bottleneck.codebook_size
    assert seeds == [(5, 0), (0, 0), (0, size)]
    with np.load(tmp_path / "seed_5.npz") as content:
        assert_array_equal(content["original"], content["is_signal"] * 2)
    with np.load(small.folder.downstream) as content:
        assert sorted(content) == ["encoded", "reconstructed"]
        assert len(content["encoded"]) == SIZES["test"]


def test_a_diverged_run_gets_no_numbers(small, tmp_path):
    folder = RunFolder(tmp_path)
    save_model(folder.model, load_model(small.folder.model)._replace(diverged=True))
    classify_run(small.data, folder, 1)
    with np.load(folder.downstream) as content:
        assert not content.files


def test_data_without_both_kinds_are_refused(small):
    data = small.data
    labels = np.ones_like(data.val.labels)
    none = type(data)(**vars(data) | {"val": type(data.val)(**vars(data.val) | {"labels": labels})})
    with pytest.raises(UserError, match=r"val split has 30 events with the label 1 \(tttt\) among"):
        inputs(none, "val", data.val.features)
