"""The token autoencoder with its globals head, from top to bottom.

    features, type --encoder--> z_e --bottleneck--> z_q --decoder--> features
                                                     |
                                     sum over the event / number of slots
                                                     |
                                                globals head --> globals

A batch holds the real objects of its events one after the other. It has no padding that a loss, a
mean or a codebook could mistake for an object.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from globals_heads.packed import DataInfo
from globals_heads.settings import RunSettings
from globals_heads.train.batches import Batch
from globals_heads.train.bottlenecks import Quantised, make_bottleneck


class Reconstruction(NamedTuple):
    """The output of the model for a batch of n objects in B events.

    Attributes
    ----------
    features
        Reconstructed normalised features, shape (n, F).
    globals
        Reconstructed normalised globals, shape (B, 2).
    pooled
        Pooled latents, the input of the globals head, shape (B, D).
    commit
        Commitment loss without its weight, or None.
    codes
        Codes of the tokens, shape (n, Q), or None.
    """

    features: Tensor
    globals: Tensor
    pooled: Tensor
    commit: Tensor | None
    codes: Tensor | None


def mlp(*dims: int) -> nn.Sequential:
    """Return linear layers of these sizes with GELU between them."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(dims):
        layers += [nn.Linear(size_in, size_out), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class TokenAutoencoder(nn.Module):
    """Encoder, bottleneck and decoder of single tokens, and a globals head on their pooled sum.

    Parameters
    ----------
    settings
        The run's settings.
    info
        Description of the packed data.
    tokens_per_batch
        Mean number of real objects in a training batch; only the training of codebooks needs it.
    """

    def __init__(
        self, settings: RunSettings, info: DataInfo, tokens_per_batch: float = 0.0
    ) -> None:
        super().__init__()
        model = settings.model
        num_features, latent_dim = len(info.features.names), model.latent_dim
        self.num_slots = info.num_slots
        self.type_embedding = nn.Embedding(len(info.object_types) + 1, model.type_embedding_dim)
        self.encoder = mlp(num_features + model.type_embedding_dim, *model.hidden_dims, latent_dim)
        self.decoder = mlp(latent_dim, *reversed(model.hidden_dims), num_features)
        self.globals_head = mlp(latent_dim, model.globals_hidden_dim, len(info.globals.names))
        # Last, so that all other weights start equal in every latent space.
        self.bottleneck = make_bottleneck(
            settings.latent_space, latent_dim, settings.bottleneck, tokens_per_batch
        )

    def encode(self, features: Tensor, types: Tensor) -> Quantised:
        """Return the latents of n objects from features (n, F) and object types (n,)."""
        embedded = self.type_embedding(types)  # (n, 8)
        quantised: Quantised = self.bottleneck(self.encoder(torch.cat([features, embedded], dim=1)))
        return quantised

    def pool(self, z_q: Tensor, event: Tensor, num_events: int) -> Tensor:
        """Return the sum of the latents (n, D) over each event, divided by the number of slots."""
        pooled = z_q.new_zeros(num_events, z_q.shape[1])  # (B, D)
        # Divided by the slots, not by the objects: MET is a sum, and a mean would forget n.
        return pooled.index_add(0, event, z_q) / self.num_slots

    def forward(self, batch: Batch) -> Reconstruction:
        """Reconstruct a batch."""
        z_q, commit, codes = self.encode(batch.features, batch.types)
        pooled = self.pool(z_q, batch.event, len(batch.globals))
        return Reconstruction(self.decoder(z_q), self.globals_head(pooled), pooled, commit, codes)
