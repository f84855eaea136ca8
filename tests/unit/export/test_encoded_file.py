"""The encoded file: its two layouts, and the way back to a token file."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from event_files import csv_lines, write_csv
from numpy.testing import assert_allclose, assert_array_equal
from random_events import random_events
from trained_models import SIZES, read_events, train_small

from globals_heads.errors import UserError
from globals_heads.export import encoded_file
from globals_heads.export.encode import decode, encode, load_model
from globals_heads.export.encoded_file import TokenBins, decode_file, encode_file


@pytest.fixture(scope="module", params=["none", "vq", "residual_vq", "fsq"])
def small(request, tmp_path_factory):
    return train_small(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def alone(small, tmp_path, monkeypatch):
    """A folder that holds model.pt and a token file alone, the working directory; small blocks."""
    shutil.copy(small.folder.model, tmp_path / "model.pt")
    shutil.copy(small.tokens, tmp_path / "tokens.h5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoded_file, "EVENTS_PER_BLOCK", 1024)
    return tmp_path


def encode_here(path, layout="objects"):
    encode_file(path / "model.pt", path / "tokens.h5", path / "out.h5", layout, 1)
    return path / "out.h5"


def test_model_pt_alone_is_enough(small, alone, capsys):
    """Block by block, the file holds what `encode` gives for whole splits."""
    trained = load_model(small.folder.model)
    splits = read_events(small.tokens)
    with h5py.File(encode_here(alone)) as file:
        assert sorted(file) == ["test", "train", "val"]
        for name, events in splits.items():
            expected = encode(trained, events)
            for key, values in expected._asdict().items():
                assert (key in file[name]) == (values is not None)
                if values is not None:
                    assert_array_equal(file[name][key], values)
                    assert file[name][key].attrs["about"]
        assert json.loads(file.attrs["settings"]) == trained.settings.model_dump()
        assert json.loads(file.attrs["object_types"])["5"] == "mu-"
    error = np.nansum(expected.error * (events.types > 0).sum(1)) / (events.types > 0).sum()
    assert f"test: {SIZES['test']} events, rec_tokens {error:.4g}" in capsys.readouterr().out


def test_the_refusal_of_another_format_has_the_command_that_makes_a_token_file(alone):
    lines = csv_lines(random_events(40))
    (alone / "tokens.h5").unlink()
    with pytest.raises(UserError, match=r"my events.csv is no token file with splits; .*") as error:
        events = write_csv(alone / "my events.csv", lines)
        encode_file(alone / "model.pt", events, alone / "out.h5", "objects", 1)
    command = re.search("`python (.*)`", str(error.value))[1]
    subprocess.run([sys.executable, *shlex.split(command)], cwd=alone, check=True)
    with h5py.File(encode_here(alone)) as file:
        assert sum(len(file[name]["met"]) for name in file) == 40


def test_a_file_with_other_object_types_is_refused_with_the_types_of_the_model(alone):
    with h5py.File(alone / "tokens.h5", "r+") as file:
        file.attrs["object_types"] = '{"1": "jet"}'
    with pytest.raises(UserError, match=r"allowed are .*'mu-'.*; .* to encode it, take a model "):
        encode_here(alone)


def test_the_given_unit_overrules_the_rule(alone):
    """The small sample is in GeV, so in MeV all its energies are a thousandth."""
    auto = h5py.File(encode_here(alone))["test/met"][:, 0]
    encode_file(alone / "model.pt", alone / "tokens.h5", alone / "mev.h5", "objects", 1, "MeV")
    assert_allclose(h5py.File(alone / "mev.h5")["test/met"][:, 0], auto / 1000)


def is_discrete(small):
    return "none" not in small.folder.path.parent.name


@pytest.mark.parametrize("layout", ["objects", "binned"])
def test_a_token_file_again(small, alone, layout):
    if layout == "binned" and not is_discrete(small):
        pytest.skip("has no codes")
    decode_file(alone / "model.pt", encode_here(alone, layout), alone / "reco.h5", 1)
    splits = read_events(small.tokens)
    trained = load_model(small.folder.model)
    with h5py.File(alone / "reco.h5") as file:
        for name, events in splits.items():
            expected = decode(trained, encode(trained, events))
            assert_array_equal(file[f"X_{name}"], expected.rows)
            assert_array_equal(file[f"Y_{name}"], events.labels)
        assert "latent_space" in json.loads(file.attrs["reconstructed_by"])


def test_binned_tokens_by_hand(small, alone):
    if not is_discrete(small):
        with pytest.raises(UserError, match=r"continuous latent space none.*--layout objects"):
            encode_here(alone, "binned")
        assert not (alone / "out.h5").exists()
        return
    events = read_events(small.tokens)["val"]
    codes = encode(load_model(small.folder.model), events).codes
    with h5py.File(encode_here(alone, "binned")) as file:
        names = ["X_test", "X_train", "X_val", "Y_train", "y_test", "y_val"]
        assert sorted(file) == sorted(names)
        rows, about = file["X_val"][:], dict(file.attrs)
        assert_array_equal(file["y_val"], events.labels)
    assert rows.dtype.kind == "i"
    assert rows.shape == (SIZES["val"], 18 + 2)
    size, all_codes = about["codebook_size"], about["num_codes"]
    assert all_codes == size ** about["num_quantizers"]
    for event, slot in ((0, 0), (3, 1), (5, 0)):
        kind, found = int(events.types[event, slot]), rows[event, slot]
        code = sum(int(c) * size**q for q, c in enumerate(codes[event, slot]))
        assert found == (0 if kind == 0 else 1 + (kind - 1) * all_codes + code)
    # MET of 10 GeV a bin, METphi of 2 pi / 32; no token has two meanings.
    met = np.minimum(events.met[:, 0] // 10, 49)
    assert_array_equal(rows[:, 18], 1 + 7 * all_codes + met)
    metphi = np.floor((events.met[:, 1] + np.pi) / (2 * np.pi) * 32)
    assert_array_equal(rows[:, 19], 1 + 7 * all_codes + 50 + metphi)
    assert about["vocabulary"] == 1 + 7 * all_codes + 50 + 32
    assert rows.max() < about["vocabulary"]
    assert_allclose(about["met_edges_gev"][[0, 1, -1]], [0, 10, 500])


def test_the_ends_of_the_bins():
    edges = encoded_file.MET_EDGES_GEV
    assert_array_equal(encoded_file._bin(np.array([0.0, 10.0, 500.0, 1e6]), edges), [0, 1, 49, 49])
    edges = encoded_file.METPHI_EDGES_RAD
    assert_array_equal(encoded_file._bin(np.array([-np.pi, 0.0, np.pi]), edges), [0, 16, 31])


def test_a_vocabulary_that_no_integer_holds_is_refused(small):
    trained = load_model(small.folder.model)
    trained.model.bottleneck.codebook_size, trained.model.bottleneck.num_quantizers = 512, 4
    with pytest.raises(UserError, match="too many for one integer"):
        TokenBins.of(trained)


def test_another_model_is_refused(small, alone):
    out = encode_here(alone)
    with h5py.File(out, "r+") as file:
        file.attrs["model"] = "0123"
    with pytest.raises(UserError, match=r"encoded by another model \(0123\)"):
        decode_file(alone / "model.pt", out, alone / "reco.h5", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("types", 9), ("codes", -1), ("codes", 16), ("latents", np.nan), ("labels", None)],
)
def test_damaged_files_are_refused(small, alone, name, value):
    out = encode_here(alone)
    with h5py.File(out, "r+") as file:
        if name not in file["val"]:
            pytest.skip("has no such data set")
        if value is None:
            del file["val"][name]
        else:
            file["val"][name][...] = np.where(file["val/types"][:] > 0, value, 0).reshape(
                *file["val/types"].shape, *(1,) * (file["val"][name].ndim - 2)
            )
    with pytest.raises(UserError, match=r"cannot be read as an encoded file .*encode"):
        decode_file(alone / "model.pt", out, alone / "reco.h5", 1)
    assert not (alone / "reco.h5").exists()


def test_blocks_on_disk_change_no_number(small, alone):
    """A file in chunks of 700 rows, in MeV and with its own labels gives the same numbers."""
    with h5py.File(encode_here(alone)) as file:
        expected = {key: file["test"][key][:] for key in file["test"]}
    with h5py.File(alone / "tokens.h5", "r+") as file:
        for name in ("X_train", "X_val", "X_test"):
            rows = file[name][:].astype(np.float64)
            rows[:, [18]] *= 1000
            rows[:, 20:].reshape(len(rows), 18, 4)[..., :2] *= 1000
            del file[name]
            chunks = (min(700, len(rows)), rows.shape[1])
            file.create_dataset(name, data=rows, chunks=chunks, compression="gzip")
        file.attrs["labels"] = '{"1": "signal"}'
    with h5py.File(encode_here(alone)) as file:
        for key, values in expected.items():
            assert_allclose(file["test"][key], values, rtol=1e-5, atol=1e-5)
        assert file.attrs["labels"] == '{"1": "signal"}'
    decode_file(alone / "model.pt", alone / "out.h5", alone / "reco.h5", 1)
    with h5py.File(alone / "reco.h5") as file:
        assert json.loads(file.attrs["labels"]) == {"1": "signal"}
