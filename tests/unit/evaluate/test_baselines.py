"""Baselines: predictions of a planted relation give the numbers that they must."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from planted_met import pack_planted, read_metrics, true_met
from random_events import pack_random

from globals_heads.evaluate.baselines import measure_baselines
from globals_heads.evaluate.evaluate import predict, visible_sum
from globals_heads.settings import PackSettings, Settings
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.train import fit


def test_baselines_of_a_planted_relation(tmp_path):
    data = pack_planted(tmp_path, PackSettings())
    measure_baselines(
        data,
        Settings(epochs=1).globals_only_network,
        tmp_path / "baselines.csv",
        tmp_path / "errors.npz",
        threads=1,
    )
    measured = read_metrics(tmp_path / "baselines.csv")
    assert measured["fitted_a", "linear_fit"] == pytest.approx(0.5, rel=1e-4)
    assert measured["rec_globals", "linear_fit"] == pytest.approx(0, abs=1e-6)
    assert measured["rec_globals", "training_mean"] == pytest.approx(1, rel=1e-5)
    # -sum pT is twice the truth: it misses by the truth itself.
    truth = true_met(data)
    expected = np.mean(truth**2) / data.info.met_scale_gev**2
    assert measured["rec_globals", "minus_sum_pt"] == pytest.approx(expected, rel=1e-4)
    errors = np.load(tmp_path / "errors.npz")
    for name in ("training_mean", "minus_sum_pt", "linear_fit", "globals_only_network"):
        assert errors[f"{name}_error"].mean() == pytest.approx(
            measured["rec_globals", name], abs=1e-6
        )
    assert_allclose(
        -0.5 * visible_sum(data.test.features, data.test.offsets, data.info), truth, atol=1e-2
    )


def test_fitted_baselines_see_the_training_split_alone(tmp_path):
    """The mean, and the network for the globals alone, whose best epoch follows validation."""
    data = pack_random(tmp_path / "packed.h5", PackSettings(globals_target="polar"))
    settings = Settings(epochs=2).globals_only_network
    facts = tmp_path / "baselines.csv"
    measure_baselines(data, settings, facts, tmp_path / "errors.npz", threads=1)
    network = fit(settings, data, threads=1, tokens_weight=0.0).model
    predictions = {
        "globals_only_network": data.info.met_components(predict(network, data.test).globals),
        "training_mean": data.info.met_components(data.train.globals).mean(axis=0),
    }
    for name, predicted in predictions.items():
        expected = np.mean((predicted - true_met(data)) ** 2) / data.info.met_scale_gev**2
        assert read_metrics(facts)["rec_globals", name] == pytest.approx(expected, rel=1e-6)


def test_the_globals_only_network_learns_the_globals_and_no_tokens(packed):
    """Its loss is the globals error alone, so its decoder keeps its first weights."""
    settings = Settings(epochs=2).globals_only_network
    torch.manual_seed(settings.seed)
    start = TokenAutoencoder(settings, packed.info).state_dict()
    state = fit(settings, packed, threads=1, tokens_weight=0.0)
    first = state.history["train"][0]
    assert first["loss"] == first["rec_globals"]
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, start[name]) == name.startswith("decoder"), name
