"""Training of one run: packed events and a cfg.yaml in, model.pt and facts out.

    python -m globals_heads train results/runs/vq/beta_1/seed_0 --data results/data/.../packed.h5

The total loss is  rec_tokens + commitment_weight * commit + globals_beta * rec_globals.  Facts
hold the components without their weights, so that cells with different weights can be compared.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder, write_epochs
from globals_heads.packed import Normalisation, PackedData, PackedSplit
from globals_heads.provenance import peak_memory_mib
from globals_heads.settings import RunSettings, TrainSettings
from globals_heads.train import codebook
from globals_heads.train.checkpoint import Checkpoint
from globals_heads.train.model import Batch, Reconstruction, TokenAutoencoder
from globals_heads.train.model_file import TrainedModel, save_model
from globals_heads.train.training_state import Sums, TrainingState

# Without gradients a batch is limited by memory alone; this many events stay in the cache.
EVENTS_PER_EVALUATION_BATCH = 1024


def train(
    settings: RunSettings,
    data: PackedData,
    folder: RunFolder,
    threads: int,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train one run and write its model.pt and facts.

    Parameters
    ----------
    settings
        Everything that decides the outcome, besides the data.
    data
        The packed events.
    folder
        Where the outputs go.
    threads
        CPU threads; on one machine the same number gives the same weights, bit for bit.
    checkpoint
        Where to go on from and what to save on the way. It outlives the training.
    """
    progress = fit(settings, data, threads, checkpoint)
    for split, epochs in progress.history.items():
        write_epochs(folder.metrics(split), settings.key, epochs)
    trained = TrainedModel(
        progress.model, settings, data.info, progress.best_epoch, diverged=progress.diverged
    )
    save_model(folder.model, trained)


