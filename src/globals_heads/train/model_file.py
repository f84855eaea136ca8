"""model.pt: the weights of a run, with the settings and the normalisation to use them."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import torch

from globals_heads.errors import UserError, brief
from globals_heads.files import atomic_path
from globals_heads.packed import DataInfo
from globals_heads.settings import RunSettings
from globals_heads.train.model import TokenAutoencoder

SCHEMA_VERSION = 2


class TrainedModel(NamedTuple):
    """The content of a model.pt: the model of the best epoch, which is 0 if no loss was finite."""

    model: TokenAutoencoder
    settings: RunSettings
    info: DataInfo
    best_epoch: int
    diverged: bool


def save_model(path: Path, trained: TrainedModel) -> None:
    """Write a model's present weights with its settings and normalisation."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "settings": trained.settings.model_dump(),
        "data": trained.info.as_dict(),
        "best_epoch": trained.best_epoch,
        "diverged": trained.diverged,
        "weights": {name: tensor.cpu() for name, tensor in trained.model.state_dict().items()},
    }
    # Through memory: on a full disk torch raises an error of its own instead of an OSError.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_model(path: Path) -> TrainedModel:
    """Return the model in `path`, on the CPU and in evaluation mode.

    Raises
    ------
    UserError
        If the file is missing, damaged, or of another schema version.
    """
    remedy = (
        "copy it again, or make it again in its study with "
        f"`snakemake --profile local -j1 -f {path}`"
    )
    try:
        # weights_only: a file from elsewhere must not be able to run code.
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["schema_version"]
        if found == SCHEMA_VERSION:
            settings = RunSettings.model_validate(content["settings"])
            info = DataInfo.from_dict(content["data"])
            model = TokenAutoencoder(settings, info)
            model.load_state_dict(content["weights"])
            if not all(weights.isfinite().all() for weights in model.state_dict().values()):
                raise ValueError("weights that are not finite")
            outcome = int(content["best_epoch"]), bool(content["diverged"])
            return TrainedModel(model.eval(), settings, info, *outcome)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a model.pt ({brief(error)}); {remedy}."
        ) from error
    raise UserError(
        f"{path} has the schema version {found}, this code reads {SCHEMA_VERSION}; {remedy}."
    )
