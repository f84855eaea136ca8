"""Training of one run: packed events and a cfg.yaml in, model.pt and facts out.

    python -m globals_heads train results/runs/vq/beta_1/seed_0 --data results/data/.../packed.h5

`train` is the step, `fit` the whole training, `run_epoch` one epoch with the steps of Adam. The
loss is in loss.py, the model in model.py.
"""

import copy
import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder, write_epochs
from globals_heads.packed import PackedData
from globals_heads.provenance import peak_memory_mib
from globals_heads.settings import RunSettings, TrainSettings
from globals_heads.status import update_record
from globals_heads.train.batches import batches
from globals_heads.train.checkpoint import Checkpoint, TrainingState
from globals_heads.train.loss import Loss
from globals_heads.train.model import TokenAutoencoder
from globals_heads.train.model_file import TrainedModel, save_model

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
        The run's files.
    threads
        CPU threads; on one machine the same number gives the same weights, bit for bit.
    checkpoint
        Where to go on from, and where to save on the way. It stays there after the training.
    """
    state = fit(settings, data, threads, checkpoint, folder)
    for split, epochs in state.history.items():
        write_epochs(folder.metrics(split), settings.key, epochs)
    diverged = has_diverged(state)
    save_model(
        folder.model, TrainedModel(state.model, settings, data.info, state.best_epoch, diverged)
    )


def fit(
    settings: RunSettings,
    data: PackedData,
    threads: int,
    checkpoint: Checkpoint | None = None,
    folder: RunFolder | None = None,
    tokens_weight: float = 1.0,
) -> TrainingState:
    """Train a model and return it as it was in its best epoch.

    A loss that is not finite ends the training at once; the facts then end with that epoch.

    Parameters
    ----------
    settings, data, threads, checkpoint
        As in `train`.
    folder
        The run whose status record is written after each epoch; None writes none.
    tokens_weight
        Weight of rec_tokens in the loss; 0 trains a network for the globals alone.

    Returns
    -------
    TrainingState
        With the model of the best epoch, and the history of all.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    state, loss = new_state(settings, data, tokens_weight)
    if checkpoint:
        checkpoint.resume(state)

    # Its own generator, so that every latent space sees the events of a seed in the same order.
    shuffle = np.random.default_rng(settings.seed)
    for epoch in range(1, state.epoch):  # finished before an interruption
        shuffle.permutation(data.train.num_events)
        report_epoch(state, epoch, settings.epochs, folder)
    while state.epoch <= settings.epochs and not has_diverged(state):
        order = shuffle.permutation(data.train.num_events)
        train_facts, val_facts = run_epoch(state, loss, data, order, settings, checkpoint)
        state.history["train"].append(train_facts)
        state.history["val"].append(val_facts)
        if not has_diverged(state) and val_facts["loss"] < state.best_loss:
            state.best_epoch, state.best_loss = state.epoch, val_facts["loss"]
            state.best_weights = copy.deepcopy(state.model.state_dict())
        report_epoch(state, state.epoch, settings.epochs, folder)

        state.epoch, state.step, state.sums = state.epoch + 1, 0, loss.zero_sums()
        state.epoch_started = time.perf_counter()
        if checkpoint:
            checkpoint.save(state)

    if has_diverged(state):
        print(f"diverged in epoch {state.epoch - 1}: the loss is not finite", flush=True)
    state.model.load_state_dict(state.best_weights)
    return state


def new_state(
    settings: RunSettings, data: PackedData, tokens_weight: float = 1.0
) -> tuple[TrainingState, Loss]:
    """Return a training before its first step, and its loss; the arguments are those of `fit`."""
    torch.manual_seed(settings.seed)
    device = choose_device(settings.train.device)
    num_steps = math.ceil(data.train.num_events / settings.train.batch_size)
    tokens_per_batch = len(data.train.features) / num_steps
    model = TokenAutoencoder(settings, data.info, tokens_per_batch).to(device)
    loss = Loss(settings, data.info, model, tokens_weight)
    state = TrainingState(
        model,
        torch.optim.Adam(model.parameters(), lr=settings.train.learning_rate, fused=True),
        loss.zero_sums(),
        grad_norms=torch.zeros(num_steps, device=device),
    )
    return state, loss


