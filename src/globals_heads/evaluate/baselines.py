"""Baselines: predictions of MET without the model under test, measured once per data set."""

from pathlib import Path

import numpy as np

from globals_heads.evaluate.evaluate import event_errors, fit_true_objects, predict, visible_sum
from globals_heads.evaluate.physics import met_metrics
from globals_heads.facts import Metric, write_arrays, write_metrics
from globals_heads.packed import PackedData
from globals_heads.settings import RunSettings
from globals_heads.train.train import fit


def measure_baselines(
    data: PackedData, settings: RunSettings, output: Path, errors: Path, threads: int
) -> None:
    """Write the test-split errors of four predictions of MET, from poor to good.

    They are the mean of the training split; minus the vector sum of all objects; that sum times one
    parameter fitted on the training split; and a network trained on the globals alone.

    Parameters
    ----------
    data
        The packed events.
    settings
        The network for the globals alone: the study's model and training, latent_space none.
    output
        The facts file to make.
    errors
        The .npz file of the errors per event to make; it repeats what was packed (`source`).
    threads
        CPU threads.
    """
    train_met = data.info.met_components(data.train.globals)
    test_met = data.info.met_components(data.test.globals)
    a, linear_fit = fit_true_objects(data)
    network = fit(settings, data, threads, tokens_weight=0.0).model
    predictions = {
        "training_mean": np.broadcast_to(train_met.mean(axis=0), test_met.shape),
        "minus_sum_pt": -visible_sum(data.test.features, data.test.offsets, data.info),
        "linear_fit": linear_fit,
        "globals_only_network": data.info.met_components(predict(network.cpu(), data.test).globals),
    }
    rows = [
        row
        for name, predicted in predictions.items()
        for row in met_metrics(name, predicted, test_met, data.info.met_scale_gev)
    ]
    write_metrics(output, None, [*rows, Metric("train", "fitted_a", "linear_fit", a, "1")])
    write_arrays(
        errors,
        source=np.array(data.source),
        **{
            f"{name}_error": event_errors(predicted, test_met, data.info.met_scale_gev)
            for name, predicted in predictions.items()
        },
    )
