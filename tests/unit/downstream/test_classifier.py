"""The classifier: order of objects, empty events, seeds, and a signal that it must find."""

import numpy as np
import torch

from globals_heads.compare.downstream import auc
from globals_heads.downstream.classifier import DeepSet, Inputs, classify, outputs
from globals_heads.packed import PackedSplit


def planted(num_events, seed, *, coded=False):
    """Return events whose signal has one object of another kind; the last event has no object."""
    rng = np.random.default_rng(seed)
    counts = np.append(rng.integers(2, 6, num_events - 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    is_signal = rng.random(num_events) < 0.5
    is_signal[-1] = False
    features = rng.normal(size=(offsets[-1], 3)).astype(np.float32)
    first = offsets[:-1][is_signal]
    features[first, 1] += 4
    if coded:
        features = (features[:, 1:2] > 2).astype(np.int64) + 2
    return Inputs(
        PackedSplit(
            features=features,
            types=rng.integers(1, 8, offsets[-1]).astype(np.uint8),
            offsets=offsets,
            globals=rng.normal(size=(num_events, 2)).astype(np.float32),
            labels=is_signal.astype(np.int64),
        ),
        is_signal.astype(np.float32),
    )


def test_a_planted_signal_is_found_in_numbers_and_in_codes():
    for coded, codebook_size in ((False, 0), (True, 4)):
        splits = [planted(n, i, coded=coded) for i, n in enumerate((1500, 300, 400))]
        scores = classify(*splits, num_types=7, codebook_size=codebook_size, seed=0)
        assert auc(scores, splits[2].is_signal.astype(bool))[0] > 0.9
        assert np.array_equal(
            scores, classify(*splits, num_types=7, codebook_size=codebook_size, seed=0)
        )


def test_the_order_of_the_objects_does_not_matter():
    events = planted(50, 0).objects
    order = np.concatenate(
        [np.arange(a, b)[::-1] for a, b in zip(events.offsets, events.offsets[1:], strict=False)]
    )
    turned = PackedSplit(
        events.features[order], events.types[order], events.offsets, events.globals, events.labels
    )
    torch.manual_seed(0)
    model = DeepSet(events, 7, 0)
    one, other = (outputs(model, each) for each in (events, turned))
    assert torch.allclose(one, other, atol=1e-5)
    assert one.std() > 0


def test_the_same_weights_start_for_every_input():
    weights = []
    for coded, codebook_size in ((False, 0), (True, 4)):
        torch.manual_seed(3)
        weights.append(DeepSet(planted(50, 0, coded=coded).objects, 7, codebook_size).of_event)
    one, other = (w.state_dict() for w in weights)
    assert all(torch.equal(one[name], other[name]) for name in one)
