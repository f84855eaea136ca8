"""The encoded file: events as a model encodes them, in HDF5, in one of two layouts.

`objects` has a group for each split with the arrays of `Encoded`. `binned` holds one integer for
each object and each global, for classifiers that read integers; docs/use.md describes both. Files
are written and read in blocks, so memory does not grow with them.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.events import LABELS, Events
from globals_heads.data.formats import is_split_token_file
from globals_heads.data.token_file import SPLITS, EventBlocks, read_token_file, write_token_file
from globals_heads.errors import UserError
from globals_heads.export.encode import NO_CODE, Encoded, decode, encode, load_model
from globals_heads.files import new_hdf5, open_hdf5
from globals_heads.provenance import file_digest
from globals_heads.settings import EnergyUnit
from globals_heads.train.model_file import TrainedModel
from globals_heads.train.train import EVENTS_PER_EVALUATION_BATCH

Layout = Literal["objects", "binned"]
# A multiple of the batch, so that the blocks change no batch.
EVENTS_PER_BLOCK = 8 * EVENTS_PER_EVALUATION_BATCH
# The author's classifier reads these names.
LABEL_NAMES = {"train": "Y_train", "val": "y_val", "test": "y_test"}
# The last bin of MET has no upper end.
MET_EDGES_GEV = np.linspace(0, 500, 51)
METPHI_EDGES_RAD = np.linspace(-np.pi, np.pi, 33)
MAX_VOCABULARY = 2**31
ABOUT = {
    "types": "object type of each slot; 0 is an empty slot",
    "latents": "latents of each slot; 0 in an empty slot",
    "codes": "code of each slot in each quantiser; -1 in an empty slot",
    "pooled": "sum of the event's latents, divided by the number of slots",
    "met": "measured MET in GeV, METphi in radians",
    "predicted_met": "MET in GeV and METphi in radians as the globals head predicts them",
    "error": "mean squared error of the normalised features, over the event's objects",
    "labels": "process of the event",
}


def encode_file(
    model: Path, events: Path, output: Path, layout: Layout, threads: int, unit: EnergyUnit = "auto"
) -> None:
    """Encode a file of events, and print how well each split is reconstructed.

    Parameters
    ----------
    model
        A model.pt; no other file of its study is read.
    events
        The token file.
    output
        The file to make.
    layout
        Its layout.
    threads
        CPU threads.
    unit
        The unit of energies in the token file; auto finds it.

    Raises
    ------
    UserError
        If a file cannot be used, or `layout` is binned and the latent space has no codes.
    """
    torch.set_num_threads(threads)
    trained = load_model(model)
    bins = TokenBins.of(trained) if layout == "binned" else None
    types = dict(enumerate(trained.info.object_types, start=1))
    if not is_split_token_file([events]):
        raise UserError(
            f"{events} is no token file with splits; make one of it, tokens.h5, with `python -m "
            f"globals_heads read tokens.h5 {shlex.quote(str(events))} --report read.json "
            f"--settings '{{}}' --object-types '{json.dumps(types)}'` and encode that."
        )
    splits, found = read_token_file(events, types, unit)
    print(f"Read {events}, energies in {found}; encoding with {trained.settings.key.name}")
    with new_hdf5(output) as file:
        file.attrs["layout"] = layout
        file.attrs["model"] = file_digest(model)
        file.attrs["settings"] = trained.settings.model_dump_json()
        file.attrs["object_types"] = json.dumps(types)
        with h5py.File(events) as source:
            file.attrs["labels"] = source.attrs.get("labels", json.dumps(LABELS))
        if bins:
            bins.describe(file)
        for name, each in splits.items():
            sums = np.zeros(2)
            for block in _whole_batches(each):
                encoded = encode(trained, block)
                num_objects = (encoded.types > 0).sum(axis=1)
                sums += np.nansum(encoded.error * num_objects), num_objects.sum()
                _append(file, bins.datasets(name, encoded) if bins else _arrays(name, encoded))
            print(f"{name}: {len(each)} events, rec_tokens {sums[0] / max(sums[1], 1):.4g}")


def decode_file(model: Path, encoded: Path, output: Path, threads: int) -> None:
    """Write the reconstructed events of an encoded file as a token file.

    Parameters
    ----------
    model
        The model.pt that encoded it.
    encoded
        The encoded file, in any layout.
    output
        The token file to make.
    threads
        CPU threads.

    Raises
    ------
    UserError
        If a file is damaged, or another model made the encoded file.
    """
    torch.set_num_threads(threads)
    trained, digest = load_model(model), file_digest(model)
    remedy = f"encode the events again with `python -m globals_heads encode {model} EVENTS.h5 OUT`"
    with open_hdf5(encoded, "cannot be read as an encoded file", remedy) as file:
        if file.attrs["model"] != digest:
            raise UserError(
                f"{encoded} was encoded by another model ({file.attrs['model']}) than {model} "
                f"({digest}); give that model, or {remedy}."
            )
        splits = {
            name: DecodedSplit(
                encoded, name, trained, sum(map(_length, _read(file, name, trained)))
            )
            for name in SPLITS
        }
        labels = {int(label): name for label, name in json.loads(file.attrs["labels"]).items()}
    types = dict(enumerate(trained.info.object_types, start=1))
    made_by = {"reconstructed_by": trained.settings.model_dump()}
    write_token_file(output, splits, types, made_by, labels)


@dataclass(frozen=True)
class DecodedSplit:
    """The reconstructed events of one split of an encoded file, block by block from disk."""

    path: Path
    name: str
    trained: TrainedModel
    num_events: int

    def __len__(self) -> int:
        """Return the number of events."""
        return self.num_events

    def blocks(self) -> Iterator[Events]:
        """Yield all events."""
        with h5py.File(self.path, "r") as file:
            for block in _read(file, self.name, self.trained):
                yield decode(self.trained, block)


class TokenBins:
    """One vocabulary for objects and globals; each token has one meaning.

    0 is an empty slot; 1 + (type - 1) * K + code an object; then come the bins of MET, and those
    of METphi.

    Parameters
    ----------
    num_types
        Number of object types.
    codebook_size, num_quantizers
        Of the latent space; K = codebook_size ** num_quantizers, and the code of an object is the
        sum of codes[q] * codebook_size ** q.
    """

    def __init__(self, num_types: int, codebook_size: int, num_quantizers: int) -> None:
        self.codebook_size, self.num_quantizers = codebook_size, num_quantizers
        self.num_codes = codebook_size**num_quantizers
        self.first_met = 1 + num_types * self.num_codes
        self.first_metphi = self.first_met + len(MET_EDGES_GEV) - 1
        self.vocabulary = self.first_metphi + len(METPHI_EDGES_RAD) - 1

    @classmethod
    def of(cls, trained: TrainedModel) -> "TokenBins":
        """Return the vocabulary of a model, or raise `UserError` if it has none."""
        bottleneck = trained.model.bottleneck
        name = trained.settings.key.name
        if not bottleneck.codebook_size:
            raise UserError(
                f"The model of {name} has the continuous latent space "
                f"{trained.settings.latent_space}, and the layout binned needs codes; take "
                "`--layout objects`, or the model of a discrete latent space such as vq."
            )
        bins = cls(
            len(trained.info.object_types), bottleneck.codebook_size, bottleneck.num_quantizers
        )
        if bins.vocabulary > MAX_VOCABULARY:
            raise UserError(
                f"The model of {name} has {bins.num_codes} combinations of codes, too many for one "
                f"integer each (a vocabulary of at most {MAX_VOCABULARY}); take `--layout objects`."
            )
        return bins

    def describe(self, file: h5py.File) -> None:
        """Write what the tokens mean as attributes."""
        file.attrs["about"] = (
            "X: a token for each slot, then MET, then METphi. 0 is an empty slot; an object is "
            "1 + (type - 1) * num_codes + code, code the sum of codes[q] * codebook_size**q; MET "
            "is first_met_token + its bin, METphi first_metphi_token + its bin."
        )
        for name in ("codebook_size", "num_quantizers", "num_codes", "vocabulary"):
            file.attrs[name] = getattr(self, name)
        file.attrs["first_met_token"] = self.first_met
        file.attrs["first_metphi_token"] = self.first_metphi
        file.attrs["met_edges_gev"] = MET_EDGES_GEV
        file.attrs["metphi_edges_rad"] = METPHI_EDGES_RAD

    def datasets(self, split: str, encoded: Encoded) -> dict[str, NDArray[Any]]:
        """Return the data sets of some events: integers (N, S + 2), and labels (N,)."""
        assert encoded.codes is not None
        place_value = self.codebook_size ** np.arange(self.num_quantizers)
        code = encoded.codes.astype(np.int64) @ place_value
        token = 1 + (encoded.types.astype(np.int64) - 1) * self.num_codes + code
        met, metphi = encoded.met.T
        columns = [
            np.where(encoded.types > 0, token, 0),
            self.first_met + _bin(met, MET_EDGES_GEV),
            self.first_metphi + _bin(metphi, METPHI_EDGES_RAD),
        ]
        return {f"X_{split}": np.column_stack(columns), LABEL_NAMES[split]: encoded.labels}

    def encoded(self, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Encoded:
        """Return what `decode` needs of the events of `rows`, shape (N, S + 2)."""
        tokens = rows[:, :-2]
        if tokens.min(initial=0) < 0 or tokens.max(initial=0) >= self.first_met:
            raise ValueError(f"tokens of objects beyond 0 to {self.first_met - 1}")
        above, code = np.divmod(tokens - 1, self.num_codes)
        place_value = self.codebook_size ** np.arange(self.num_quantizers)
        codes = code[..., None] // place_value % self.codebook_size
        nothing = np.zeros((len(rows), 0))
        return Encoded(
            types=(above + 1).astype(np.uint8),  # a token of 0 gives -1 // K = -1
            latents=None,
            codes=np.where((tokens > 0)[..., None], codes, NO_CODE).astype(np.int32),
            pooled=nothing.astype(np.float32),
            met=nothing,
            predicted_met=nothing,
            error=nothing,
            labels=labels,
        )


def _bin(values: Array, edges: Array) -> NDArray[np.int64]:
    """Return the bin of each value; the last one has all values above, too."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def _arrays(split: str, encoded: Encoded) -> dict[str, NDArray[Any]]:
    """Return the data sets of some events in the layout `objects`."""
    fields = encoded._asdict().items()
    return {f"{split}/{name}": values for name, values in fields if values is not None}


