"""Planted facts: the files of finished runs, whose numbers are known, without any training."""

import numpy as np
import yaml

from globals_heads.compare.summary import collect
from globals_heads.compare.verdict import compare
from globals_heads.evaluate.physics import met_metrics, token_metrics
from globals_heads.facts import Metric, RunFolder, write_arrays, write_epochs, write_metrics
from globals_heads.settings import DISCRETE, CompareSettings, Settings

NUM_EVENTS, NUM_OBJECTS = 200, 400
BASELINES = {
    "training_mean": 0.0,
    "minus_sum_pt": 1.2,
    "linear_fit": 0.8,
    "globals_only_network": 0.75,
}


def plant_run(runs, settings, key, losses=(3.0, 1.0, 2.0)):
    """Write all files of one run whose losses per epoch are `losses`; the second one is best."""
    folder = RunFolder.of(runs, key.name)
    cfg = settings.run_settings(key)
    epochs = [
        {
            "epoch": i,
            "loss": loss,
            "rec_tokens": loss / 2,
            "rec_globals": loss / 4,
            "clipped_fraction": 0.5,
            "epoch_time_s": 1.0,
            "throughput": 100.0,
            "peak_memory_mib": 300.0 + i,
        }
        | ({"perplexity": 9.0, "active_codes": 7.0} if key.latent_space in DISCRETE else {})
        for i, loss in enumerate(losses, start=1)
    ]
    write_epochs(folder.metrics("train"), key, epochs)
    write_epochs(folder.metrics("val"), key, epochs)
    about = [
        Metric("val", "best_epoch", "all", 2.0, "epoch"),
        Metric("train", "latent_dim", "all", float(cfg.model.latent_dim), "1"),
    ]
    finite = bool(np.isfinite(losses).all())
    write_metrics(folder.metrics("test"), key, about + (measured(key) if finite else []))
    write_arrays(folder.events("test"), **(event_errors(key) if finite else {}))
    write_arrays(folder.downstream, **(downstream_scores(key) if finite else {}))
    folder.settings.write_text(yaml.safe_dump(cfg.model_dump()))
    folder.model.touch()  # there, as after a training, and not read here


def measured(key):
    """Return what an evaluation writes, of events and objects drawn at random."""
    rng = np.random.default_rng(key.seed)
    true = rng.normal(0, 60, (NUM_EVENTS, 2))
    objects = rng.uniform(1, 2, (NUM_OBJECTS, 4))
    made = objects * rng.normal(1, 0.01, objects.shape)
    types = rng.integers(1, 4, NUM_OBJECTS).astype(np.uint8)
    errors = event_errors(key)
    by_source = {"head": "head_error", "probe": "probe_error", "reco_objects": "reco_objects_error"}
    rows = [
        Metric("test", "rec_tokens", "all", 0.1 * (1 + key.globals_beta), "1"),
        *token_metrics(made, objects, types, ("jet", "b-jet", "e+")),
    ]
    for source, name in by_source.items():
        rows.append(Metric("test", "rec_globals", source, float(errors[name].mean()), "1"))
        predicted = 0.7 * true + rng.normal(0, 20, true.shape)
        rows += [r for r in met_metrics(source, predicted, true, 60) if r.metric != "rec_globals"]
    return rows


def event_errors(key):
    """Return errors per event of the metrics: rec_tokens 0.1 (1 + globals_beta), probe 0.4."""
    rng = np.random.default_rng(key.seed)
    num_tokens = np.full(NUM_EVENTS, 2.0)
    spread = rng.uniform(0.9, 1.1, NUM_EVENTS)
    spread /= spread.mean()
    return {
        "sse_tokens": 0.1 * (1 + key.globals_beta) * num_tokens * spread,
        "num_tokens": num_tokens,
        "head_error": 0.5 * spread,
        "probe_error": 0.4 * spread,
        "reco_objects_error": 0.3 * spread,
    }


def is_signal():
    """Return which events are signal: every second one."""
    return np.arange(NUM_EVENTS) % 2 == 0


def downstream_scores(key):
    """Return a classifier's outputs: worse on codes or latents than on reconstructed objects."""
    rng = np.random.default_rng(key.seed)
    noise, signal = rng.normal(size=(2, NUM_EVENTS)), is_signal()
    return {
        "reconstructed": noise[0] + 2.0 * signal,
        "encoded": noise[0] + noise[1] + 2.0 * signal,
    }


def plant_downstream(folder, num_seeds=3):
    """Write a classifier's outputs on the original events."""
    for seed in range(num_seeds):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=NUM_EVENTS) + 2.1 * is_signal()
        path = folder / f"downstream/seed_{seed}.npz"
        write_arrays(path, original=scores, is_signal=is_signal().astype(float))


def plant_baselines(folder):
    """Write the facts and errors per event of a data set."""
    rng = np.random.default_rng(9)
    true = rng.normal(0, 60, (NUM_EVENTS, 2))
    rows = [
        row
        for name, response in BASELINES.items()
        for row in met_metrics(name, response * true + rng.normal(0, 15, true.shape), true, 60)
    ]
    write_metrics(folder / "baselines.csv", None, rows)
    known = {"linear_fit_error": 0.3, "training_mean_error": 1.0}
    errors = {name: np.full(NUM_EVENTS, error) for name, error in known.items()}
    write_arrays(folder / "events_test.npz", **errors)
    plant_downstream(folder)


def plant_grid(folder, grid):
    """Write runs/ and the baselines of a finished study; return its settings."""
    settings = Settings(**grid.model_dump())
    for key in settings.runs:
        plant_run(folder, settings, key)
    plant_baselines(folder)
    return settings


def write_tables(folder, grid):
    """Write summary.csv, comparison.csv and the verdict from the facts of all runs."""
    collect(grid, folder, folder / "baselines.csv", folder / "summary.csv", ())
    compare(folder, folder, CompareSettings(), "generated")
