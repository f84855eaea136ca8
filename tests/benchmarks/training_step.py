"""How fast a training step is, beside a plain loop and beside its matrix products alone.

    OMP_NUM_THREADS=1 python tests/benchmarks/training_step.py results/data/generated/packed.h5

All are measured in one process on one thread, in turn, for several rounds; the table has medians.

study     the step of train.py, with its batches, its sums and its record of the gradient norm
plain     the same model and events, padded, from a DataLoader; four `.item()` a step
products  the step's matrix products on real objects: forward, gradients of inputs and weights,
          and the distances from the codes
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from globals_heads.packed import PackedData, open_packed
from globals_heads.settings import PackSettings, RunKey, RunSettings, Settings
from globals_heads.train.batches import Batch, batches
from globals_heads.train.bottlenecks import VectorQuantiser
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.train import new_state, run_epoch

CPU = torch.device("cpu")
CASES = ("none", "linear", "vq", "vq:rotation", "fsq")
ROTATION = {"bottleneck": {"vq": {"gradient": "rotation"}}}
STUDY = Settings(variants={"rotation": ROTATION})
MEASURED = ("study", "plain", "products")


def settings_of(case: str) -> RunSettings:
    """Return the default settings of a latent space at weight 1, or of a variant of it."""
    space, _, variant = case.partition(":")
    return STUDY.run_settings(RunKey(latent_space=space, globals_beta=1, seed=0, variant=variant))


class StudyStep:
    """The study's own epoch over a few batches."""

    def __init__(self, settings: RunSettings, data: PackedData) -> None:
        self.settings, self.data = settings, data
        self.state, self.loss = new_state(settings, data)

    def __call__(self, num_steps: int) -> float:
        """Return the seconds of a step, as the fact `throughput` has them."""
        order = np.arange(self.data.train.num_events)
        self.state.step, self.state.sums = 0, self.loss.zero_sums()
        self.state.epoch_started = time.perf_counter()
        train_facts, _ = run_epoch(self.state, self.loss, self.data, order, self.settings, None)
        return self.data.train.num_events / train_facts["throughput"] / num_steps


class PlainStep:
    """A loop as one writes it first: padded events, a DataLoader, numbers read in each step."""

    def __init__(self, settings: RunSettings, data: PackedData) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.model = TokenAutoencoder(settings, data.info, 1000.0)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        train = data.train
        real = np.arange(data.info.num_slots) < np.diff(train.offsets)[:, None]  # (N, 18)
        features = np.zeros((*real.shape, train.features.shape[1]), np.float32)
        types = np.zeros(real.shape, np.int64)
        features[real], types[real] = train.features, train.types
        events = TensorDataset(*map(torch.from_numpy, (features, types, np.array(train.globals))))
        self.loader = DataLoader(events, batch_size=settings.train.batch_size, shuffle=True)

    def __call__(self, num_steps: int) -> float:
        started = time.perf_counter()
        self.model.train()
        totals = np.zeros(4)
        for features, types, globals_ in self.loader:
            flat = types.flatten()
            event = torch.arange(len(types)).repeat_interleave(types.shape[1])
            reco = self.model(Batch(features.flatten(0, 1), flat, event, globals_))
            real = (flat > 0).float()
            errors = (reco.features - features.flatten(0, 1)).square().mean(1)
            rec_tokens = (errors * real).sum() / real.sum()
            rec_globals = (reco.globals - globals_).square().mean()
            commit = torch.zeros(()) if reco.commit is None else reco.commit
            total = rec_tokens + rec_globals + self.model.bottleneck.commitment_weight * commit
            self.optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            totals += [x.item() for x in (total, rec_tokens, rec_globals, commit)]
        return (time.perf_counter() - started) / num_steps


class Products:
    """The matrix products of a step, of the same sizes as its own."""

    def __init__(self, settings: RunSettings, data: PackedData) -> None:
        model = TokenAutoencoder(settings, data.info)
        heads = {id(module) for module in model.globals_head.modules()}
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        self.steps = []
        for batch in batches(data.train, settings.train.batch_size, CPU):
            operands = []
            for layer in linear:
                rows = len(batch.globals) if id(layer) in heads else len(batch.types)
                x, g = torch.randn(rows, layer.in_features), torch.randn(rows, layer.out_features)
                w = layer.weight.detach()
                operands += [(x, w.T), (g, w), (g.T, x)]
            if isinstance(model.bottleneck, VectorQuantiser):
                for codebook in model.bottleneck.codebooks:
                    z = torch.randn(len(batch.types), settings.model.latent_dim)
                    operands.append((z, codebook.codes.T))
            self.steps.append(operands)

    def __call__(self, num_steps: int) -> float:
        started = time.perf_counter()
        for operands in self.steps:
            for a, b in operands:
                torch.mm(a, b)
        return (time.perf_counter() - started) / num_steps


def measure(data: PackedData, num_rounds: int) -> list[dict[str, object]]:
    """Return a row of medians for each case."""
    num_steps = -(-data.train.num_events // STUDY.train.batch_size)
    loops = {
        case: [make(settings_of(case), data) for make in (StudyStep, PlainStep, Products)]
        for case in CASES
    }
    times = {(case, name): [] for case in CASES for name in MEASURED}
    for round_ in range(num_rounds + 1):
        for case in CASES:
            for name, loop in zip(MEASURED, loops[case], strict=True):
                seconds = loop(num_steps)
                if round_:  # the first one warms up
                    times[case, name].append(seconds)
    rows = []
    for case in CASES:
        study, plain, products = (np.array(times[case, name]) for name in MEASURED)
        rows.append(
            {
                "case": case,
                "study_ms": 1000 * statistics.median(study),
                "plain_ms": 1000 * statistics.median(plain),
                "products_ms": 1000 * statistics.median(products),
                "products_over_study": statistics.median(products / study),
                "plain_over_study": statistics.median(plain / study),
                "events_per_s": data.train.num_events / num_steps / statistics.median(study),
                "rounds": num_rounds,
            }
        )
    return rows


def first_events(data: PackedData, num_events: int) -> PackedData:
    """Return the first events of the training split, and hardly any to validate."""
    return replace(
        data,
        train=data.train.gather(np.arange(min(num_events, data.train.num_events))),
        val=data.val.gather(np.arange(1)),
    )


def main() -> None:
    """Measure, print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="packed file; default: random events")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="steps of each in each round")
    parser.add_argument("--csv", type=Path, default=Path("results/bench/training_step.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    num_events = options.steps * STUDY.train.batch_size
    if options.data:
        data = open_packed(options.data)
    else:
        sys.path.append(str(Path(__file__).parents[1] / "helpers"))
        from random_events import pack_random  # noqa: PLC0415

        folder = Path(tempfile.mkdtemp())
        data = pack_random(folder / "packed.h5", PackSettings(), num_events)
    rows = measure(first_events(data, num_events), options.rounds)
    print(f"{torch.get_num_threads()} thread, torch {torch.__version__}, ms a step (medians)")
    print(
        f"{'':12} {'study':>7} {'plain':>7} {'products':>8}  products/study  plain/study  events/s"
    )
    for row in rows:
        print(
            f"{row['case']:12} {row['study_ms']:7.2f} {row['plain_ms']:7.2f} "
            f"{row['products_ms']:8.2f} {row['products_over_study']:15.2f} "
            f"{row['plain_over_study']:12.2f} {row['events_per_s']:9.0f}"
        )
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    with options.csv.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
