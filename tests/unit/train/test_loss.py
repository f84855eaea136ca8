"""The loss against a float64 reference, angles, weights, and the counts of codes."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_events import pack_random
from small_runs import run_settings, split_facts

from globals_heads.settings import PackSettings
from globals_heads.train.batches import batches
from globals_heads.train.loss import Loss, count_codes, squared_error
from globals_heads.train.model import TokenAutoencoder

CPU = torch.device("cpu")


@pytest.mark.parametrize("latent_space", ["none", "linear", "vq", "residual_vq", "fsq"])
def test_loss_and_facts_equal_a_float64_reference(packed, latent_space):
    """Over all real objects at once, however the split is cut into batches."""
    torch.manual_seed(0)
    settings = run_settings(latent_space, globals_beta=10.0)
    model = TokenAutoencoder(settings, packed.info).eval()
    loss = Loss(settings, packed.info, model)
    whole = next(batches(packed.val, 60, CPU))
    with torch.no_grad():
        reco = model(whole)
        z_e = model.encoder(torch.cat([whole.features, model.type_embedding(whole.types)], dim=1))
        z_q = model.bottleneck(z_e).z_q
    rec_tokens = np.mean((reco.features.double().numpy() - packed.val.features) ** 2)
    rec_globals = np.mean((reco.globals.double().numpy() - packed.val.globals) ** 2)
    total = rec_tokens + 10 * rec_globals
    facts = split_facts(model, loss, packed.val)
    if latent_space.endswith("vq"):
        commit = np.mean((z_e - z_q).double().numpy() ** 2)
        total += 0.25 * commit
        assert facts["commit"] == pytest.approx(commit, rel=1e-5)
    else:
        assert "commit" not in facts
    assert facts["rec_tokens"] == pytest.approx(rec_tokens, rel=1e-5)
    assert facts["rec_globals"] == pytest.approx(rec_globals, rel=1e-5)
    assert facts["loss"] == pytest.approx(total, rel=1e-5)
    assert float(loss(whole, reco, loss.zero_sums())) == pytest.approx(total, rel=1e-5)
    in_parts = split_facts(model, loss, packed.val, num_events=7)
    assert in_parts == pytest.approx(facts, rel=1e-4)


def test_components_are_not_multiplied_by_their_weights(packed):
    """The same weights give the same components at every globals_beta."""
    model = TokenAutoencoder(run_settings(), packed.info)
    facts = {
        beta: split_facts(
            model, Loss(run_settings(globals_beta=beta), packed.info, model), packed.val
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
    value.backward()
    # The gradient drives the second column up, across the jump.
    assert_allclose(difference.grad[0], [6.2, -short], rtol=1e-5)


def test_the_loss_takes_angles_the_short_way_round(tmp_path):
    """phi and METphi nearly a whole turn too far are 0.1 rad short of the truth."""
    settings = PackSettings(features="raw", globals_target="polar")
    packed, settings = pack_random(tmp_path / "packed.h5", settings), run_settings()
    model = TokenAutoencoder(settings, packed.info)
    batch = next(batches(packed.train, 60, CPU))
    turn = 2 * math.pi - 0.1
    scales = packed.info.features.scale[3], packed.info.globals.scale[1]
    features, globals_ = batch.features.clone(), batch.globals.clone()
    features[:, 3] += turn / scales[0]
    globals_[:, 1] += turn / scales[1]
    loss = Loss(settings, packed.info, model)
    sums = loss.zero_sums()
    with torch.no_grad():
        loss(batch, model(batch)._replace(features=features, globals=globals_), sums)
    facts = loss.facts(sums)
    assert facts["rec_tokens"] == pytest.approx((0.1 / scales[0]) ** 2 / 4, rel=1e-4)
    assert facts["rec_globals"] == pytest.approx((0.1 / scales[1]) ** 2 / 2, rel=1e-4)


def test_codes_are_counted_for_each_quantiser():
    codes = torch.tensor([[0, 2], [0, 1], [2, 2]])
    assert_array_equal(count_codes(codes, 4), [[2, 0, 1, 0], [0, 1, 2, 0]])
    assert_array_equal(count_codes(torch.empty(0, 2, dtype=torch.long), 4), np.zeros((2, 4)))
    # Of latents of NaN: they must not end the run, which diverges and says so.
    assert count_codes(torch.tensor([[-(2**31)], [2**31 - 1]]), 4).sum() == 2
