"""A small trained model beside its token file and packed data, for what uses models."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from random_events import OBJECT_TYPES, random_events

from globals_heads.data.events import Events
from globals_heads.data.pack import pack
from globals_heads.data.token_file import read_token_file, write_token_file
from globals_heads.facts import RunFolder
from globals_heads.packed import PackedData, open_packed
from globals_heads.settings import PackSettings, RunKey, Settings
from globals_heads.train.train import train

DEFAULT = PackSettings()
# More than one batch of an evaluation, so that what depends on batches shows.
SIZES = {"train": 60, "val": 30, "test": 1100}
SMALL = {
    "epochs": 1,
    "model": {
        "latent_dim": 4,
        "hidden_dims": [8],
        "type_embedding_dim": 2,
        "globals_hidden_dim": 4,
    },
    "bottleneck": {
        "vq": {"codebook_size": 16},
        "residual_vq": {"codebook_size": 8, "num_quantizers": 3},
        "fsq": {"levels": [4, 3]},
    },
    "train": {"device": "cpu"},
}


class SmallModel(NamedTuple):
    """A trained run, the token file of its events and the packed data."""

    folder: RunFolder
    tokens: Path
    data: PackedData


def read_events(path):
    """Return the events of each split of a token file, in memory."""
    splits, _ = read_token_file(path, OBJECT_TYPES)
    events = {}
    for name, split in splits.items():
        blocks = list(split.blocks())
        columns = (np.concatenate([getattr(b, key) for b in blocks]) for key in vars(blocks[0]))
        events[name] = Events(*columns)
    return events


def train_small(path, latent_space, globals_beta=1, pack_settings=DEFAULT):
    """Return a small model of one latent space, trained in the folder `path`."""
    splits = {name: random_events(n, seed) for seed, (name, n) in enumerate(SIZES.items())}
    tokens, packed, folder = path / "tokens.h5", path / "packed.h5", RunFolder(path / "run")
    write_token_file(tokens, splits, OBJECT_TYPES, {})
    read, unit = read_token_file(tokens, OBJECT_TYPES)
    pack(read, OBJECT_TYPES, pack_settings, "random events", unit, packed)
    study = Settings(**SMALL, pack=pack_settings)
    settings = study.run_settings(
        RunKey(latent_space=latent_space, globals_beta=globals_beta, seed=0)
    )
    train(settings, open_packed(packed), folder, threads=1)
    folder.settings.write_text(yaml.safe_dump(settings.model_dump()))
    return SmallModel(folder, tokens, open_packed(packed))
