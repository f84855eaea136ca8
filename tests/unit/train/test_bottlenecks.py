"""Bottlenecks: what passes, what is quantised, where gradients go, which codes are revived."""

import pytest
import torch
import vector_quantize_pytorch as library

from globals_heads.errors import UserError
from globals_heads.settings import Settings
from globals_heads.train.bottlenecks import make_bottleneck

STUDY = Settings(
    bottleneck={
        "vq": {"codebook_size": 8},
        "residual_vq": {"codebook_size": 8, "num_quantizers": 3},
        "fsq": {"levels": [4, 3]},
    }
)


def make(latent_space, tokens_per_batch=64.0, **changes):
    """Return a small bottleneck of four dimensions."""
    torch.manual_seed(0)
    settings = getattr(STUDY.bottleneck, latent_space, None)
    values = settings.model_dump() | changes if settings else {}
    return make_bottleneck(latent_space, 4, values, tokens_per_batch)


def test_a_latent_space_without_a_case_is_refused():
    with pytest.raises(UserError, match=r"'new' has no case in make_bottleneck; add one in"):
        make_bottleneck("new", 4, {}, 64.0)


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
    codebook = bottleneck.codebooks[0].codes
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
    bottleneck = make("vq", dead_code_threshold=threshold)
    bottleneck(torch.randn(64, 4))
    for _ in range(600):
        codes = bottleneck(torch.randn(64, 4) + 50).codes
    assert (len(codes.unique()) == 8) is revived


def test_a_revived_code_is_a_token_of_the_batch_and_starts_at_the_mean_occupancy():
    """At the threshold itself it would be dead again after the next batch that misses it."""
    codebook = make("vq", tokens_per_batch=160.0, dead_code_threshold=0.5).codebooks[0]
    codebook(torch.randn(160, 4))
    codebook.counts[:] = torch.tensor([0.0, 9.9, *[30.0] * 6])  # the limit is 10
    codebook.sums[:] = codebook.codes * codebook.counts[:, None]
    latents = torch.full((160, 4), 50.0)
    latents[:, 0] = codebook.codes[7, 0]
    codebook.update(latents, torch.full((160,), 7))
    assert torch.allclose(codebook.counts[:2], torch.tensor(160.0 / 8))
    assert torch.allclose(codebook.codes[:2], latents[:2], rtol=1e-5)
    assert torch.allclose(codebook.counts[2:7], torch.tensor(30 * 0.99))
    codebook.update(latents, torch.full((160,), 7))
    assert torch.allclose(codebook.counts[:2], torch.tensor(160.0 / 8 * 0.99)), "not dead again"


def test_fewer_tokens_than_codes_start_as_codes_themselves():
    """The copies take no token; the next batch revives them."""
    bottleneck, z_e = make("vq", tokens_per_batch=64.0), torch.randn(3, 4)
    codebook = bottleneck.codebooks[0]
    codebook.start(z_e)
    assert torch.allclose(torch.cdist(z_e, codebook.codes).amin(1), torch.zeros(3), atol=1e-6)
    assert sorted(codebook.counts.tolist()) == [0] * 5 + [1] * 3
    bottleneck(torch.randn(64, 4))
    assert (codebook.counts > 0.9).all()


def test_without_kmeans_codes_start_from_random_numbers_and_counts_of_0():
    codebook = make("vq", kmeans=False).codebooks[0]
    assert not codebook.counts.any()
    assert torch.equal(codebook.codes, codebook.sums)
    start = codebook.codes.clone()
    z_q, indices = codebook(torch.randn(64, 4) + 100)
    assert torch.allclose(z_q, start[indices], atol=1e-4)


def test_kmeans_finds_separate_clusters(monkeypatch):
    """Eight far points, each with its scatter: the codes are their means in float64."""
    codebook = make("vq").codebooks[0]
    centres = 100 * torch.eye(4).repeat(2, 1) * torch.tensor([1.0] * 4 + [-1.0] * 4)[:, None]
    latents = (centres[:, None] + torch.randn(8, 32, 4)).reshape(-1, 4)
    # The first means decide which minimum k-means finds; here one token of each cluster.
    monkeypatch.setattr(torch, "randperm", lambda n, device: torch.arange(0, n, 32))
    codebook.start(latents)
    means = latents.double().reshape(8, 32, 4).mean(1)
    assert torch.allclose(codebook.codes.double(), means, atol=1e-4)
    assert codebook.counts.tolist() == [32] * 8