def fit(
    settings: RunSettings,
    data: PackedData,
    threads: int,
    checkpoint: Checkpoint | None = None,
    tokens_weight: float = 1.0,
) -> TrainingState:
    """Train a model and return it as it was in its best epoch.

    A loss that is not finite ends the training at once; the facts then end with that epoch.

    Parameters
    ----------
    settings, data, threads, checkpoint
        As in `train`.
    tokens_weight
        Weight of rec_tokens in the loss; 0 trains a network for the globals alone.

    Returns
    -------
    TrainingState
        With the model of the best epoch, and the history of all.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.manual_seed(settings.seed)
    device = choose_device(settings.train.device)

    num_steps = math.ceil(data.train.num_events / settings.train.batch_size)
    tokens_per_batch = len(data.train.features) / num_steps
    model = TokenAutoencoder(settings, data.info, tokens_per_batch).to(device)
    loss = Loss(settings, data, model, device, tokens_weight)
    progress = TrainingState(
        model,
        torch.optim.Adam(model.parameters(), lr=settings.train.learning_rate, fused=True),
        # Its own generator, so that every latent space sees the events of a seed in the same order.
        shuffle=np.random.default_rng(settings.seed),
    )
    if checkpoint:
        checkpoint.resume(progress)

    def tick() -> None:
        if checkpoint:
            checkpoint.tick(progress)

    num_taken = (progress.epoch - 1) * num_steps + progress.step
    with tqdm(
        total=settings.epochs * num_steps, initial=num_taken, unit="step", disable=None
    ) as bar:
        for epoch in range(1, progress.epoch):
            report_epoch(progress, epoch, settings.epochs, bar)
        while progress.epoch <= settings.epochs and not progress.diverged:
            run_epoch(progress, loss, data, settings, bar, tick)
            report_epoch(progress, progress.epoch - 1, settings.epochs, bar)
            if checkpoint:
                checkpoint.save(progress)

    model.load_state_dict(progress.best_weights)
    return progress


def run_epoch(
    progress: TrainingState,
    loss: "Loss",
    data: PackedData,
    settings: RunSettings,
    bar: "tqdm[None]",
    tick: Callable[[], None],
) -> None:
    """Take what is left of the present epoch, measure it, and note its facts in `progress`.

    `tick` is called after every step and before every batch of the validation.
    """
    lr = learning_rate(settings.train, progress.epoch, settings.epochs)
    for group in progress.optimizer.param_groups:
        group["lr"] = lr
    # From a copy: an epoch that is taken up again draws the same order again.
    shuffle = copy.deepcopy(progress.shuffle)
    order = shuffle.permutation(data.train.num_events)
    train_facts = train_epoch(progress, loss, data.train, order, settings, bar, tick)
    train_time = time.perf_counter() - progress.started
    val_facts = evaluate_epoch(progress.model, loss, data.val, tick)

    common = {"epoch": progress.epoch, "lr": lr}
    timing = {
        "epoch_time_s": time.perf_counter() - progress.started,
        "throughput": data.train.num_events / train_time,
        "peak_memory_mib": peak_memory_mib(),
    }
    progress.finish_epoch(common | train_facts | timing, common | val_facts, shuffle)


def train_epoch(
    progress: TrainingState,
    loss: "Loss",
    split: PackedSplit,
    order: np.ndarray[tuple[int], np.dtype[np.int64]],
    settings: RunSettings,
    bar: "tqdm[None]",
    tick: Callable[[], None],
) -> dict[str, float]:
    """Take the steps that are left of a pass over `split` in this order; return its facts."""
    model, optimizer, sums = progress.model, progress.optimizer, progress.sums
    model.train()
    max_norm = settings.train.clip_norm or math.inf
    batch_size = settings.train.batch_size
    for batch in batches(split.gather(order), batch_size, loss.device, skip=progress.step):
        reconstruction = model(batch)
        total = loss(batch, reconstruction, sums)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        progress.grad_norms.append(nn.utils.clip_grad_norm_(model.parameters(), max_norm))
        optimizer.step()
        progress.step += 1
        bar.update()
        tick()
    norms = torch.stack(progress.grad_norms)
    return loss.facts(sums) | {
        "grad_norm": float(norms.mean()),
        "clipped_fraction": float((norms > max_norm).float().mean()),
    }


def report_epoch(progress: TrainingState, epoch: int, num_epochs: int, bar: "tqdm[None]") -> None:
    """Show one finished epoch: a line of run.log, or beside the bar of a terminal."""
    train_facts, val_facts = (progress.history[split][epoch - 1] for split in ("train", "val"))
    line = format_log_line(num_epochs, train_facts, val_facts)
    if bar.disable:
        print(line, flush=True)
    else:
        bar.set_postfix_str(line)
    if not math.isfinite(train_facts["loss"]) or not math.isfinite(val_facts["loss"]):
        print(f"diverged in epoch {epoch}: the loss is not finite", flush=True)


@torch.inference_mode()
def evaluate_epoch(
    model: TokenAutoencoder,
    loss: "Loss",
    split: PackedSplit,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the facts of `split` under the present weights; call `tick` before every batch."""
    model.eval()
    sums = Sums()
    for batch in batches(split, EVENTS_PER_EVALUATION_BATCH, loss.device):
        tick()
        loss(batch, model(batch), sums)
    return loss.facts(sums)


def batches(
    split: PackedSplit, num_events: int, device: torch.device, skip: int = 0
) -> Iterator[Batch]:
    """Yield `split` in batches of `num_events` events, in its own order, after the first `skip`.

    All conversion is done once for the split; a batch is a few slices.
    """
    counts = np.diff(split.offsets)
    event = np.repeat(np.arange(split.num_events) % num_events, counts)
    features, types, index, globals_ = (
        torch.from_numpy(np.array(array)).to(device)
        for array in (split.features, split.types.astype(np.int64), event, split.globals)
    )
    for first in range(skip * num_events, split.num_events, num_events):
        last = min(first + num_events, split.num_events)
        tokens = slice(int(split.offsets[first]), int(split.offsets[last]))
        yield Batch(features[tokens], types[tokens], index[tokens], globals_[first:last])