def _append(file: h5py.File, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Add the events of a block to the end of their data sets."""
    for name, values in arrays.items():
        if name not in file:
            shape = (0, *values.shape[1:])
            # Compressed, empty slots take no room.
            dataset = file.create_dataset(
                name,
                shape,
                values.dtype,
                maxshape=(None, *shape[1:]),
                chunks=(EVENTS_PER_EVALUATION_BATCH, *shape[1:]),
                compression="gzip",
                compression_opts=1,
            )
            if about := ABOUT.get(name.rpartition("/")[2]):
                dataset.attrs["about"] = about
        dataset = file[name]
        dataset.resize(len(dataset) + len(values), axis=0)
        dataset[len(dataset) - len(values) :] = values


def _read(file: h5py.File, split: str, trained: TrainedModel) -> Iterator[Encoded]:
    """Yield blocks of what `decode` needs of a split; raise `ValueError` for wrong numbers."""
    bins = TokenBins.of(trained) if file.attrs["layout"] == "binned" else None
    labels = file[LABEL_NAMES[split] if bins else f"{split}/labels"]
    for start in range(0, len(labels), EVENTS_PER_BLOCK):
        block = slice(start, start + EVENTS_PER_BLOCK)
        if bins:
            yield bins.encoded(file[f"X_{split}"][block], labels[block])
            continue
        arrays = {name: file[split][name][block] for name in file[split]}
        encoded = Encoded(**{"latents": None, "codes": None} | arrays)
        _check(encoded, trained)
        yield encoded


def _check(encoded: Encoded, trained: TrainedModel) -> None:
    real = encoded.types > 0
    if encoded.types.max(initial=0) > len(trained.info.object_types):
        raise ValueError(f"an object type {encoded.types.max()}")
    if encoded.codes is not None:
        codes, size = encoded.codes[real], trained.model.bottleneck.codebook_size
        if codes.min(initial=0) < 0 or codes.max(initial=0) >= size:
            raise ValueError(f"codes beyond 0 to {size - 1}")
    elif encoded.latents is None or not np.isfinite(encoded.latents).all():
        raise ValueError("latents that are not finite, or none")


def _length(encoded: Encoded) -> int:
    return len(encoded.labels)


def _whole_batches(events: EventBlocks) -> Iterator[Events]:
    """Yield the events in blocks of whole batches, whatever the blocks on disk."""
    waiting: list[Events] = []
    for block in events.blocks():
        waiting.append(block)
        joined = _joined(waiting)
        whole = len(joined) // EVENTS_PER_EVALUATION_BATCH * EVENTS_PER_EVALUATION_BATCH
        for start in range(0, whole, EVENTS_PER_BLOCK):
            yield joined[start : min(start + EVENTS_PER_BLOCK, whole)]
        waiting = [joined[whole:]]
    if len(rest := _joined(waiting)):
        yield rest


def _joined(blocks: Sequence[Events]) -> Events:
    columns = ([getattr(block, name) for block in blocks] for name in Events.__annotations__)
    return Events(*(np.concatenate(column) for column in columns))