class Oracle:
    """A quantiser of ours beside that of the library, both in float64 and with the same start."""

    def __init__(self, monkeypatch, latent_space, gradient):
        # The library computes in float32 whatever it is given.
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
        self.ours = make(latent_space, dead_code_threshold=0.0, gradient=gradient).double()
        options = {
            "dim": 4,
            "codebook_size": 8,
            "decay": 0.99,
            "threshold_ema_dead_code": 0,
            "rotation_trick": gradient == "rotation",
        }
        if latent_space == "vq":
            self.theirs = library.VectorQuantize(**options).double()
            layers = [self.theirs]
        else:
            # Its default multiplies the gradient by the number of quantisers.
            options |= {"num_quantizers": 3, "quant_grad_frac": 1.0}
            self.theirs = library.ResidualVQ(**options).double()
            layers = self.theirs.layers
        self.ours(torch.randn(64, 4).double())  # k-means
        self.pairs = list(zip(self.ours.codebooks, [x._codebook for x in layers], strict=True))
        for own, other in self.pairs:
            other.embed[0] = own.codes
            other.embed_avg[0] = own.sums
            other.cluster_size[0] = own.counts

    def compare(self, z_e):
        """Quantise `z_e` in both; their codes, values and gradients are the same."""
        weights = torch.randn_like(z_e)  # so that a gradient from another token would show
        found = []
        for quantise in (self.ours, lambda z: self.theirs(z.unsqueeze(0))):
            z = z_e.clone().requires_grad_()
            z_q, *rest = quantise(z)
            (z_q.reshape(z.shape) * weights).sum().backward()
            codes = rest[1] if quantise is self.ours else rest[0]
            found.append((codes.flatten(), z_q.detach().reshape(z.shape), z.grad))
        for own, other in zip(*found, strict=True):
            assert own.dtype == other.dtype
            torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
@pytest.mark.parametrize("latent_space", ["vq", "residual_vq"])
def test_codes_averages_and_gradients_are_those_of_the_library(monkeypatch, latent_space, gradient):
    oracle = Oracle(monkeypatch, latent_space, gradient)
    for _ in range(10):
        oracle.compare(torch.randn(64, 4).double() * 1.5 + 0.3)
    for own, other in oracle.pairs:
        for buffer, theirs in (
            (own.codes, other.embed),
            (own.sums, other.embed_avg),
            (own.counts, other.cluster_size),
        ):
            torch.testing.assert_close(buffer, theirs[0], rtol=1e-10, atol=1e-12)


def test_fsq_is_that_of_the_library():
    ours = make("fsq").double()
    theirs = library.FSQ(levels=[4, 3], dim=4).double()
    theirs.project_in, theirs.project_out = ours.project_in, ours.project_out
    z_e = torch.randn(500, 4).double() * 3
    weights, found = torch.randn_like(z_e), []
    for quantise in (ours, lambda z: theirs(z.unsqueeze(0))):
        z = z_e.clone().requires_grad_()
        z_q, *rest = quantise(z)
        (z_q.reshape(z.shape) * weights).sum().backward()
        found.append((rest[-1].flatten().long(), z_q.detach().reshape(z.shape), z.grad))
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-12)


def test_rotation_turns_gradients_with_the_latents():
    """By hand: the code of (1, 0) is (0, 2), a quarter turn and twice as long.

    The map is [[0, -2], [2, 0]] in the first two dimensions and 2 in the others; a gradient comes
    back through its transpose.
    """
    bottleneck = make("vq", kmeans=False, gradient="rotation", dead_code_threshold=0.0)
    codes = bottleneck.codebooks[0].codes
    for direction, expected in [
        ([1.0, 0, 0, 0], [0.0, -2, 0, 0]),
        ([0.0, 1, 0, 0], [2.0, 0, 0, 0]),
        ([0.0, 0, 1, 0], [0.0, 0, 2, 0]),
    ]:
        codes[:] = 100.0
        codes[0] = torch.tensor([0.0, 2, 0, 0])
        z_e = torch.tensor([[1.0, 0, 0, 0]], requires_grad=True)
        z_q = bottleneck(z_e).z_q
        assert torch.allclose(z_q, torch.tensor([[0.0, 2, 0, 0]]), atol=1e-6)
        (z_q @ torch.tensor(direction)).sum().backward()
        assert torch.allclose(z_e.grad, torch.tensor([expected]), atol=1e-5)


@pytest.mark.parametrize("latent_space", ["none", "linear", "vq", "residual_vq", "fsq"])
@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_every_latent_space_is_deterministic(latent_space, gradient):
    """With an error where PyTorch has no deterministic way."""
    changes = {"gradient": gradient} if latent_space.endswith("vq") else {}
    ends = []
    torch.use_deterministic_algorithms(mode=True)
    try:
        for _ in range(2):
            bottleneck = make(latent_space, **changes)
            z_e = torch.randn(300, 4, requires_grad=True)
            for _ in range(3):
                bottleneck(z_e).z_q.square().sum().backward()
            ends.append([z_e.grad, *bottleneck.state_dict().values()])
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


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
