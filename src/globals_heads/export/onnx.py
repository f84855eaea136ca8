"""Encoder and decoder of a model as ONNX files, which run without PyTorch and without this code.

Both take padded events in GeV and radians, so normalisation, angles and empty slots are parts of
the graph. The numbers of events and of slots are free.
"""

import json
import logging
import math
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from globals_heads.errors import UserError
from globals_heads.export.encode import NO_CODE, load_model
from globals_heads.files import atomic_path
from globals_heads.packed import Normalisation
from globals_heads.train.model_file import TrainedModel

# Of the events that the graph is recorded with; any other numbers work, too.
NUM_EVENTS, NUM_SLOTS = 3, 5


class Columns(nn.Module):
    """A `Normalisation` in double precision, like that of the packed file."""

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: Normalisation) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(columns.mean, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(columns.scale, dtype=torch.float64))

    def normalise(self, values: Tensor) -> Tensor:
        """Return physical values on the normalised scale, in single precision."""
        return ((values - self.mean) / self.scale).float()

    def denormalise(self, values: Tensor) -> Tensor:
        """Return normalised values in physical units, in double precision."""
        return values.double() * self.scale + self.mean


class Encoder(nn.Module):
    """Events to latents or codes, and to their pooled latents."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.model, self.columns = trained.model, Columns(trained.info.features)
        self.is_log = trained.info.pack.features == "log"

    def forward(self, types: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Encode events.

        Parameters
        ----------
        types
            Object-type codes, shape (N, S); 0 is an empty slot.
        objects
            (E, pT, eta, phi) in GeV and radians, shape (N, S, 4).

        Returns
        -------
        tuple
            Latents (N, S, D), or codes (N, S, Q); pooled latents (N, D).
        """
        real = types > 0
        energy, pt, eta, phi = objects.double().unbind(-1)
        if self.is_log:
            # An empty slot has no logarithm.
            energy, pt = (torch.where(real, each, 1.0).log() for each in (energy, pt))
            columns = [energy, pt, eta, phi.cos(), phi.sin()]
        else:
            columns = [energy, pt, eta, math.pi - torch.remainder(math.pi - phi, 2 * math.pi)]
        features = self.columns.normalise(torch.stack(columns, -1))
        z_q, _, codes = self.model.encode(features.flatten(0, 1), types.flatten())
        latents = torch.where(real[..., None], torch.unflatten(z_q, 0, types.shape), 0.0)
        pooled = latents.sum(1) / self.model.num_slots
        if codes is None:
            return latents, pooled
        return torch.where(real[..., None], torch.unflatten(codes, 0, types.shape), NO_CODE), pooled


class Decoder(nn.Module):
    """Latents or codes to reconstructed objects, and to predicted MET."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.model, self.pack = trained.model, trained.info.pack
        self.features, self.globals = Columns(trained.info.features), Columns(trained.info.globals)

    def forward(self, types: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Decode events.

        Parameters
        ----------
        types
            Object-type codes, shape (N, S); 0 is an empty slot.
        tokens
            Latents (N, S, D), or codes (N, S, Q).

        Returns
        -------
        tuple
            Reconstructed (E, pT, eta, phi) in GeV and radians, shape (N, S, 4); predicted MET and
            METphi, shape (N, 2).
        """
        real = (types > 0)[..., None]
        z_q = tokens.flatten(0, 1)
        if self.model.bottleneck.codebook_size:
            z_q = self.model.bottleneck.lookup(z_q.clamp(min=0))
        features = torch.unflatten(
            self.features.denormalise(self.model.decoder(z_q)), 0, types.shape
        )
        if self.pack.features == "log":
            log_energy, log_pt, eta, cos, sin = features.unbind(-1)
            # onnxruntime has no arc tangent in double precision.
            phi = torch.atan2(sin.float(), cos.float()).double()
            columns = [log_energy.exp(), log_pt.exp(), eta, phi]
        else:
            energy, pt, eta, phi = features.unbind(-1)
            columns = [energy, pt, eta, math.pi - torch.remainder(math.pi - phi, 2 * math.pi)]
        objects = torch.where(real, torch.stack(columns, -1), 0.0).float()
        latents = torch.where(real, torch.unflatten(z_q, 0, types.shape), 0.0)
        head = self.model.globals_head(latents.sum(1) / self.model.num_slots)
        first, second = self.globals.denormalise(head).unbind(-1)
        if self.pack.globals_target == "polar":
            first, second = first * second.cos(), first * second.sin()
        met_x, met_y = first.float(), second.float()
        # ONNX has no hypot.
        met = torch.stack([(met_x**2 + met_y**2).sqrt(), torch.atan2(met_y, met_x)], -1)
        return objects, met


def export_onnx(model: Path, folder: Path) -> None:
    """Write encoder.onnx and decoder.onnx of a model.pt into a folder.

    Raises
    ------
    UserError
        If the model cannot be used, or the packages of the extra `onnx` are missing.
    """
    try:
        import onnx  # noqa: PLC0415 - an optional extra
        import onnxscript  # noqa: F401, PLC0415 - torch.onnx needs it
    except ImportError as error:
        raise UserError(
            f"Writing ONNX needs the package {error.name}, which is not installed; "
            "install it with `pip install 'globals-heads[onnx]'`."
        ) from error
    trained = load_model(model)
    encoder, decoder = Encoder(trained).eval(), Decoder(trained).eval()
    types = torch.ones((NUM_EVENTS, NUM_SLOTS), dtype=torch.int64)
    objects = torch.ones((NUM_EVENTS, NUM_SLOTS, 4))
    with torch.no_grad():
        tokens = encoder(types, objects)[0]
    name = "codes" if trained.model.bottleneck.codebook_size else "latents"
    about = {
        "run": trained.settings.key.name,
        "object_types": json.dumps(dict(enumerate(trained.info.object_types, start=1))),
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    sizes = {0: torch.export.Dim("events"), 1: torch.export.Dim("slots")}
    for path, module, inputs, names in (
        ("encoder.onnx", encoder, {"types": types, "objects": objects}, (name, "pooled")),
        ("decoder.onnx", decoder, {"types": types, "tokens": tokens}, ("objects", "met")),
    ):
        # It warns of packages that it does not need, and of axes that share a size.
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                input_names=list(inputs) if path == "encoder.onnx" else ["types", name],
                output_names=list(names),
                dynamic_shapes=dict.fromkeys(inputs, sizes),
                verbose=False,
            )
        assert program is not None
        proto = program.model_proto
        onnx.helper.set_model_props(proto, about)
        with atomic_path(folder / path) as temporary:
            temporary.write_bytes(proto.SerializeToString())
    print(f"Wrote encoder.onnx and decoder.onnx of {trained.settings.key.name} into {folder}")
