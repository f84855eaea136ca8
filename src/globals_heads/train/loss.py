"""The loss of a batch, and the facts of a split that come from the sums of its batches.

total = tokens_weight * rec_tokens + globals_beta * rec_globals + commitment_weight * commit

Facts hold the components without their weights, so that cells with different weights can be
compared; the fact `loss` is the total.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from globals_heads.packed import DataInfo, Normalisation
from globals_heads.settings import RunSettings
from globals_heads.train import code_use
from globals_heads.train.batches import Batch
from globals_heads.train.model import Reconstruction, TokenAutoencoder


@dataclass
class Sums:
    """Running sums over the batches of a split; tensors, so that no step waits for a number.

    Attributes
    ----------
    rec_tokens, commit
        Mean per token times the number of tokens, scalars.
    rec_globals
        Mean per event times the number of events, a scalar.
    num_tokens, num_events
        Tokens and events so far, integer scalars.
    code_counts
        Uses of each code in each quantiser, shape (Q, K); (0, 0) in continuous latent spaces.
    """

    rec_tokens: Tensor
    rec_globals: Tensor
    commit: Tensor
    num_tokens: Tensor
    num_events: Tensor
    code_counts: Tensor


class Loss:
    """The trained loss, and the facts that come from its sums.

    Parameters
    ----------
    settings
        The run's settings: the weights.
    info
        Description of the packed data: which columns are angles.
    model
        The model: its device and what its bottleneck adds.
    tokens_weight
        Weight of rec_tokens.
    """

    def __init__(
        self,
        settings: RunSettings,
        info: DataInfo,
        model: TokenAutoencoder,
        tokens_weight: float = 1.0,
    ) -> None:
        self.device = next(model.parameters()).device
        self.tokens_weight = tokens_weight
        self.globals_beta = settings.globals_beta
        self.bottleneck = model.bottleneck
        self.feature_period = normalised_period(info.features, self.device)
        self.globals_period = normalised_period(info.globals, self.device)

    def __call__(self, batch: Batch, reconstruction: Reconstruction, sums: Sums) -> Tensor:
        """Return the total loss of a batch and add its components to `sums`."""
        rec_tokens = mean(
            squared_error(reconstruction.features - batch.features, self.feature_period)
        )
        rec_globals = mean(
            squared_error(reconstruction.globals - batch.globals, self.globals_period)
        )
        num_tokens, num_events = len(batch.features), len(batch.globals)
        sums.rec_tokens += rec_tokens.detach() * num_tokens
        sums.rec_globals += rec_globals.detach() * num_events
        sums.num_tokens += num_tokens
        sums.num_events += num_events

        total = self.tokens_weight * rec_tokens + self.globals_beta * rec_globals
        if self.bottleneck.commitment_weight and reconstruction.commit is not None:
            sums.commit += reconstruction.commit.detach() * num_tokens
            total = total + self.bottleneck.commitment_weight * reconstruction.commit
        if reconstruction.codes is not None:
            sums.code_counts += count_codes(reconstruction.codes, self.bottleneck.codebook_size)
        return total

    def zero_sums(self) -> Sums:
        """Return the sums before the first batch."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        return Sums(
            rec_tokens=zeros(),
            rec_globals=zeros(),
            commit=zeros(),
            num_tokens=zeros(dtype=torch.int64),
            num_events=zeros(dtype=torch.int64),
            code_counts=zeros(
                self.bottleneck.num_quantizers, self.bottleneck.codebook_size, dtype=torch.int64
            ),
        )

    def facts(self, sums: Sums) -> dict[str, float]:
        """Return the components without their weights, and the total that was trained."""
        facts = {
            "rec_tokens": float(sums.rec_tokens) / int(sums.num_tokens),
            "rec_globals": float(sums.rec_globals) / int(sums.num_events),
        }
        total = self.tokens_weight * facts["rec_tokens"]
        total += self.globals_beta * facts["rec_globals"]
        if self.bottleneck.commitment_weight:
            facts["commit"] = float(sums.commit) / int(sums.num_tokens)
            total += self.bottleneck.commitment_weight * facts["commit"]
        if self.bottleneck.codebook_size and math.isfinite(total):  # latents of NaN have no codes
            counts = sums.code_counts.cpu().numpy()
            facts["perplexity"] = code_use.perplexity(counts)
            facts["active_codes"] = code_use.active_codes(counts)
        return facts | {"loss": total}


def count_codes(codes: Tensor, codebook_size: int) -> Tensor:
    """Return how often each code occurs, shape (Q, K), from codes of shape (n, Q)."""
    num_quantizers = codes.shape[1]
    # Latents of NaN get codes that do not exist.
    codes = codes.clamp(0, codebook_size - 1)
    first_of_quantizer = codebook_size * torch.arange(num_quantizers, device=codes.device)
    counts = torch.bincount(
        (codes + first_of_quantizer).flatten(), minlength=num_quantizers * codebook_size
    )
    return counts.reshape(num_quantizers, codebook_size)


def normalised_period(columns: Normalisation, device: torch.device) -> Tensor | None:
    """Return each column's period on the normalised scale, or None when no column is an angle.

    Columns that are no angles have an infinite period.
    """
    if not any(columns.period):
        return None
    period = [p / s if p else math.inf for p, s in zip(columns.period, columns.scale, strict=True)]
    return torch.tensor(period, device=device)


def squared_error(difference: Tensor, period: Tensor | None) -> Tensor:
    """Return the square of `difference` (..., C), angles taken the short way round."""
    if period is not None:
        turns = torch.round(difference.detach() / period)  # 0 where the period is infinite
        difference = difference - torch.where(turns == 0, 0, turns * period)
    return difference.square()


def mean(values: Tensor) -> Tensor:
    """Return the mean of all `values`, 0 for a batch of events without objects."""
    return values.sum() / max(values.numel(), 1)
