"""Encode events with a trained model, and decode them again, in memory.

    model = load_model("model.pt")
    encoded = encode(model, events)
    reconstructed = decode(model, encoded)

model.pt holds the settings and the normalisation, so nothing else of the study is needed.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.checks import check_objects
from globals_heads.data.events import Events
from globals_heads.errors import UserError
from globals_heads.kinematics import event_sum
from globals_heads.packed import DataInfo, pack_events
from globals_heads.train import model_file
from globals_heads.train.batches import batches
from globals_heads.train.loss import normalised_period, squared_error
from globals_heads.train.model_file import TrainedModel
from globals_heads.train.train import EVENTS_PER_EVALUATION_BATCH

CPU = torch.device("cpu")
# Of a slot without an object; 0 is a code.
NO_CODE = -1


class Encoded(NamedTuple):
    """What a model makes of N events of S slots; empty slots hold 0, or `NO_CODE`.

    Attributes
    ----------
    types
        Object-type codes, shape (N, S); 0 is an empty slot.
    latents
        Latents after the bottleneck, float32, shape (N, S, D); None in discrete latent spaces.
    codes
        Code in each quantiser, shape (N, S, Q); None in continuous latent spaces.
    pooled
        Sum of the event's latents divided by the number of slots, float32, shape (N, D).
    met
        The event's own (MET, METphi) in GeV and radians, shape (N, 2).
    predicted_met
        The same as the globals head predicts it; a head of globals_beta 0 was never trained.
    error
        Reconstruction error: the mean of rec_tokens over the event's objects, shape (N,); NaN for
        an event without objects.
    labels
        Process of each event, shape (N,).
    """

    types: NDArray[np.uint8]
    latents: NDArray[np.float32] | None
    codes: NDArray[np.int32] | None
    pooled: NDArray[np.float32]
    met: Array
    predicted_met: Array
    error: Array
    labels: NDArray[np.int64]


def load_model(path: str | Path) -> TrainedModel:
    """Return the model of a model.pt, on the CPU.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another schema version, or of a diverged run.
    """
    trained = model_file.load_model(Path(path))
    if trained.diverged:
        raise UserError(
            f"{path} belongs to the run {trained.settings.key.name}, which diverged, so its codes "
            "mean nothing; take the model of a run whose status in results/summary.csv is ok."
        )
    return trained


@torch.inference_mode()
def encode(trained: TrainedModel, events: Events) -> Encoded:
    """Return what a model makes of `events`, the same numbers as in the evaluation.

    Raises
    ------
    UserError
        If events have an object type that the model does not know, or an object whose features
        are undefined.
    """
    model, info = trained.model, trained.info
    real = events.types > 0
    if events.types.max(initial=0) > len(info.object_types):
        event, slot = np.argwhere(events.types > len(info.object_types))[0]
        raise UserError(
            f"Event {event} has the object type {events.types[event, slot]} in slot {slot}, but "
            f"the model knows the types 1 to {len(info.object_types)} "
            f"({', '.join(info.object_types)}); take a model that was trained with this type."
        )
    if real.any():
        check_objects(events.objects[real].astype(np.float64), info.pack, "events to encode", 0)
    split = pack_events(events.types, events.objects, events.met, events.labels, info)
    period = normalised_period(info.features, CPU)
    tokens, pooled, globals_, errors = [], [], [], []
    # The batches of the evaluation: others give other rounding errors.
    for batch in batches(split, EVENTS_PER_EVALUATION_BATCH, CPU):
        z_q, _, codes = model.encode(batch.features, batch.types)
        tokens.append(z_q if codes is None else codes)
        pooled.append(model.pool(z_q, batch.event, len(batch.globals)))
        globals_.append(model.globals_head(pooled[-1]))
        difference = model.decoder(z_q).double() - batch.features
        errors.append(squared_error(difference, period).mean(1))
    error = event_sum(torch.cat(errors).numpy(), split.offsets)
    num_objects = np.diff(split.offsets)
    of_objects = torch.cat(tokens).numpy()
    is_discrete = bool(model.bottleneck.codebook_size)
    return Encoded(
        types=events.types,
        latents=None if is_discrete else _in_slots(of_objects, real, 0),
        codes=_in_slots(of_objects.astype(np.int32), real, NO_CODE) if is_discrete else None,
        pooled=torch.cat(pooled).numpy(),
        met=events.met,
        predicted_met=_polar(torch.cat(globals_).numpy(), info),
        error=np.divide(error, num_objects, np.full(len(error), np.nan), where=num_objects > 0),
        labels=events.labels,
    )


@torch.inference_mode()
def decode(trained: TrainedModel, encoded: Encoded) -> Events:
    """Return the reconstructed events; their MET and METphi are those of the globals head."""
    model, info = trained.model, trained.info
    objects, globals_ = [], []
    # The batches of `encode`, so that both see the same rounding errors.
    for start in range(0, len(encoded.types), EVENTS_PER_EVALUATION_BATCH):
        block = slice(start, start + EVENTS_PER_EVALUATION_BATCH)
        real = encoded.types[block] > 0
        if encoded.codes is not None:
            codes = torch.from_numpy(encoded.codes[block][real].astype(np.int64))
            z_q = model.bottleneck.lookup(codes)
        else:
            assert encoded.latents is not None
            z_q = torch.from_numpy(encoded.latents[block][real])
        event = torch.from_numpy(np.nonzero(real)[0])
        globals_.append(model.globals_head(model.pool(z_q, event, len(real))).numpy())
        objects.append(info.objects(model.decoder(z_q).numpy()))
    return Events(
        types=encoded.types,
        objects=_in_slots(np.concatenate(objects), encoded.types > 0, 0),
        met=_polar(np.concatenate(globals_), info),
        labels=encoded.labels,
    )


def _in_slots(values: NDArray[np.generic], real: NDArray[np.bool_], empty: int) -> NDArray[Any]:
    """Return the values of all objects (n, C) in their slots (N, S, C)."""
    slots = np.full((*real.shape, values.shape[1]), empty, values.dtype)
    slots[real] = values
    return slots


def _polar(globals_: Array, info: DataInfo) -> Array:
    """Return (MET, METphi) in GeV and radians from normalised globals, shape (N, 2)."""
    x, y = info.met_components(globals_).T
    return np.column_stack([np.hypot(x, y), np.arctan2(y, x)])
