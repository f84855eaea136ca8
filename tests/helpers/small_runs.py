"""Short runs on small data: their settings, and what a training of them leaves behind."""

import torch

from globals_heads.facts import RunFolder
from globals_heads.settings import BottleneckSettings, RunKey, Settings, VqSettings
from globals_heads.train.batches import batches
from globals_heads.train.model_file import load_model

SMALL_CODEBOOK = BottleneckSettings(vq=VqSettings(codebook_size=16))


def run_settings(latent_space="none", globals_beta=1.0, seed=0, **changes):
    """Return the settings of one run of two epochs."""
    study = Settings(epochs=2, bottleneck=SMALL_CODEBOOK).model_copy(update=changes)
    key = RunKey(latent_space=latent_space, globals_beta=globals_beta, seed=seed)
    return study.run_settings(key)


def split_facts(model, loss, split, num_events=1024):
    """Return the facts of a split under the present weights, summed over batches."""
    sums = loss.zero_sums()
    model.eval()
    with torch.inference_mode():
        for batch in batches(split, num_events, loss.device):
            loss(batch, model(batch), sums)
    return loss.facts(sums)


def outcome(folder):
    """Return best epoch, divergence, weights and facts of a run, without times and memory."""
    run = RunFolder(folder)
    saved = load_model(run.model)
    weights = {name: tensor.numpy().tobytes() for name, tensor in saved.model.state_dict().items()}
    facts = [run.metrics(split).read_text().splitlines() for split in ("train", "val")]
    rows = [line.rsplit(",", 3)[0] for part in facts for line in part]
    return saved.best_epoch, saved.diverged, weights, rows