class Loss:
    """The trained loss, and the facts that come from its sums.

    Parameters
    ----------
    settings
        The run's settings: the weights.
    data
        The packed data: which columns are angles.
    model
        The model: what its bottleneck adds.
    device
        Where tensors live.
    tokens_weight
        Weight of rec_tokens.
    """

    def __init__(
        self,
        settings: RunSettings,
        data: PackedData,
        model: TokenAutoencoder,
        device: torch.device,
        tokens_weight: float = 1.0,
    ) -> None:
        self.device = device
        self.tokens_weight = tokens_weight
        self.globals_beta = settings.globals_beta
        self.commitment_weight = model.bottleneck.commitment_weight
        self.codebook_size = model.bottleneck.codebook_size
        self.feature_period = normalised_period(data.info.features, device)
        self.globals_period = normalised_period(data.info.globals, device)

    def __call__(self, batch: Batch, reconstruction: Reconstruction, sums: Sums) -> Tensor:
        """Return the total loss of a batch and add its components to `sums`."""
        rec_tokens = mean(
            squared_error(reconstruction.features - batch.features, self.feature_period)
        )
        rec_globals = mean(
            squared_error(reconstruction.globals - batch.globals, self.globals_period)
        )
        num_tokens, num_events = len(batch.features), len(batch.globals)
        sums.tokens = sums.tokens + rec_tokens.detach() * num_tokens
        sums.globals = sums.globals + rec_globals.detach() * num_events
        sums.num_tokens += num_tokens
        sums.num_events += num_events

        total = self.tokens_weight * rec_tokens + self.globals_beta * rec_globals
        if self.commitment_weight and reconstruction.commit is not None:
            sums.commit = sums.commit + reconstruction.commit.detach() * num_tokens
            total = total + self.commitment_weight * reconstruction.commit
        if reconstruction.codes is not None:
            sums.codes.append(reconstruction.codes)
        return total

    def facts(self, sums: Sums) -> dict[str, float]:
        """Return the components without weights, and the total that they were trained in."""
        facts = {
            "rec_tokens": float(sums.tokens) / sums.num_tokens,
            "rec_globals": float(sums.globals) / sums.num_events,
        }
        total = self.tokens_weight * facts["rec_tokens"]
        total += self.globals_beta * facts["rec_globals"]
        if self.commitment_weight:
            facts["commit"] = float(sums.commit) / sums.num_tokens
            total += self.commitment_weight * facts["commit"]
        if sums.codes and math.isfinite(total):  # codes of latents that are no numbers are none
            counts = code_counts(torch.cat(sums.codes).cpu().numpy(), self.codebook_size)
            facts["perplexity"] = codebook.perplexity(counts)
            facts["active_codes"] = codebook.active_codes(counts)
        return facts | {"loss": total}


def code_counts(
    codes: NDArray[np.int64], codebook_size: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return how often each code occurs, shape (Q, K), from codes of shape (n, Q)."""
    return np.stack([np.bincount(column, minlength=codebook_size) for column in codes.T])


def normalised_period(columns: Normalisation, device: torch.device) -> Tensor | None:
    """Return each column's period on the normalised scale, or None when no column is an angle.

    Columns that are no angles have an infinite period.
    """
    if not any(columns.period):
        return None
    period = [p / s if p else math.inf for p, s in zip(columns.period, columns.scale, strict=True)]
    return torch.tensor(period, device=device)


def squared_error(difference: Tensor, period: Tensor | None) -> Tensor:
    """Return the square of `difference` (..., C), angles taken the short way round."""
    if period is not None:
        turns = torch.round(difference.detach() / period)  # 0 where the period is infinite
        difference = difference - torch.where(turns == 0, 0, turns * period)
    return difference.square()


def mean(values: Tensor) -> Tensor:
    """Return the mean of all `values`, 0 for a batch of events without objects."""
    return values.sum() / max(values.numel(), 1)


def learning_rate(settings: TrainSettings, epoch: int, num_epochs: int) -> float:
    """Return the learning rate of `epoch`, counted from 1."""
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / num_epochs))


def choose_device(device: str) -> torch.device:
    """Return the device that the setting `device` means on this machine.

    Raises
    ------
    UserError
        If a GPU is asked for and torch sees none.
    """
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise UserError(
            f"The setting train.device is 'cuda', but torch {torch.__version__} sees no GPU here; "
            "set it to auto or cpu, or install a CUDA build of torch (README, 'Two commands')."
        )
    if device == "auto":
        device = "cuda" if gpu else "cpu"
    return torch.device(device)


def format_log_line(
    num_epochs: int, train_facts: dict[str, float], val_facts: dict[str, float]
) -> str:
    """Return one line of run.log."""
    shown = ("rec_tokens", "rec_globals", "perplexity")
    numbers = {"val_loss": val_facts["loss"]}
    numbers |= {name: val_facts[name] for name in shown if name in val_facts}
    numbers |= {"train_loss": train_facts["loss"], "clipped": train_facts["clipped_fraction"]}
    text = " ".join(f"{name}={value:.5g}" for name, value in numbers.items())
    speed = f"{train_facts['throughput']:.0f} events/s, {train_facts['epoch_time_s']:.3g} s/epoch"
    return f"[{train_facts['epoch']}/{num_epochs}] {text} {speed}"
