"""The model: pooling, what decoder and head see, and equal starts in every latent space."""

import numpy as np
import torch
from numpy.testing import assert_allclose
from small_runs import run_settings

from globals_heads.train.batches import batches
from globals_heads.train.model import TokenAutoencoder

CPU = torch.device("cpu")


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
        reco = model(batch)
        z_e = model.encoder(torch.cat([batch.features, model.type_embedding(batch.types)], dim=1))
        z_q = model.bottleneck(z_e).z_q
        assert torch.allclose(reco.features, model.decoder(z_q))
    expected = torch.zeros_like(reco.pooled).index_add(0, batch.event, z_q) / 18
    assert torch.allclose(reco.pooled, expected)
    assert not torch.allclose(z_q, z_e)


def test_the_type_decides_the_latent(packed):
    """The encoder sees the object type; without it two types would encode alike."""
    model = TokenAutoencoder(run_settings(), packed.info)
    batch = next(batches(packed.train, 60, CPU))
    other = batch._replace(types=batch.types % 7 + 1)
    with torch.no_grad():
        assert not torch.allclose(model(batch).pooled, model(other).pooled)


def test_latent_spaces_of_one_seed_start_from_the_same_weights(packed):
    states = []
    for space in ("none", "linear", "vq"):
        torch.manual_seed(3)
        states.append(TokenAutoencoder(run_settings(space), packed.info).state_dict())
    for name, tensor in states[0].items():
        assert all(torch.equal(tensor, other[name]) for other in states[1:])
