"""The latent spaces under comparison, behind one call.

A bottleneck maps the encoder's latents z_e of shape (n, D) to the latents z_q of the same shape
that the decoder and the globals head see.

References
----------
[1] van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv 1711.00937
[2] Razavi et al. 2019, Generating Diverse High-Fidelity Images with VQ-VAE-2, arXiv 1906.00446
[3] Fifty et al. 2024, Restructuring Vector Quantization with the Rotation Trick, arXiv 2410.06424
[4] Zeghidour et al. 2021, SoundStream, arXiv 2107.03312
[5] Mentzer et al. 2023, Finite Scalar Quantization, arXiv 2309.15505
"""

import math
from functools import reduce
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from globals_heads.errors import UserError
from globals_heads.settings import FsqSettings, ResidualVqSettings, VqSettings
from globals_heads.validation import validated

KMEANS_ROUNDS = 10
# Keeps m / N finite for a code that nothing takes.
EPSILON = 1e-5


class Quantised(NamedTuple):
    """The output of a bottleneck for n tokens.

    Attributes
    ----------
    z_q
        Latents after the bottleneck, shape (n, D).
    commit
        Commitment loss without its weight: the mean squared distance of z_e from its codes, a
        scalar; None in latent spaces that have no such loss.
    codes
        Code of each token in each quantiser, shape (n, Q); None in continuous latent spaces.
    """

    z_q: Tensor
    commit: Tensor | None = None
    codes: Tensor | None = None


class Bottleneck(nn.Module):
    """The identity, and the base class of all other bottlenecks.

    Attributes
    ----------
    commitment_weight
        Weight of the commitment loss in the total loss.
    num_quantizers, codebook_size
        Quantisers in a row, and codes of each; 0 in continuous latent spaces.
    """

    commitment_weight = 0.0
    num_quantizers = 0
    codebook_size = 0

    def forward(self, z_e: Tensor) -> Quantised:
        """Map z_e of shape (n, D) to z_q of the same shape."""
        return Quantised(z_e)

    def lookup(self, codes: Tensor) -> Tensor:
        """Return the latents z_q of codes (n, Q), shape (n, D); continuous spaces have none."""
        raise NotImplementedError


