"""Planted results: cells whose true numbers are known, in memory and as files of a study."""

import math

import numpy as np
import pandas as pd
import yaml

from globals_heads.compare.answers import answer_all
from globals_heads.compare.decision_matrix import decision_matrix
from globals_heads.compare.questions import claims
from globals_heads.compare.results import Cell, Results
from globals_heads.facts import RunFolder
from globals_heads.settings import CompareSettings, RunKey, Settings, format_beta

SETTINGS = CompareSettings()
SPACES, BETAS = ("none", "linear", "vq"), ("0", "1", "10")
CELLS = [Cell(space, beta) for beta in BETAS for space in SPACES]
LINEAR_FIT = 0.265
NUM_EVENTS = 60
# ln T and G of the published grid, roughly as measured.
LN_T = dict(zip(CELLS, [-11.3, -11.2, -3.4, -6.5, -6.3, -3.1, -5.8, -5.5, -2.6], strict=True))
G = dict(zip(CELLS, [0.68, 0.66, 0.66, 0.28, 0.28, 0.45, 0.27, 0.27, 0.42], strict=True))
EMPTY = pd.DataFrame(columns=["run", "globals_beta", "status", "best_epoch", "epochs"])


def equal(value):
    """Return the same truth for every cell of the plain grid."""
    return dict.fromkeys(CELLS, value)


FLAT = equal(0.3)


def by_beta(*values):
    """Return a truth that depends on globals_beta alone."""
    return {cell: values[("0", "1", "10").index(cell.globals_beta)] for cell in CELLS}


def by_space(none, linear, vq):
    """Return a truth that depends on the latent space alone."""
    return {
        cell: dict(zip(SPACES, (none, linear, vq), strict=True))[cell.latent_space]
        for cell in CELLS
    }


def but(truth, cells, value):
    """Return `truth` with other values in `cells`, given as (latent_space, globals_beta)."""
    return truth | {Cell(*cell): value for cell in cells}


def only(*cells):
    """Return the measured truths of ln rec_tokens in `cells` alone."""
    return {Cell(*cell): LN_T[Cell(*cell)] for cell in cells}


def controls(price, wide_price):
    """Return truths with a trade-off, and controls with these prices in ln rec_tokens."""
    ln_t, g = by_beta(0, 1, 2), by_beta(0.6, 0.3, 0.3)
    for variant, value in (("control", price), ("control_wide", wide_price)):
        for cell in CELLS:
            ln_t[cell._replace(variant=variant)] = value * (cell.globals_beta == "10")
            g[cell._replace(variant=variant)] = 0.3
    return ln_t, g


def questions_of(results, claim):
    """Return the questions of a claim; 3' comes with 3, whose answer it reads."""
    if claim.startswith("M"):
        known = [choice.question for choice in decision_matrix(results, SETTINGS)]
    else:
        known = claims(results, SETTINGS)
    return [question for question in known if question.claim in (claim, claim.rstrip("'"))]


def answered(results, claim, questions=None):
    """Return the answers to one claim, by row."""
    questions = questions or questions_of(results, claim)
    answers = answer_all(results, questions, SETTINGS.margin_physics)
    return {a.question.row: a for a in answers if a.question.claim == claim}


def said(results, claim, questions=None):
    """Return the set of answers to all rows of a claim."""
    return {answer.answer for answer in answered(results, claim, questions).values()}


def with_lost_run(found, cell, status="diverged"):
    """Return the results `found` without the last run of `cell`."""
    statuses = dict(found.statuses) | {cell: (*found.statuses[cell][:-1], status)}
    numbers = {
        metric: {
            c: np.where(np.array([s == "ok" for s in statuses[c]]), row, math.nan)
            for c, row in rows.items()
        }
        for metric, rows in found.numbers.items()
    }
    return Results(statuses, numbers, found.influences, found.table)


def planted(ln_t, g, noise_t, noise_g, influence_t=None, influence_g=None, **others):
    """Return results of cells with the truths `ln_t` and `g` plus noise per seed, (cells, n).

    `influence_t` and `influence_g` are the influence of each event, shape (cells, N).
    """
    cells = list(ln_t)
    n = noise_t.shape[1]
    t = np.array(list(ln_t.values()))[:, None] + noise_t
    g = np.array([g[cell] for cell in cells])[:, None] + noise_g
    constant = np.ones_like(t)
    numbers = {
        "ln_rec_tokens": t,
        "rec_tokens": np.exp(t),
        "val_loss": np.exp(t),
        "ln_val_loss": t,
        "probe_rec_globals": g,
        "skill": (1 - g) / (1 - LINEAR_FIT),
        "linear_fit_gain": LINEAR_FIT - g,
        "reco_objects_rec_globals": g,
        "rec_globals": g,
        "code_use": 0.8 * constant,
        "ln_throughput": math.log(1e4) * constant,
        "epochs_after_best": 2 * constant,
        "clipped_fraction": 0 * constant,
    }
    for name, truth in others.items():
        base = numbers.get(name, constant)
        numbers[name] = np.stack(
            [np.broadcast_to(truth.get(cell, base[i]), n) for i, cell in enumerate(cells)]
        )
    influences = {}
    if influence_t is not None:
        influences = {
            "ln_rec_tokens": influence_t,
            "probe_rec_globals": influence_g,
            "skill": -influence_g / (1 - LINEAR_FIT),
            "linear_fit_gain": -influence_g,
        }
    return Results(
        statuses={cell: ("ok",) * n for cell in cells},
        numbers={name: dict(zip(cells, rows, strict=True)) for name, rows in numbers.items()},
        influences={
            # All seeds of a cell share the influence of an event here.
            name: {
                c: np.broadcast_to(row, (n, len(row))) for c, row in zip(cells, rows, strict=True)
            }
            for name, rows in influences.items()
        },
        table=EMPTY,
    )


