"""Evaluation of one run: its model.pt and the packed data in, facts of the test split out.

Every globals error here is one of the two MET components after the inverse transform, in units
of their training-split scale, whatever target the run was trained on.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from globals_heads import codebook, metrics
from globals_heads.facts import Metric, RunFolder, write_metrics
from globals_heads.files import UserError
from globals_heads.geometry import Array, wrap_angle
from globals_heads.learn.checkpoint import load_model
from globals_heads.learn.model import TokenAutoencoder
from globals_heads.learn.training import (
    EVENTS_PER_EVALUATION_BATCH,
    batches,
    code_counts,
    mean_square,
    normalised_period,
)
from globals_heads.packing import DataInfo, PackedData, PackedSplit

# Below this MET its direction is noise.
MIN_MET_FOR_ANGLE_GEV = 50.0


class Predictions(NamedTuple):
    """What a model makes of a split, in float64.

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
    code_counts
        Uses of each code, shape (Q, K); None in continuous latent spaces.
    """

    features: Array
    globals: Array
    pooled: Array
    commit: float
    code_counts: np.ndarray[tuple[int, int], np.dtype[np.int64]] | None


def evaluate(data: PackedData, folder: RunFolder, threads: int) -> None:
    """Measure a run's model.pt on the test split and write its facts.

    Parameters
    ----------
    data
        The packed events that the run was trained on.
    folder
        The run's files.
    threads
        CPU threads.
    """
    torch.set_num_threads(threads)
    trained = load_model(folder.model)
    if trained.info != data.info:  # the same shapes, but other units: nothing else would notice
        raise UserError(
            f"{folder.model} was trained on other packed data than these (another normalisation); "
            "give the file that its run was trained on, or train it again."
        )
    predictions = {
        split: predict(trained.model, getattr(data, split)) for split in ("train", "val", "test")
    }
    truth = {split: data.info.met_components(getattr(data, split).globals) for split in predictions}
    test = predictions["test"]
    probe = metrics.ridge_probe(
        (predictions["train"].pooled, truth["train"]),
        (predictions["val"].pooled, truth["val"]),
        test.pooled,
    )
    head = trained.info.met_components(test.globals)
    values = [
        Metric("val", "best_epoch", "all", float(trained.best_epoch), "epoch"),
        Metric("test", "rec_tokens", "all", rec_tokens(data, test), "1"),
        *globals_metrics("head", head, truth["test"], data.info),
        *globals_metrics("probe", probe, truth["test"], data.info),
        *token_metrics(data, test),
        *codebook_metrics(test),
        Metric("test", "num_parameters", "all", float(num_parameters(trained.model)), "1"),
    ]
    write_metrics(folder.metrics("test"), trained.settings.key, values)


@torch.inference_mode()
def predict(model: TokenAutoencoder, split: PackedSplit) -> Predictions:
    """Return what `model` makes of `split`, on the CPU."""
    made = []
    commit = 0.0
    for batch in batches(split, EVENTS_PER_EVALUATION_BATCH, torch.device("cpu")):
        made.append(model(batch))
        # A mean over tokens, so batches count by their tokens.
        commit += math.nan if made[-1].commit is None else float(made[-1].commit) * len(batch.types)
    codes = [part.codes for part in made if part.codes is not None]
    features, globals_, pooled = (
        torch.cat([getattr(part, name) for part in made]).double().numpy()
        for name in ("features", "globals", "pooled")
    )
    counts = code_counts(torch.cat(codes), model.bottleneck.codebook_size) if codes else None
    return Predictions(features, globals_, pooled, commit / max(len(features), 1), counts)


def rec_tokens(data: PackedData, test: Predictions) -> float:
    """Return the mean squared error of the normalised features over real objects."""
    difference = torch.from_numpy(test.features - data.test.features)
    period = normalised_period(data.info.features, torch.device("cpu"))
    return float(mean_square(difference, period))


def globals_metrics(group: str, predicted: Array, true: Array, info: DataInfo) -> list[Metric]:
    """Return the errors of a prediction of the MET components.

    Parameters
    ----------
    group
        Who predicts: head (trained), probe (ridge on the frozen pooled latents) or a yardstick.
    predicted, true
        MET components in GeV, shape (N, 2).
    info
        The data's scale.
    """
    values = [
        Metric(
            "test",
            "rec_globals",
            group,
            metrics.normalised_mse(predicted, true, info.met_scale_gev),
            "1",
        ),
        Metric("test", "met_component_rms", group, metrics.component_rms(predicted, true), "GeV"),
    ]
    hard = np.hypot(*true.T) > MIN_MET_FOR_ANGLE_GEV
    if hard.any():
        dphi = metrics.delta_phi(predicted[hard], true[hard])
        values += [
            Metric("test", "met_dphi_sigma68", group, metrics.sigma68(dphi), "rad"),
            Metric("test", "met_dphi_rms", group, float(np.sqrt(np.mean(dphi**2))), "rad"),
        ]
    return values


def token_metrics(data: PackedData, test: Predictions) -> list[Metric]:
    """Return sigma68 of each object quantity's residual, reconstructed minus true."""
    true = data.info.objects(data.test.features)
    if len(true) == 0:
        return []
    residual = data.info.objects(test.features) - true
    groups = {
        "energy": (residual[:, 0], "GeV"),
        "pt": (residual[:, 1], "GeV"),
        "pt_relative": (residual[:, 1] / true[:, 1], "1"),
        "eta": (residual[:, 2], "1"),
        "phi": (wrap_angle(residual[:, 3]), "rad"),
    }
    return [
        Metric("test", "token_sigma68", group, metrics.sigma68(values), unit)
        for group, (values, unit) in groups.items()
    ]


def codebook_metrics(test: Predictions) -> list[Metric]:
    """Return how a codebook is used; nothing for continuous latent spaces."""
    if test.code_counts is None:
        return []
    perplexity = codebook.perplexity(test.code_counts)
    bits = len(test.code_counts) * math.log2(perplexity)
    values = [
        Metric("test", "perplexity", "all", perplexity, "1"),
        Metric("test", "active_codes", "all", codebook.active_codes(test.code_counts), "1"),
        Metric("test", "bits_per_token", "all", bits, "bit"),
    ]
    return [Metric("test", "commit", "all", test.commit, "1"), *values]


def num_parameters(model: TokenAutoencoder) -> int:
    """Return the number of weights that the optimiser trains."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