class Linear(Bottleneck):
    """A learned linear map. The encoder ends in one, too, so this is a negative control."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(latent_dim, latent_dim)

    def forward(self, z_e: Tensor) -> Quantised:
        """Project z_e of shape (n, D)."""
        return Quantised(self.projection(z_e))


class Codebook(nn.Module):
    """K codes, each the moving average of the latents that take it ([1], appendix A.1; [2]).

    Parameters
    ----------
    latent_dim
        Size D of the latent vectors.
    settings
        Settings of the codebook.
    mean_occupancy
        Mean number of tokens per code in a training batch.

    Attributes
    ----------
    codes
        The code vectors e, shape (K, D).
    counts
        Moving average N of the tokens per batch that take each code, shape (K,).
    sums
        Moving average m of the sum of their latents, shape (K, D).
    started
        Whether the codes have their start: from k-means on the first batch, or, without k-means,
        from normal random numbers with counts of 0.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, latent_dim: int, settings: VqSettings, mean_occupancy: float) -> None:
        super().__init__()
        self.decay = settings.ema_decay
        self.rotation = settings.gradient == "rotation"
        self.mean_occupancy = mean_occupancy
        self.dead_below = settings.dead_code_threshold * mean_occupancy
        self.register_buffer("codes", torch.randn(settings.codebook_size, latent_dim))
        self.register_buffer("counts", torch.zeros(settings.codebook_size))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("started", torch.tensor(not settings.kmeans))

    def forward(self, z_e: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest code of each latent and its index, shapes (n, D) and (n,).

        In training, the codes then follow the latents, and gradients pass through to z_e.
        """
        latents = z_e.detach()
        # On a GPU a step waits for this number; no GPU was tried.
        if self.training and not self.started:
            self.start(latents)
        indices = self.nearest(latents)
        z_q = self.codes.index_select(0, indices)
        if not self.training:
            return z_q, indices
        self.update(latents, indices)
        if self.rotation:
            z_e = rotate(z_e, z_q)
        # The value of z_q and the gradient of z_e: the straight-through estimator ([1], 3.2).
        return z_e + (z_q - z_e).detach(), indices

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the index of the nearest code of each latent, shape (n,)."""
        # |z - e|^2 / 2 = |z|^2 / 2 - (z.e - |e|^2 / 2): the nearest code has the largest bracket.
        closeness = functional.linear(latents, self.codes, -self.codes.square().sum(1) / 2)
        indices: Tensor = closeness.max(dim=1).indices  # faster than argmax on a CPU
        return indices

    def totals(self, latents: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return number and sum of the latents that take each code, shapes (K,) and (K, D)."""
        counts = torch.bincount(indices, minlength=len(self.codes)).to(latents.dtype)
        return counts, torch.zeros_like(self.sums).index_add_(0, indices, latents)

    def start(self, latents: Tensor) -> None:
        """Start from k-means on `latents`, whose first means are tokens drawn at random.

        With fewer tokens than codes, every token is drawn several times. The first of equal codes
        takes the tokens; the others stay unused and are dead codes in the next update.
        """
        drawn = torch.randperm(len(latents), device=latents.device)
        repeated = torch.arange(len(self.codes), device=latents.device) % len(latents)
        self.codes.copy_(latents[drawn[repeated]])
        for _ in range(KMEANS_ROUNDS):
            counts, sums = self.totals(latents, self.nearest(latents))
            means = sums / counts.clamp(min=1).unsqueeze(1)
            self.codes.copy_(torch.where(counts.unsqueeze(1) > 0, means, self.codes))
        self.counts.copy_(counts)
        self.sums.copy_(sums)
        self.started.fill_(value=True)

    def update(self, latents: Tensor, indices: Tensor) -> None:
        """Move each code to the average of its latents; draw dead codes again from `latents`."""
        counts, sums = self.totals(latents, indices)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        if self.dead_below > 0:
            dead = self.counts < self.dead_below
            drawn = torch.randint(len(latents), dead.shape, device=latents.device)
            # At the mean occupancy; just above the threshold, it would be dead again at once.
            revived = latents.index_select(0, drawn) * self.mean_occupancy
            self.counts.masked_fill_(dead, self.mean_occupancy)
            self.sums.copy_(torch.where(dead.unsqueeze(1), revived, self.sums))
        total = self.counts.sum()
        smoothed = (self.counts + EPSILON) * total / (total + len(self.counts) * EPSILON)
        torch.div(self.sums, smoothed.unsqueeze(1), out=self.codes)


def rotate(z_e: Tensor, z_q: Tensor) -> Tensor:
    """Return z_e rotated and stretched onto z_q, by a map that is constant for gradients.

    R = 1 - 2 w w^T + 2 q e^T with the unit vectors e, q and w along z_e, z_q and e + q turns e
    into q ([3], section 4.2); |z_q| / |z_e| stretches it.

    Parameters
    ----------
    z_e, z_q
        Latents and their codes, shape (n, D).
    """
    with torch.no_grad():
        e, q = functional.normalize(z_e, eps=1e-6), functional.normalize(z_q, eps=1e-6)
        w = functional.normalize(e + q, eps=1e-6)
        length_e, length_q = (torch.linalg.vector_norm(z, dim=1, keepdim=True) for z in (z_e, z_q))
        stretch = length_q / length_e.clamp(min=1e-6)
    along_w, along_e = (z_e * w).sum(1, keepdim=True), (z_e * e).sum(1, keepdim=True)
    rotated: Tensor = (z_e - 2 * along_w * w + 2 * along_e * q) * stretch
    return rotated


class VectorQuantiser(Bottleneck):
    """One codebook; or several in a row, each for what those before it left over ([4]).

    Parameters
    ----------
    latent_dim
        Size D of the latent vectors.
    settings
        Settings of each codebook.
    tokens_per_batch
        Mean number of real objects in a training batch.
    num_quantizers
        Number of codebooks.
    """

    def __init__(
        self,
        latent_dim: int,
        settings: VqSettings,
        tokens_per_batch: float,
        num_quantizers: int = 1,
    ) -> None:
        super().__init__()
        self.commitment_weight = settings.commitment_weight
        self.codebook_size = settings.codebook_size
        self.num_quantizers = num_quantizers
        mean_occupancy = tokens_per_batch / settings.codebook_size
        self.codebooks = nn.ModuleList(
            Codebook(latent_dim, settings, mean_occupancy) for _ in range(num_quantizers)
        )

    def forward(self, z_e: Tensor) -> Quantised:
        """Quantise z_e of shape (n, D); gradients pass through to z_e."""
        if len(z_e) == 0:  # a batch of events without objects
            empty = z_e.new_empty(0, self.num_quantizers, dtype=torch.long)
            return Quantised(z_e, z_e.sum(), empty)
        first, *others = self.codebooks
        z_q, indices = first(z_e)
        codes = [indices]
        for codebook in others:
            left_over, indices = codebook(z_e - z_q)
            z_q = z_q + left_over
            codes.append(indices)
        # This loss trains the encoder alone; the codes follow their moving averages.
        commit = functional.mse_loss(z_e, z_q.detach())
        return Quantised(z_q, commit, torch.stack(codes, dim=1))

    def lookup(self, codes: Tensor) -> Tensor:
        """Return the sum of the vectors of codes (n, Q), shape (n, D)."""
        tables = [cast("Codebook", codebook).codes for codebook in self.codebooks]
        return reduce(Tensor.add, [e[of] for e, of in zip(tables, codes.T, strict=True)])


class FiniteScalarQuantiser(Bottleneck):
    """A few projected latent numbers, each rounded to fixed levels ([5]); no commitment loss.

    tanh bounds a number to a little more than (L - 1) / 2 on both sides of 0, so that L integers
    lie within. For an even L they lie shifted by a half, and the shift within tanh lets 0 stay 0.
    """

    levels: Tensor
    half_range: Tensor
    offset: Tensor
    shift: Tensor
    half_width: Tensor
    place_value: Tensor

    def __init__(self, latent_dim: int, settings: FsqSettings) -> None:
        super().__init__()
        self.num_quantizers = 1
        self.codebook_size = math.prod(settings.levels)
        self.project_in = nn.Linear(latent_dim, len(settings.levels))
        self.project_out = nn.Linear(len(settings.levels), latent_dim)
        levels = torch.tensor(settings.levels)
        half_range = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        constants = {
            "levels": levels,
            "half_range": half_range,
            "offset": offset,
            "shift": torch.atanh(offset / half_range),
            "half_width": levels // 2,
            "place_value": levels.cumprod(0) // levels,  # 1, L_1, L_1 L_2, ...
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(self, z_e: Tensor) -> Quantised:
        """Quantise z_e of shape (n, D); gradients pass through to z_e."""
        bounded = torch.tanh(self.project_in(z_e) + self.shift) * self.half_range - self.offset
        rounded = bounded + (bounded.round() - bounded).detach()  # straight through
        digits = rounded.detach().round().long() + self.half_width  # 0 to L - 1
        codes = (digits * self.place_value).sum(1, keepdim=True)
        return Quantised(self.project_out(rounded / self.half_width), codes=codes)

    def lookup(self, codes: Tensor) -> Tensor:
        """Return the projected levels of codes (n, 1), shape (n, D)."""
        digits = codes // self.place_value % self.levels
        z_q: Tensor = self.project_out((digits - self.half_width) / self.half_width)
        return z_q


def make_bottleneck(
    latent_space: str, latent_dim: int, settings: dict[str, Any], tokens_per_batch: float
) -> Bottleneck:
    """Return the bottleneck named `latent_space`.

    Parameters
    ----------
    latent_space
        A value of the axis.
    latent_dim
        Size D of the latent vectors.
    settings
        The settings of this latent space, as in cfg.yaml.
    tokens_per_batch
        Mean number of real objects in a training batch.

    Raises
    ------
    UserError
        If this function has no case for `latent_space`.
    """
    match latent_space:
        case "none":
            return Bottleneck()
        case "linear":
            return Linear(latent_dim)
        case "vq":
            vq = validated(VqSettings, settings, "cfg.yaml")
            return VectorQuantiser(latent_dim, vq, tokens_per_batch)
        case "residual_vq":
            rvq = validated(ResidualVqSettings, settings, "cfg.yaml")
            return VectorQuantiser(latent_dim, rvq, tokens_per_batch, rvq.num_quantizers)
        case "fsq":
            return FiniteScalarQuantiser(latent_dim, validated(FsqSettings, settings, "cfg.yaml"))
    raise UserError(
        f"The latent space {latent_space!r} has no case in make_bottleneck; "
        "add one in src/globals_heads/train/bottlenecks.py."
    )
