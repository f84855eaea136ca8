"""Evaluation of one run: its model.pt and the packed data in, facts of the test split out.

Every globals error here is one of the two MET components after the inverse transform, in units
of their training-split scale, whatever target the run was trained on.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.errors import UserError
from globals_heads.evaluate.metrics import (
    ROWS_PER_BLOCK,
    fit_one_parameter,
    normalised_mse,
    ridge_probe,
    skill,
)
from globals_heads.evaluate.physics import closure_metrics, met_metrics, token_metrics
from globals_heads.facts import Metric, RunFolder, write_arrays, write_metrics
from globals_heads.kinematics import event_sum, vector_sum
from globals_heads.packed import DataInfo, PackedData, PackedSplit, log_features
from globals_heads.settings import RunSettings
from globals_heads.train import code_use
from globals_heads.train.batches import batches
from globals_heads.train.loss import count_codes, normalised_period, squared_error
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.model_file import load_model
from globals_heads.train.train import EVENTS_PER_EVALUATION_BATCH

CPU = torch.device("cpu")
# Below all energies that a detector reconstructs. A model of raw features may predict an E or pT
# below 0, which has no logarithm.
MIN_GEV = 1.0


class EventPredictions(NamedTuple):
    """What a model makes of whole events: what the fits on a large split need.

    Attributes
    ----------
    pooled
        Pooled latents, float32, shape (N, D).
    visible
        Transverse vector sum of the reconstructed objects in GeV, shape (N, 2).
    """

    pooled: NDArray[np.float32]
    visible: Array


class Predictions(NamedTuple):
    """The output of a model for a split, in float64.

    Attributes
    ----------
    features
        Reconstructed normalised features, shape (n, F).
    globals
        Reconstructed normalised globals, shape (N, 2).
    pooled
        Pooled latents, shape (N, D).
    commit
        Commitment loss, not weighted; NaN where there is none.
    codes
        Code of each token in each quantiser, shape (n, Q); None in continuous latent spaces.
    """

    features: Array
    globals: Array
    pooled: Array
    commit: float
    codes: NDArray[np.int64] | None


def evaluate(data: PackedData, folder: RunFolder, threads: int, expected: RunSettings) -> None:
    """Measure a run's model.pt on the test split and write its facts.

    A diverged run gets no metrics of the test split, so that it cannot pass for a result.

    Parameters
    ----------
    data
        The packed events that the run was trained on.
    folder
        The run's files.
    threads
        CPU threads.
    expected
        The settings that the model must have been trained with.

    Raises
    ------
    UserError
        If the model is damaged, or was trained with other settings or on other data.
    """
    torch.set_num_threads(threads)
    trained = load_model(folder.model)
    if trained.settings != expected:
        raise UserError(
            f"{folder.model} was trained with other settings ({trained.settings.key.name}) than "
            f"{folder.settings} holds; delete it and run snakemake again."
        )
    info = data.info
    if trained.info != info:  # equal shapes in other units would pass every other check
        raise UserError(
            f"{folder.model} was trained on other packed data than these (another normalisation); "
            "give the file that its run was trained on, or train it again."
        )
    of_training = [
        Metric("val", "best_epoch", "all", float(trained.best_epoch), "epoch"),
        Metric("train", "diverged", "all", float(trained.diverged), "1"),
        Metric("train", "latent_dim", "all", float(trained.settings.model.latent_dim), "1"),
        Metric("train", "num_parameters", "all", float(num_parameters(trained.model)), "1"),
    ]
    if trained.diverged:
        write_metrics(folder.metrics("test"), trained.settings.key, of_training)
        write_arrays(folder.events("test"))
        return
    test = predict(trained.model, data.test)
    met = info.met_components(data.test.globals)
    by_source = predicted_met(trained.model, test, data)
    _, baseline = fit_true_objects(data)
    probe_skill = skill(
        normalised_mse(by_source["probe"], met, info.met_scale_gev),
        normalised_mse(baseline, met, info.met_scale_gev),
    )
    tokens = token_errors(test, data)
    true, reco = info.objects(data.test.features), info.objects(test.features)
    nmse = tokens_nmse(reco, true, log_spread(data.train.features, info))
    rows = [
        *of_training,
        Metric("test", "rec_tokens", "all", float(tokens.mean()), "1"),
        Metric("test", "tokens_nmse", "all", nmse, "1"),
        Metric("test", "skill", "probe", probe_skill, "1"),
        *(
            row
            for source, predicted in by_source.items()
            for row in met_metrics(source, predicted, met, info.met_scale_gev)
        ),
        *token_metrics(reco, true, data.test.types, info.object_types),
        *closure_metrics(reco, true, data.test.types, info.object_types, data.test.offsets),
        *codebook_metrics(test, trained.model.bottleneck.codebook_size, data),
    ]
    write_metrics(folder.metrics("test"), trained.settings.key, rows)
    write_arrays(
        folder.events("test"),
        sse_tokens=event_sum(tokens, data.test.offsets),
        num_tokens=np.diff(data.test.offsets).astype(float),
        **{
            f"{source}_error": event_errors(predicted, met, info.met_scale_gev)
            for source, predicted in by_source.items()
        },
    )


def predicted_met(model: TokenAutoencoder, test: Predictions, data: PackedData) -> dict[str, Array]:
    """Return the MET components of the test split as three sources predict them, in GeV.

    The trained head; the ridge probe of the pooled latents; and the one-parameter fit to the
    reconstructed objects. The last two are fitted on the training split.

    Parameters
    ----------
    model
        The trained model.
    test
        Its predictions for the test split.
    data
        The packed events.

    Returns
    -------
    dict
        By source: head, probe, reco_objects; each of shape (N, 2).
    """
    info = data.info
    met = {name: info.met_components(getattr(data, name).globals) for name in ("train", "val")}
    latent_dim = test.pooled.shape[1]
    train, val = (
        predict_events(model, split, info, latent_dim) for split in (data.train, data.val)
    )
    a = fit_one_parameter(train.visible, met["train"])
    return {
        "head": info.met_components(test.globals),
        "probe": ridge_probe((train.pooled, met["train"]), (val.pooled, met["val"]), test.pooled),
        "reco_objects": -a * visible_sum(test.features, data.test.offsets, info),
    }


@torch.inference_mode()
def predict_events(
    model: TokenAutoencoder, split: PackedSplit, info: DataInfo, latent_dim: int
) -> EventPredictions:
    """Return what `model` makes of the events of `split`, on the CPU; no objects are kept."""
    # The largest arrays of an evaluation; joined from parts, they would need twice the memory.
    pooled = np.empty((split.num_events, latent_dim), np.float32)
    visible = np.empty((split.num_events, 2))
    start = 0
    for batch in batches(split, EVENTS_PER_EVALUATION_BATCH, CPU):
        part = model(batch)
        events = slice(start, start + len(batch.globals))
        offsets = split.offsets[start : events.stop + 1] - split.offsets[start]
        pooled[events] = part.pooled.numpy()
        visible[events] = visible_sum(part.features.numpy(), offsets, info)
        start = events.stop
    return EventPredictions(pooled, visible)


@torch.inference_mode()
def predict(model: TokenAutoencoder, split: PackedSplit) -> Predictions:
    """Return the output of `model` for `split`, on the CPU."""
    parts = []
    commit = 0.0
    for batch in batches(split, EVENTS_PER_EVALUATION_BATCH, CPU):
        parts.append(model(batch))
        # The mean over all tokens weights each batch by its number of tokens.
        commit += (
            math.nan if parts[-1].commit is None else float(parts[-1].commit) * len(batch.types)
        )
    codes = [part.codes for part in parts if part.codes is not None]
    features, globals_, pooled = (
        torch.cat([getattr(part, name) for part in parts]).double().numpy()
        for name in ("features", "globals", "pooled")
    )
    return Predictions(
        features,
        globals_,
        pooled,
        commit / max(len(features), 1),
        torch.cat(codes).numpy() if codes else None,
    )


def token_errors(test: Predictions, data: PackedData) -> Array:
    """Return the mean squared error over the normalised features of each object, shape (n,)."""
    difference = torch.from_numpy(test.features - data.test.features)
    errors: Array = (
        squared_error(difference, normalised_period(data.info.features, CPU)).mean(1).numpy()
    )
    return errors


def positive_log_features(objects: Array) -> Array:
    """Return `log_features` of (E, pT, eta, phi), E and pT at least `MIN_GEV`, shape (n, 5)."""
    return log_features(np.column_stack([np.maximum(objects[:, :2], MIN_GEV), objects[:, 2:]]))


def log_spread(features: Array, info: DataInfo) -> Array:
    """Return the standard deviations of the five default features, shape (5,).

    Parameters
    ----------
    features
        Normalised features, whatever they are, shape (n, F); read in blocks.
    info
        Description of the packed data.
    """
    sums = np.zeros((2, 5))
    for start in range(0, len(features), ROWS_PER_BLOCK):
        columns = positive_log_features(info.objects(features[start : start + ROWS_PER_BLOCK]))
        sums += columns.sum(axis=0), (columns**2).sum(axis=0)
    mean, mean_square = sums / len(features)
    spread: Array = np.sqrt(np.maximum(mean_square - mean**2, 0))
    return spread


def tokens_nmse(reco: Array, true: Array, spread: Array) -> float:
    """Return the mean squared error of the five default features, whatever features were trained.

    Each feature is in units of its spread in the training split, so that runs with other features
    can be compared.

    Parameters
    ----------
    reco, true
        (E, pT, eta, phi) in GeV and radians of the reconstructed and the true objects, shape
        (n, 4).
    spread
        As from `log_spread`, of the training split.
    """
    difference = positive_log_features(reco) - positive_log_features(true)
    return float(np.mean((difference / np.where(spread > 0, spread, 1)) ** 2))


def fit_true_objects(data: PackedData) -> tuple[float, Array]:
    """Fit MET = -a times the vector sum of the true objects; return `a` and the predicted MET.

    Returns
    -------
    tuple
        The number `a`, fitted on the training split, and the predicted MET components of the test
        split in GeV, shape (N, 2).
    """
    train, test = (
        visible_sum(split.features, split.offsets, data.info) for split in (data.train, data.test)
    )
    a = fit_one_parameter(train, data.info.met_components(data.train.globals))
    return a, -a * test


def visible_sum(features: Array, offsets: NDArray[np.integer[Any]], info: DataInfo) -> Array:
    """Return the transverse vector sum of each event's objects in GeV, shape (N, 2).

    Parameters
    ----------
    features
        Normalised features of all objects, true or reconstructed, event after event, shape
        (n, F); read in blocks.
    offsets
        Event i owns the objects offsets[i] to offsets[i + 1], shape (N + 1,).
    info
        Description of the packed data.
    """
    sums = np.empty((len(offsets) - 1, 2))
    for start in range(0, len(sums), ROWS_PER_BLOCK):
        ends = offsets[start : start + ROWS_PER_BLOCK + 1]
        objects = info.objects(features[ends[0] : ends[-1]])
        sums[start : start + len(ends) - 1] = vector_sum(
            objects[:, 1], objects[:, 3], ends - ends[0]
        )
    return sums


def event_errors(predicted: Array, true: Array, scale_gev: float) -> Array:
    """Return the normalised globals error of each event, shape (N,)."""
    errors: Array = ((predicted - true) ** 2).mean(axis=1) / scale_gev**2
    return errors


def codebook_metrics(test: Predictions, codebook_size: int, data: PackedData) -> list[Metric]:
    """Return how a codebook is used, also by object type; no rows for continuous spaces."""
    if test.codes is None:
        return []
    codes = torch.from_numpy(test.codes)
    counts = count_codes(codes, codebook_size).numpy()
    perplexity, active = code_use.perplexity(counts), code_use.active_codes(counts)
    rows = [
        Metric("test", "perplexity", "all", perplexity, "1"),
        Metric("test", "active_codes", "all", active, "1"),
        Metric("test", "utilisation", "all", active / codebook_size, "1"),
        Metric("test", "bits_per_token", "all", len(counts) * math.log2(perplexity), "bit"),
    ]
    if not math.isnan(test.commit):
        # The commitment loss is also the quantisation error: the squared distance from the codes.
        rows.append(Metric("test", "commit", "all", test.commit, "1"))
    for code, name in enumerate(data.info.object_types, start=1):
        chosen = data.test.types == code
        if chosen.any():
            by_type = count_codes(codes[torch.from_numpy(chosen)], codebook_size).numpy()
            rows.append(Metric("test", "perplexity", name, code_use.perplexity(by_type), "1"))
    return rows


def num_parameters(model: TokenAutoencoder) -> int:
    """Return the number of weights that the optimiser trains."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
