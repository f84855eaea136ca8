"""model.pt: all that is needed to use a model without its run."""

import torch
from small_runs import run_settings

from globals_heads.facts import RunFolder
from globals_heads.train.batches import batches
from globals_heads.train.model_file import load_model
from globals_heads.train.train import train


def test_model_pt_is_enough_to_use_the_model(tmp_path, packed):
    folder = RunFolder(tmp_path)
    train(run_settings("vq"), packed, folder, threads=1)
    best = load_model(folder.model)
    assert best.info == packed.info
    assert best.settings == run_settings("vq")
    batch = next(batches(packed.test, 60, torch.device("cpu")))
    with torch.inference_mode():
        objects = best.info.objects(best.model(batch).features.numpy())
    assert objects.shape == (len(packed.test.features), 4)
