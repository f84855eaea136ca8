"""Batches: every object once, with its own event."""

import numpy as np
import pytest
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


@pytest.mark.parametrize("events_per_block", [1, 20, 1000])
def test_the_order_decides_the_batches_and_blocks_do_not(packed, monkeypatch, events_per_block):
    """One gathered copy of the whole split has the same batches, however little is in memory."""
    order = np.random.default_rng(0).permutation(packed.train.num_events)
    whole = list(batches(packed.train.gather(order), 16, CPU))
    monkeypatch.setattr("globals_heads.train.batches.EVENTS_PER_BLOCK", events_per_block)
    for expected, options in (
        (whole, {"order": order}),
        (whole[3:], {"order": order, "skip": 3}),
        (list(batches(packed.train, 16, CPU)), {}),
    ):
        found = list(batches(packed.train, 16, CPU, **options))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
