"""Bottlenecks: what passes, what is quantised, where gradients go, which codes are revived."""

import pytest
import torch

from globals_heads.settings import Settings
from globals_heads.train.bottlenecks import make_bottleneck

STUDY = Settings(
    bottleneck={
        "vq": {"codebook_size": 8},
        "residual_vq": {"codebook_size": 8, "num_quantizers": 3},
        "fsq": {"levels": [4, 3]},
    }
)


def make(latent_space, tokens_per_batch=64.0):
    """Return a small bottleneck of four dimensions."""
    torch.manual_seed(0)
    settings = getattr(STUDY.bottleneck, latent_space, None)
    return make_bottleneck(
        latent_space, 4, settings.model_dump() if settings else {}, tokens_per_batch
    )


def test_none_is_the_identity():
    z_e = torch.randn(5, 4)
    assert torch.equal(make("none")(z_e).z_q, z_e)
    assert not list(make("none").parameters())


def test_linear_is_one_projection():
    bottleneck, z_e = make("linear"), torch.randn(5, 4)
    expected = z_e @ bottleneck.projection.weight.T + bottleneck.projection.bias
    assert torch.allclose(bottleneck(z_e).z_q, expected)


def test_vq_takes_the_nearest_code():
    bottleneck, z_e = make("vq"), torch.randn(64, 4)
    bottleneck(z_e)  # k-means
    bottleneck.eval()
    z_q, commit, codes = bottleneck(z_e)
    codebook = bottleneck.quantiser.codebook
    nearest = ((z_e[:, None] - codebook) ** 2).sum(-1).argmin(1)
    assert torch.equal(codes[:, 0], nearest)
    assert torch.allclose(z_q, codebook[nearest])
    assert torch.allclose(commit, ((z_e - codebook[nearest]) ** 2).mean())


def test_codes_start_from_the_first_batch_and_not_from_random_numbers():
    """Data far from the origin are coded at once; random codes would all be far away."""
    z_e = torch.randn(64, 4) + 100
    z_q, _, codes = make("vq")(z_e)
    assert len(codes.unique()) == 8
    assert (z_q - z_e).abs().mean() < 1


def test_evaluation_changes_no_code():
    bottleneck = make("vq")
    bottleneck(torch.randn(64, 4))
    bottleneck.eval()
    before = {name: tensor.clone() for name, tensor in bottleneck.state_dict().items()}
    bottleneck(torch.randn(64, 4) + 5)
    assert all(torch.equal(before[name], t) for name, t in bottleneck.state_dict().items())


@pytest.mark.parametrize("latent_space", ["vq", "residual_vq", "fsq"])
def test_gradients_reach_the_encoder(latent_space):
    bottleneck, z_e = make(latent_space), torch.randn(64, 4, requires_grad=True)
    bottleneck(z_e).z_q.sum().backward()
    assert z_e.grad.abs().sum() > 0


def test_the_commitment_loss_pulls_latents_towards_their_codes():
    bottleneck = make("vq")
    bottleneck(torch.randn(64, 4))
    z_e = torch.randn(64, 4, requires_grad=True)
    z_q, commit, _ = bottleneck(z_e)
    commit.backward()
    assert torch.allclose(z_e.grad, 2 * (z_e - z_q).detach() / z_e.numel(), atol=1e-6)


@pytest.mark.parametrize(("threshold", "revived"), [(0.05, True), (0.0, False)])
def test_dead_codes_are_drawn_again_unless_switched_off(threshold, revived):
    """Codes sit where the data were; when the data move away, only revival can follow."""
    settings = {"codebook_size": 8, "dead_code_threshold": threshold}
    torch.manual_seed(0)
    bottleneck = make_bottleneck("vq", 4, settings, tokens_per_batch=64.0)
    bottleneck(torch.randn(64, 4))
    for _ in range(600):
        codes = bottleneck(torch.randn(64, 4) + 50).codes
    assert (len(codes.unique()) == 8) is revived


def test_the_revival_threshold_follows_the_occupancy():
    codebook = make("vq", tokens_per_batch=160.0).quantiser._codebook
    assert codebook.threshold_ema_dead_code == pytest.approx(0.05 * 160 / 8)
    assert codebook.decay == pytest.approx(0.99)


def test_residual_vq_uses_all_quantisers_and_gets_closer():
    bottleneck, z_e = make("residual_vq"), torch.randn(256, 4)
    for _ in range(20):
        bottleneck(z_e)
    bottleneck.eval()
    z_q, commit, codes = bottleneck(z_e)
    assert codes.shape == (256, 3)
    one = make("vq")
    for _ in range(20):
        one(z_e)
    assert commit < one.eval()(z_e).commit
    assert torch.allclose(commit, ((z_e - z_q) ** 2).mean())


def test_fsq_has_as_many_codes_as_its_levels_multiply_to():
    bottleneck = make("fsq")
    assert bottleneck.codebook_size == 12
    _, commit, codes = bottleneck(torch.randn(5000, 4) * 5)
    assert commit is None
    assert codes.min() >= 0
    assert codes.max() < 12
    assert len(codes.unique()) > 8
