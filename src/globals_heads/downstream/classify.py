"""Tell one process from the rest: on the original events, and on what each run makes of them.

The output is one number per test event, so that differences between inputs can be paired by event.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from globals_heads.downstream.classifier import CPU, Inputs, classify
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder, write_arrays
from globals_heads.packed import SPLITS, PackedData, PackedSplit
from globals_heads.train.batches import batches
from globals_heads.train.model_file import TrainedModel, load_model
from globals_heads.train.train import EVENTS_PER_EVALUATION_BATCH

# The label of tttt.
SIGNAL = 1


class Converted(NamedTuple):
    """The objects of a split as a model gives them: reconstructed (n, F), encoded (n, D or Q)."""

    reconstructed: NDArray[np.float32]
    encoded: NDArray[Any]


def classify_events(data: PackedData, output: Path, seed: int, threads: int) -> None:
    """Classify the original events and write `original` and `is_signal`.

    Parameters
    ----------
    data
        The packed events.
    output
        The .npz file to make: one number per test event.
    seed
        Seed of the classifier.
    threads
        CPU threads.

    Raises
    ------
    UserError
        If a split has no signal, or nothing but signal.
    """
    torch.set_num_threads(threads)
    splits = {name: getattr(data, name) for name in SPLITS}
    events = {name: inputs(data, name, split.features) for name, split in splits.items()}
    scores = classify(**events, num_types=len(data.info.object_types), codebook_size=0, seed=seed)
    write_arrays(output, original=scores, is_signal=events["test"].is_signal)


def classify_run(data: PackedData, folder: RunFolder, threads: int) -> None:
    """Classify what a run makes of the events, and write `reconstructed` and `encoded`.

    The classifier has the seed of the run. A diverged run gets no numbers.

    Raises
    ------
    UserError
        If the model is damaged or of other data, or a split has no signal or nothing else.
    """
    torch.set_num_threads(threads)
    trained = load_model(folder.model)
    if trained.info != data.info:
        raise UserError(
            f"{folder.model} was trained on other packed data than these (another normalisation); "
            "give the file that its run was trained on, or train it again."
        )
    if trained.diverged:
        write_arrays(folder.downstream)
        return
    converted = {name: convert(trained, getattr(data, name)) for name in SPLITS}
    scores = {}
    for kind, codebook_size in (
        ("reconstructed", 0),
        ("encoded", trained.model.bottleneck.codebook_size),
    ):
        events = {name: inputs(data, name, getattr(each, kind)) for name, each in converted.items()}
        scores[kind] = classify(
            **events,
            num_types=len(data.info.object_types),
            codebook_size=codebook_size,
            seed=trained.settings.seed,
        )
    write_arrays(folder.downstream, **scores)


def inputs(data: PackedData, name: str, objects: NDArray[Any]) -> Inputs:
    """Return a split with `objects` in the place of its features."""
    split: PackedSplit = getattr(data, name)
    is_signal = split.labels == SIGNAL
    if is_signal.all() or not is_signal.any():
        raise UserError(
            f"The {name} split has {is_signal.sum()} events with the label {SIGNAL} (tttt) among "
            f"{split.num_events}, but a classifier needs both kinds; give data with labels, or set "
            "downstream to false."
        )
    met = data.info.met_components(split.globals) / data.info.met_scale_gev
    events = replace(split, features=objects, globals=met.astype(np.float32))
    return Inputs(events, is_signal.astype(np.float32))


@torch.inference_mode()
def convert(trained: TrainedModel, split: PackedSplit) -> Converted:
    """Return what a model makes of the objects of a split: codes where there are any."""
    reconstructed, encoded = [], []
    for batch in batches(split, EVENTS_PER_EVALUATION_BATCH, CPU):
        z_q, _, codes = trained.model.encode(batch.features, batch.types)
        reconstructed.append(trained.model.decoder(z_q).numpy())
        encoded.append((z_q if codes is None else codes).numpy())
    return Converted(np.concatenate(reconstructed), np.concatenate(encoded))
