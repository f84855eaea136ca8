"""One small classifier of events, the same for every input.

A deep set (Zaheer et al. 2017, Deep Sets, arXiv 1703.06114): a network of each object, the sum over
the real objects of the event, and a network of this sum and the event's MET. It does not depend on
the order of the objects. Nothing here is tuned to an input, so inputs can be compared.
"""

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from globals_heads.arrays import Array
from globals_heads.packed import PackedSplit
from globals_heads.train.batches import Batch, batches
from globals_heads.train.model import mlp

EPOCHS = 15
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
HIDDEN_DIM = 64
TYPE_DIM = 8
# Of one code; codes have no geometry for a classifier that reads integers.
CODE_DIM = 32
CPU = torch.device("cpu")


class Inputs(NamedTuple):
    """Events as the classifier sees them.

    Attributes
    ----------
    objects
        The real objects: `features` holds numbers (n, C), or codes (n, Q) as integers. `globals`
        is the event's own MET in units of its spread, shape (N, 2), for every kind of input.
    is_signal
        1 for signal events and 0 for others, float32, shape (N,).
    """

    objects: PackedSplit
    is_signal: NDArray[np.float32]


class DeepSet(nn.Module):
    """The classifier; its output is the logarithm of the odds for signal.

    Parameters
    ----------
    sample
        Training events, whose numbers set the scale of the input.
    num_types
        Number of object types.
    codebook_size
        Codes of each quantiser; 0 if the input is numbers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, sample: PackedSplit, num_types: int, codebook_size: int) -> None:
        super().__init__()
        num_columns = sample.features.shape[1]
        self.num_slots = max(int(np.diff(sample.offsets).max()), 1)
        self.is_coded = codebook_size > 0
        # First, so that these weights start equal for every input of a seed.
        self.type_embedding = nn.Embedding(num_types + 1, TYPE_DIM)
        self.of_event = mlp(HIDDEN_DIM + 2, HIDDEN_DIM, 1)
        if self.is_coded:
            self.code_embeddings = nn.ModuleList(
                nn.Embedding(codebook_size, CODE_DIM) for _ in range(num_columns)
            )
        else:
            mean, scale = sample.features.mean(0), sample.features.std(0)
            self.register_buffer("mean", torch.from_numpy(mean))
            self.register_buffer("scale", torch.from_numpy(np.where(scale > 0, scale, 1)))
        size = CODE_DIM if self.is_coded else num_columns
        self.of_object = mlp(size + TYPE_DIM, HIDDEN_DIM, HIDDEN_DIM)

    def forward(self, batch: Batch) -> Tensor:
        """Return a number for each event, shape (B,)."""
        if self.is_coded:
            each = zip(self.code_embeddings, batch.features.T, strict=True)
            values = torch.stack([embedding(codes) for embedding, codes in each]).sum(0)
        else:
            values = (batch.features - self.mean) / self.scale
        objects = self.of_object(torch.cat([values, self.type_embedding(batch.types)], dim=1))
        summed = objects.new_zeros(len(batch.globals), HIDDEN_DIM)
        summed = summed.index_add(0, batch.event, objects) / self.num_slots
        logits: Tensor = self.of_event(torch.cat([summed, batch.globals], dim=1)).squeeze(1)
        return logits


def classify(
    train: Inputs, val: Inputs, test: Inputs, num_types: int, codebook_size: int, seed: int
) -> Array:
    """Train the classifier and return its output for the test events, shape (N,).

    It is the classifier of the epoch with the lowest validation loss. `seed` decides the first
    weights and the order of the events.
    """
    torch.manual_seed(seed)
    model = DeepSet(train.objects, num_types, codebook_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    shuffle, best_loss = np.random.default_rng(seed), math.inf
    best_weights: dict[str, Any] = {}
    for _ in range(EPOCHS):
        order = shuffle.permutation(train.objects.num_events)
        model.train()
        for number, batch in enumerate(batches(train.objects, BATCH_SIZE, CPU, order)):
            chosen = order[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]
            loss = functional.binary_cross_entropy_with_logits(
                model(batch), torch.from_numpy(train.is_signal[chosen])
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        val_loss = float(
            functional.binary_cross_entropy_with_logits(
                outputs(model, val.objects), torch.from_numpy(val.is_signal)
            )
        )
        if val_loss < best_loss:
            best_loss, best_weights = val_loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    scores: Array = outputs(model, test.objects).double().numpy()
    return scores


@torch.inference_mode()
def outputs(model: DeepSet, objects: PackedSplit) -> Tensor:
    """Return the classifier's output for all events, shape (N,)."""
    model.eval()
    return torch.cat([model(batch) for batch in batches(objects, 1024, CPU)])
