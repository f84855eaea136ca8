"""Sanity checks: can these runs be compared at all? In plain words, before any claim."""

import math
from collections.abc import Sized
from typing import NamedTuple

import numpy as np

from globals_heads.compare.results import Results, in_words
from globals_heads.settings import format_beta

MOSTLY_CLIPPED = 0.5
MAX_LISTED = 6


class Check(NamedTuple):
    """One check: its question, whether all is well, and what was found."""

    question: str
    passed: bool
    finding: str


def sanity_checks(results: Results) -> list[Check]:
    """Return all sanity checks."""
    return [
        _all_finished(results),
        _betas_differ(results),
        _trained_alike(results),
        _all_different(results),
        _data_as_expected(results),
        _numbers_agree(results),
        _converged(results),
        _clipping(results),
    ]


def _check(question: str, runs: Sized, problems: list[str], good: str) -> Check:
    """Return a check of `runs`, which fails if there are problems or no runs."""
    if not len(runs):
        return Check(question, False, "no run to look at")
    return Check(question, not problems, _listed(problems) if problems else good)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _all_finished(results: Results) -> Check:
    total = sum(status is not None for found in results.statuses.values() for status in found)
    lost = results.lost_runs("rec_tokens", results.statuses)
    finding = f"all {total} runs finished"
    if lost:
        named = in_words(lost, most=MAX_LISTED)
        finding = f"{total - len(lost)} of {total} runs finished; {named}"
    return Check("Did every run finish?", not lost, finding)


def _betas_differ(results: Results) -> Check:
    problems, used = [], set()
    for run, beta in zip(results.table["run"], results.table["globals_beta"], strict=True):
        if run in results.settings:
            trained = format_beta(results.settings[run].globals_beta)
            used.add(trained)
            if trained != beta:
                problems.append(f"{run} was trained with {trained}")
    betas = ", ".join(sorted(used, key=float))
    good = f"the runs' cfg.yaml hold {betas or 'nothing'}, each where the table says so"
    return Check(
        "Does globals_beta really differ between the runs?",
        not problems and len(used) > 1,
        _listed(problems) if problems else good,
    )


def _trained_alike(results: Results) -> Check:
    """Compare settings and epochs; a change of settings that was interrupted leaves two kinds."""
    epochs = dict(zip(results.table["run"], results.table["epochs"], strict=True))
    first: dict[tuple[str, ...], tuple[object, str]] = {}
    problems = []
    for run, cfg in results.settings.items():
        if run in results.errors and epochs[run] != cfg.epochs:
            problems.append(f"{run} has {epochs[run]:.0f} epochs, its cfg.yaml says {cfg.epochs}")
        # Each latent space has bottleneck settings of its own.
        for group, settings in (
            ((cfg.variant,), (cfg.epochs, cfg.model, cfg.train)),
            ((cfg.variant, cfg.latent_space), cfg.bottleneck),
        ):
            expected, other = first.setdefault(group, (settings, run))
            if settings != expected:
                problems.append(f"the cfg.yaml of {run} differs from that of {other}")
    return _check(
        "Were all runs of the grid, and of each variant, trained alike?",
        results.settings,
        problems,
        "they differ in the axes of the grid only",
    )


def _all_different(results: Results) -> Check:
    first: dict[str, str] = {}
    twins = []
    for run, errors in results.errors.items():
        other = first.setdefault(errors.digest, run)
        if other != run:
            twins.append(f"{run} equals {other}")
    good = "no two runs make the same errors"
    return _check("Are all runs different?", results.errors, twins, good)


def _data_as_expected(results: Results) -> Check:
    question = "Are the data as expected?"
    if not results.errors:
        return Check(question, False, "no run finished")
    errors = next(iter(results.errors.values()))
    linear_fit = errors.metrics["linear_fit_rec_globals"]
    finding = (
        f"all runs share {len(errors.influences['rec_tokens'])} test events; the one-parameter fit"
        f" to the vector sum of the objects leaves {linear_fit:.3g} of the variance of MET"
    )
    if not results.met_is_readable:
        finding += ", no less than the training mean: nothing of MET can be read from the objects"
    return Check(question, results.met_is_readable, f"{finding}. {results.source}".strip(". "))


def _numbers_agree(results: Results) -> Check:
    problems = []
    for row in results.table.to_dict("records"):
        errors = results.errors.get(row["run"])
        for metric, value in errors.metrics.items() if errors else ():
            if not math.isclose(row[metric], value, rel_tol=1e-5, abs_tol=1e-12):
                problems.append(f"{metric} of {row['run']}: {row[metric]:.6g} and {value:.6g}")
    question = "Do the summary and the errors per event give the same numbers?"
    return _check(question, results.errors, problems, "they do, for every run")


def _converged(results: Results) -> Check:
    late, num_late, total = [], 0, 0
    for cell, left in results.numbers["epochs_after_best"].items():
        count, finished = int((left <= 0).sum()), int(np.isfinite(left).sum())
        late += [f"{cell.words} ({count} of {finished})"] if count else []
        num_late, total = num_late + count, total + finished
    check = _check(
        "Did training converge?", range(total), late, "the best epoch is never the last one"
    )
    if not late:
        return check
    share = f"the best epoch is the last one in {num_late} of {total} runs"
    return check._replace(finding=f"{share}: {check.finding}")


def _clipping(results: Results) -> Check:
    means = {cell.words: results.mean("clipped_fraction", cell) for cell in results.statuses}
    known = {words: mean for words, mean in means.items() if not math.isnan(mean)}
    most = max(known, key=known.__getitem__, default="")
    clipped = [f"{words} ({mean:.0%})" for words, mean in known.items() if mean > MOSTLY_CLIPPED]
    check = _check(
        "Are most training steps free of clipping?",
        known,
        clipped,
        f"{most} has most clipped steps, {known.get(most, 0):.0%}",
    )
    if not clipped:
        return check
    return check._replace(
        finding=f"mostly clipped are {check.finding}; part of what the tokens pay may be noise of"
        " the optimiser"
    )
