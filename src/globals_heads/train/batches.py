"""Packed events as the network sees them: batches of real objects, without padding."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from globals_heads.packed import PackedSplit

# So many events are converted at a time, a few MB: memory does not grow with the split.
EVENTS_PER_BLOCK = 8192


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
    split: PackedSplit,
    num_events: int,
    device: torch.device,
    order: NDArray[np.int64] | None = None,
    skip: int = 0,
) -> Iterator[Batch]:
    """Yield the events of `split` in batches of `num_events`, without the first `skip` batches.

    Parameters
    ----------
    split
        The packed events.
    num_events
        Events in a batch; the last one may hold fewer.
    device
        Where the tensors are.
    order
        Numbers of the events in the order in which they come, shape (N,); None: as packed.
    skip
        Batches to leave out.
    """
    per_block = num_events * math.ceil(EVENTS_PER_BLOCK / num_events)
    for start in range(skip * num_events, split.num_events, per_block):
        stop = min(start + per_block, split.num_events)
        block = split.part(start, stop) if order is None else split.gather(order[start:stop])
        owner = np.repeat(np.arange(block.num_events) % num_events, np.diff(block.offsets))
        features, types, event, globals_ = (
            torch.from_numpy(np.array(array)).to(device)
            for array in (block.features, block.types.astype(np.int64), owner, block.globals)
        )
        for first in range(0, block.num_events, num_events):
            last = min(first + num_events, block.num_events)
            tokens = slice(int(block.offsets[first]), int(block.offsets[last]))
            yield Batch(features[tokens], types[tokens], event[tokens], globals_[first:last])
