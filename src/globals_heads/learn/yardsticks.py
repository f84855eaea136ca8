"""Yardsticks: what can be said of MET without any network, once per data set."""

from pathlib import Path

import numpy as np

from globals_heads.facts import Metric, write_metrics
from globals_heads.geometry import Array, vector_sum
from globals_heads.learn.evaluation import globals_metrics
from globals_heads.metrics import fit_one_parameter
from globals_heads.packing import DataInfo, PackedData, PackedSplit


def measure_yardsticks(data: PackedData, output: Path) -> None:
    """Write the test-split errors of three predictions of MET that any model should beat.

    The training split's mean; minus the vector sum of all objects; and that sum times one
    parameter fitted on the training split.

    Parameters
    ----------
    data
        The packed events.
    output
        The facts file to make.
    """
    train_met = data.info.met_components(data.train.globals)
    test_met = data.info.met_components(data.test.globals)
    visible = visible_sum(data.test, data.info)
    a = fit_one_parameter(visible_sum(data.train, data.info), train_met)
    predictions = {
        "training_mean": np.broadcast_to(train_met.mean(axis=0), test_met.shape),
        "minus_sum_pt": -visible,
        "linear_fit": -a * visible,
    }
    rows = [
        row
        for name, predicted in predictions.items()
        for row in globals_metrics(name, predicted, test_met, data.info)
    ]
    write_metrics(output, None, [*rows, Metric("train", "fitted_a", "linear_fit", a, "1")])


def visible_sum(split: PackedSplit, info: DataInfo) -> Array:
    """Return the transverse vector sum of each event's objects in GeV, shape (N, 2)."""
    objects = info.objects(split.features)
    return vector_sum(objects[:, 1], objects[:, 3], split.offsets)
