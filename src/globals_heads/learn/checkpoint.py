"""model.pt: weights with all that is needed to use them alone."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import torch

from globals_heads.files import UserError, atomic_path
from globals_heads.learn.model import TokenAutoencoder
from globals_heads.packing import DataInfo
from globals_heads.settings import RunSettings

SCHEMA_VERSION = 1


class TrainedModel(NamedTuple):
    """A model read from a model.pt."""

    model: TokenAutoencoder
    settings: RunSettings
    info: DataInfo
    best_epoch: int


def save_model(
    path: Path, model: TokenAutoencoder, settings: RunSettings, info: DataInfo, best_epoch: int
) -> None:
    """Write the model's present weights with its settings and normalisation."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.model_dump(),
        "data": info.as_dict(),
        "best_epoch": best_epoch,
        "weights": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
    }
    # Through memory: torch answers a full disk with an error of its own, not with an OSError.
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
    try:
        # weights_only: a file from elsewhere must not be able to run code.
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["schema_version"]
        if found == SCHEMA_VERSION:
            settings = RunSettings.model_validate(content["settings"])
            info = DataInfo.from_dict(content["data"])
            model = TokenAutoencoder(settings, info)
            model.load_state_dict(content["weights"])
            return TrainedModel(model.eval(), settings, info, int(content["best_epoch"]))
    except Exception as error:
        raise UserError(
            f"{path} is no model.pt that can be read ({str(error).splitlines()[0]}); "
            f"make it again with `snakemake --profile local -j1 -f {path}`."
        ) from error
    raise UserError(
        f"{path} has the schema version {found}, this code reads {SCHEMA_VERSION}; "
        f"make it again with `snakemake --profile local -j1 -f {path}`."
    )
