"""Batches: every object once, with its own event."""

import numpy as np
import torch
from numpy.testing import assert_array_equal

from globals_heads.train.batches import batches

CPU = torch.device("cpu")


def test_batches_hold_every_object_once_with_its_event(packed):
    seen = 0
    for number, batch in enumerate(batches(packed.train, 16, CPU)):
        events = range(16 * number, min(16 * number + 16, packed.train.num_events))
        counts = np.diff(packed.train.offsets)[events.start : events.stop]
        assert_array_equal(np.bincount(batch.event, minlength=len(events)), counts)
        assert_array_equal(batch.globals, packed.train.globals[events.start : events.stop])
        assert_array_equal(batch.features, packed.train.features[seen : seen + len(batch.types)])
        seen += len(batch.types)
    assert seen == len(packed.train.features)


def test_the_first_batches_can_be_skipped(packed):
    """An interrupted epoch goes on with the batch after its last step."""
    expected = list(batches(packed.train, 16, CPU))[2:]
    found = list(batches(packed.train, 16, CPU, skip=2))
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