def run_epoch(
    state: TrainingState,
    loss: Loss,
    data: PackedData,
    order: NDArray[np.int64],
    settings: RunSettings,
    checkpoint: Checkpoint | None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Take the steps that are left of the present epoch, then measure the validation split.

    Parameters
    ----------
    state
        The training; an epoch that was interrupted goes on after its last step.
    loss, data, settings, checkpoint
        As in `fit`.
    order
        The order of the training events in this epoch, shape (N,).

    Returns
    -------
    tuple
        The epoch's facts of the splits train and val.
    """
    model, optimizer = state.model, state.optimizer
    lr = learning_rate(settings.train, state.epoch, settings.epochs)
    for group in optimizer.param_groups:
        group["lr"] = lr
    max_norm = settings.train.clip_norm or math.inf

    model.train()
    steps = batches(data.train, settings.train.batch_size, loss.device, order, state.step)
    # The bar shows on a terminal only.
    options = {"total": len(state.grad_norms), "initial": state.step, "leave": False}
    for batch in tqdm(steps, f"epoch {state.epoch}", disable=None, **options):
        reconstruction = model(batch)
        total = loss(batch, reconstruction, state.sums)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        state.grad_norms[state.step] = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        state.step += 1
        if checkpoint:
            checkpoint.save_if_due(state)
    train_time = time.perf_counter() - state.epoch_started

    model.eval()
    val_sums = loss.zero_sums()
    with torch.inference_mode():
        for batch in batches(data.val, EVENTS_PER_EVALUATION_BATCH, loss.device):
            loss(batch, model(batch), val_sums)
            if checkpoint:
                checkpoint.save_if_due(state)

    keys = {"epoch": state.epoch, "lr": lr}
    train_facts = {
        **keys,
        **loss.facts(state.sums),
        "grad_norm": float(state.grad_norms.mean()),
        "clipped_fraction": float((state.grad_norms > max_norm).float().mean()),
        "epoch_time_s": time.perf_counter() - state.epoch_started,
        "throughput": data.train.num_events / train_time,
        "peak_memory_mib": peak_memory_mib(),
    }
    return train_facts, keys | loss.facts(val_sums)


def has_diverged(state: TrainingState) -> bool:
    """Return whether the loss of the last finished epoch is not finite."""
    return any(not math.isfinite(epochs[-1]["loss"]) for epochs in state.history.values() if epochs)


def report_epoch(
    state: TrainingState, epoch: int, num_epochs: int, folder: RunFolder | None
) -> None:
    """Print the line of run.log of a finished epoch; put the newest into the status record."""
    train_facts, val_facts = (state.history[split][epoch - 1] for split in ("train", "val"))
    shown = ("rec_tokens", "rec_globals", "perplexity")
    numbers = {"val_loss": val_facts["loss"]}
    numbers |= {name: val_facts[name] for name in shown if name in val_facts}
    numbers |= {"train_loss": train_facts["loss"], "clipped": train_facts["clipped_fraction"]}
    text = " ".join(f"{name}={_plain(value)}" for name, value in numbers.items())
    speed = f"{train_facts['throughput']:.0f} events/s, {train_facts['epoch_time_s']:.3g} s/epoch"
    print(f"[{epoch}/{num_epochs}] {text} {speed}", flush=True)
    if folder and epoch == len(state.history["val"]):
        update_record(
            folder,
            epoch=epoch,
            epochs=num_epochs,
            val_loss=val_facts["loss"],
            throughput=train_facts["throughput"],
            epoch_time_s=train_facts["epoch_time_s"],
            diverged=has_diverged(state),
        )


def _plain(value: float) -> str:
    """Return a decimal number of four digits without an exponent, which `sort -n` cannot read."""
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


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
