"""The latent spaces under comparison, behind one call.

A bottleneck maps the encoder's latents z_e of shape (n, D) to the latents z_q of the same shape
that the decoder and the globals head see.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from globals_heads.settings import FsqSettings, ResidualVqSettings, VqSettings
from globals_heads.validation import validated


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


class Linear(Bottleneck):
    """A learned linear map. The encoder ends in one, too, so this is a negative control."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(latent_dim, latent_dim)

    def forward(self, z_e: Tensor) -> Quantised:
        """Project z_e of shape (n, D)."""
        return Quantised(self.projection(z_e))


class VectorQuantiser(Bottleneck):
    """One codebook, or several in a row, learned by moving averages.

    The codes start from k-means on the first batch. A code whose average use falls below
    `dead_code_threshold` times the mean occupancy of a batch is drawn again from that batch.

    Parameters
    ----------
    latent_dim
        Size D of the latent vectors.
    settings
        Settings of the codebook; `ResidualVqSettings` make several quantisers in a row.
    tokens_per_batch
        Mean number of real objects in a training batch, which gives the mean occupancy.
    """

    def __init__(self, latent_dim: int, settings: VqSettings, tokens_per_batch: float) -> None:
        # Not at the top: the import takes as long as torch, and continuous spaces do not need it.
        from vector_quantize_pytorch import ResidualVQ, VectorQuantize

        super().__init__()
        self.commitment_weight = settings.commitment_weight
        self.codebook_size = settings.codebook_size
        self.num_quantizers = getattr(settings, "num_quantizers", 1)
        options = {
            "dim": latent_dim,
            "codebook_size": settings.codebook_size,
            "decay": settings.ema_decay,
            "kmeans_init": True,
            "threshold_ema_dead_code": settings.dead_code_threshold
            * tokens_per_batch
            / settings.codebook_size,
            # The library computes its loss in training mode only; `forward` computes it always.
            "commitment_weight": 0.0,
        }
        self.quantiser: nn.Module = (
            ResidualVQ(num_quantizers=self.num_quantizers, **options)
            if isinstance(settings, ResidualVqSettings)
            else VectorQuantize(**options)
        )

    def forward(self, z_e: Tensor) -> Quantised:
        """Quantise z_e of shape (n, D); gradients pass through to z_e."""
        if len(z_e) == 0:  # a batch of events without objects
            return Quantised(
                z_e, z_e.sum(), z_e.new_empty(0, self.num_quantizers, dtype=torch.long)
            )
        z_q, codes, _ = self.quantiser(z_e.unsqueeze(0))
        z_q = z_q.squeeze(0)
        # This loss trains the encoder alone; the codes follow their moving averages.
        commit = functional.mse_loss(z_e, z_q.detach())
        return Quantised(z_q, commit, codes.reshape(len(z_e), self.num_quantizers))


class FiniteScalarQuantiser(Bottleneck):
    """A few projected latent numbers, each rounded to fixed levels; it has no commitment loss."""

    def __init__(self, latent_dim: int, settings: FsqSettings) -> None:
        from vector_quantize_pytorch import FSQ

        super().__init__()
        self.num_quantizers = 1
        self.codebook_size = math.prod(settings.levels)
        self.quantiser = FSQ(levels=settings.levels, dim=latent_dim)

    def forward(self, z_e: Tensor) -> Quantised:
        """Quantise z_e of shape (n, D); gradients pass through to z_e."""
        z_q, codes = self.quantiser(z_e.unsqueeze(0))
        return Quantised(z_q.squeeze(0), codes=codes.reshape(len(z_e), 1))


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
    """
    match latent_space:
        case "linear":
            return Linear(latent_dim)
        case "vq":
            return VectorQuantiser(
                latent_dim, validated(VqSettings, settings, "cfg.yaml"), tokens_per_batch
            )
        case "residual_vq":
            return VectorQuantiser(
                latent_dim, validated(ResidualVqSettings, settings, "cfg.yaml"), tokens_per_batch
            )
        case "fsq":
            return FiniteScalarQuantiser(latent_dim, validated(FsqSettings, settings, "cfg.yaml"))
        case _:
            return Bottleneck()
