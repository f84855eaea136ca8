"""The ONNX files give the numbers of the model, for any numbers of events and slots."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from random_events import random_events
from trained_models import train_small

from globals_heads.errors import UserError
from globals_heads.export.encode import decode, encode, load_model
from globals_heads.export.onnx import export_onnx
from globals_heads.settings import PackSettings

POLAR = PackSettings(features="raw", globals_target="polar")


def run(path, **inputs):
    """Return what an ONNX file makes of its inputs, by the names of its outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize(
    ("latent_space", "settings"),
    [
        ("vq", PackSettings()),
        ("linear", POLAR),
        pytest.param("fsq", POLAR, marks=pytest.mark.slow),
        pytest.param("residual_vq", PackSettings(), marks=pytest.mark.slow),
        pytest.param("none", PackSettings(), marks=pytest.mark.slow),
    ],
)
def test_onnx_gives_the_numbers_of_the_model(tmp_path, latent_space, settings):
    small = train_small(tmp_path, latent_space, pack_settings=settings)
    export_onnx(small.folder.model, tmp_path)
    trained = load_model(small.folder.model)
    for num_events, num_slots in ((1500, 18), (1, 1), (7, 4)):
        events = random_events(num_events)
        events = type(events)(
            events.types[:, :num_slots],
            events.objects[:, :num_slots].astype(np.float32).astype(np.float64),
            events.met,
            events.labels,
        )
        types = events.types.astype(np.int64)
        expected = encode(trained, events)
        found = run(
            tmp_path / "encoder.onnx", types=types, objects=events.objects.astype(np.float32)
        )
        assert_allclose(found["pooled"], expected.pooled, atol=1e-5)
        name = "latents" if expected.codes is None else "codes"
        if name == "codes":
            assert_array_equal(found[name], expected.codes)
        else:
            assert_allclose(found[name], expected.latents, atol=1e-5)
        reco = run(tmp_path / "decoder.onnx", types=types, **{name: found[name]})
        again = decode(trained, expected)
        assert_allclose(reco["objects"], again.objects, rtol=1e-5, atol=1e-5)
        assert_allclose(reco["met"], again.met, rtol=1e-5, atol=1e-5)
    about = {each.key: each.value for each in onnx.load(tmp_path / "encoder.onnx").metadata_props}
    assert about["run"] == trained.settings.key.name
    assert '"5": "mu-"' in about["object_types"]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'globals-heads\[onnx\]'"):
        export_onnx(tmp_path / "model.pt", tmp_path)
