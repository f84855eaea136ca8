"""Packed events as the network sees them: batches of real objects, without padding."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from globals_heads.packed import PackedSplit


class Batch(NamedTuple):
    """The n real objects of B events, event after event.

    Attributes
    ----------
    features
        Normalised features, shape (n, F).
    types
        Object-type codes, shape (n,).
    event
        The event in the batch that owns each object, 0 to B - 1, shape (n,).
    globals
        Normalised globals, shape (B, 2).
    """

    features: Tensor
    types: Tensor
    event: Tensor
    globals: Tensor


def batches(
    split: PackedSplit, num_events: int, device: torch.device, skip: int = 0
) -> Iterator[Batch]:
    """Yield `split` in batches of `num_events` events, in its own order, after the first `skip`.

    The whole split is converted once; a batch is a few slices of it.
    """
    counts = np.diff(split.offsets)
    event = np.repeat(np.arange(split.num_events) % num_events, counts)
    features, types, index, globals_ = (
        torch.from_numpy(np.array(array)).to(device)
        for array in (split.features, split.types.astype(np.int64), event, split.globals)
    )
    for first in range(skip * num_events, split.num_events, num_events):
        last = min(first + num_events, split.num_events)
        tokens = slice(int(split.offsets[first]), int(split.offsets[last]))
        yield Batch(features[tokens], types[tokens], index[tokens], globals_[first:last])
