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
from globals_heads.evaluate.metrics import fit_one_parameter, normalised_mse, ridge_probe, skill
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
    splits = {"train": data.train, "val": data.val, "test": data.test}
    predictions = {name: predict(trained.model, split) for name, split in splits.items()}
    met = {name: info.met_components(split.globals) for name, split in splits.items()}
    train, test = predictions["train"], predictions["test"]
    by_source = {
        "head": info.met_components(test.globals),
        "probe": ridge_probe(
            (train.pooled, met["train"]),
            (predictions["val"].pooled, met["val"]),
            test.pooled,
        ),
        "reco_objects": fit_visible_sum(train.features, test.features, data)[1],
    }
    _, baseline = fit_visible_sum(data.train.features, data.test.features, data)
    probe_skill = skill(
        normalised_mse(by_source["probe"], met["test"], info.met_scale_gev),
        normalised_mse(baseline, met["test"], info.met_scale_gev),
    )
    tokens = token_errors(test, data)
    true, reco = info.objects(data.test.features), info.objects(test.features)
    nmse = tokens_nmse(reco, true, info.objects(data.train.features))
    rows = [
        *of_training,
        Metric("test", "rec_tokens", "all", float(tokens.mean()), "1"),
        Metric("test", "tokens_nmse", "all", nmse, "1"),
        Metric("test", "skill", "probe", probe_skill, "1"),
        *(
            row
            for source, predicted in by_source.items()
            for row in met_metrics(source, predicted, met["test"], info.met_scale_gev)
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
            f"{source}_error": event_errors(predicted, met["test"], info.met_scale_gev)
            for source, predicted in by_source.items()
        },
    )


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


def tokens_nmse(reco: Array, true: Array, train: Array) -> float:
    """Return the mean squared error of the five default features, whatever features were trained.

    Each feature is in units of its spread in the training split, so that runs with other features
    can be compared.

    Parameters
    ----------
    reco, true, train
        (E, pT, eta, phi) in GeV and radians of the reconstructed, the true and the training
        split's objects, shape (n, 4).
    """
    reco, true, train = (
        log_features(np.column_stack([np.maximum(objects[:, :2], MIN_GEV), objects[:, 2:]]))
        for objects in (reco, true, train)
    )
    spread = train.std(axis=0)
    return float(np.mean(((reco - true) / np.where(spread > 0, spread, 1)) ** 2))


def fit_visible_sum(train: Array, test: Array, data: PackedData) -> tuple[float, Array]:
    """Fit MET = -a times the vector sum of objects; return `a` and the MET that it predicts.

    Parameters
    ----------
    train, test
        Normalised features of the objects of these splits, true or reconstructed, shape (n, F).
    data
        The packed events: the MET and the objects of each event.

    Returns
    -------
    tuple
        The number `a`, fitted on the training split, and the predicted MET components of the test
        split in GeV, shape (N, 2).
    """
    visible = visible_sum(train, data.train.offsets, data.info)
    a = fit_one_parameter(visible, data.info.met_components(data.train.globals))
    return a, -a * visible_sum(test, data.test.offsets, data.info)


def visible_sum(features: Array, offsets: NDArray[np.integer[Any]], info: DataInfo) -> Array:
    """Return the transverse vector sum of each event's objects in GeV, shape (N, 2).

    Parameters
    ----------
    features
        Normalised features of all objects, true or reconstructed, event after event, (n, F).
    offsets
        Event i owns the objects offsets[i] to offsets[i + 1], shape (N + 1,).
    info
        Description of the packed data.
    """
    objects = info.objects(features)
    return vector_sum(objects[:, 1], objects[:, 3], offsets)


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