def quiet(ln_t, g, num_seeds=5, spread=1e-3, **others):
    """Return results with a small spread between seeds that is balanced in every difference."""
    pattern = np.linspace(-1, 1, num_seeds) if num_seeds > 1 else np.zeros(1)
    # A spread that grows from cell to cell leaves every difference some of it, and its mean alone.
    noise = np.stack([spread * (i + 1) * pattern for i in range(len(ln_t))])
    return planted(
        ln_t, g, noise, noise, np.zeros((len(ln_t), 4)), np.zeros((len(ln_t), 4)), **others
    )


NOISES = {
    "normal": lambda rng, shape: rng.normal(0, 1, shape),
    "t4": lambda rng, shape: rng.standard_t(4, shape) / math.sqrt(2),
    "skewed": lambda rng, shape: rng.exponential(1, shape) - 1,
}


def drawn(rng, ln_t, g, num_seeds, noise="normal", *, event_noise=True):
    """Return results with noise between seeds and, if wanted, between test events.

    Seeds move each cell on its own; another test split moves all seeds of a cell alike, and all
    cells together even more, which cancels in their differences.
    """
    draw = NOISES[noise]
    num_cells, events = len(ln_t), float(event_noise) * math.sqrt(NUM_EVENTS)
    parts = []
    for scale in (0.1, 0.0025):  # of ln T and of G, between seeds as measured
        errors = draw(rng, (num_cells, NUM_EVENTS)) + 3 * draw(rng, NUM_EVENTS)
        errors = errors * scale * events
        shift = errors.mean(axis=1, keepdims=True)
        parts.append((draw(rng, (num_cells, num_seeds)) * scale + shift, errors - shift))
    (noise_t, influence_t), (noise_g, influence_g) = parts
    return planted(ln_t, g, noise_t, noise_g, influence_t, influence_g)


def plant_study(folder, num_seeds=3, seed=0):
    """Write summary.csv, runs/ and events_test.npz of a study that looks like a measured one."""
    rng = np.random.default_rng(seed)
    num_tokens = rng.integers(4, 15, NUM_EVENTS).astype(float)
    hard = rng.gamma(4, 0.25, NUM_EVENTS)
    baseline = LINEAR_FIT * hard / hard.mean()
    known = {"linear_fit_error": baseline, "training_mean_error": baseline / LINEAR_FIT}
    np.savez(folder / "events_test.npz", **known)
    settings, rows = Settings(seeds=num_seeds), []
    for number, key in enumerate(settings.runs):
        cell = Cell(key.latent_space, format_beta(key.globals_beta))
        run = RunFolder.of(folder, key.name)
        run.events("test").parent.mkdir(parents=True)
        run.settings.write_text(yaml.safe_dump(settings.run_settings(key).model_dump()))
        errors = {
            "sse_tokens": math.exp(LN_T[cell]) * num_tokens * rng.gamma(9, 1 / 9, NUM_EVENTS),
            "num_tokens": num_tokens,
            "probe_error": G[cell] * hard * rng.gamma(2000, 1 / 2000, NUM_EVENTS),
            "head_error": G[cell] * hard,
            "reco_objects_error": 0.9 * G[cell] * hard + 0.01 * key.seed,
        }
        np.savez(run.events("test"), **errors)
        vq = key.latent_space == "vq"
        rows.append(
            {
                "number": number,
                **key.columns,
                "status": "ok",
                "epochs": 20,
                "best_epoch": 15,
                "epoch_time_s": 1.5,
                "val_loss": math.exp(LN_T[cell]) + key.globals_beta * G[cell],
                "rec_tokens": errors["sse_tokens"].sum() / num_tokens.sum(),
                "rec_globals": errors["head_error"].mean(),
                "probe_rec_globals": errors["probe_error"].mean(),
                "reco_objects_rec_globals": errors["reco_objects_error"].mean(),
                "perplexity": 400.0 if vq else math.nan,
                "pt_relative_sigma68": 0.002 + 0.02 * key.globals_beta + 0.001 * rng.random(),
                "token_dr_median": 0.002,
                "clipped_fraction": 0.9 if key.globals_beta == 10 else 0.0,
                "linear_fit_rec_globals": baseline.mean(),
                "throughput": 10_000 + 100 * rng.random(),
            }
        )
    write_summary(folder, rows)
    return rows


def hide_met(folder, off_by):
    """Make the errors of the one-parameter fit as large as those of the training mean.

    `off_by` is the mean error: MET of these test events varies more or less than in training.
    """
    rng = np.random.default_rng(0)
    mean = off_by * rng.gamma(4, 0.25, NUM_EVENTS)
    fit = mean * rng.uniform(0.99, 1.01, NUM_EVENTS)
    np.savez(folder / "events_test.npz", linear_fit_error=fit, training_mean_error=mean)


def lose(rows, run, status="diverged"):
    """Return the rows of the summary with one run lost."""
    nothing = ("rec_tokens", "probe_rec_globals", "best_epoch", "clipped_fraction", "throughput")
    return change(rows, run, status=status, **dict.fromkeys(nothing, math.nan))


def change(rows, run, **values):
    """Return the rows of the summary with other values of one run."""
    return [row | values if row["run"] == run else row for row in rows]


def write_summary(folder, rows):
    """Write summary.csv the way `collect` does."""
    table = pd.DataFrame(rows)
    table.to_csv(folder / "summary.csv", index=False, float_format="%.9g", lineterminator="\n")


def key_of(cell, seed=0):
    """Return the run of a cell."""
    return RunKey(latent_space=cell.latent_space, globals_beta=float(cell.globals_beta), seed=seed)
