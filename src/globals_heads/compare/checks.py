"""Sanity checks: can these runs be compared at all? In plain words, before any claim."""

import math
from collections.abc import Sized
from typing import NamedTuple

from globals_heads.compare.results import Results
from globals_heads.settings import format_beta

MOSTLY_CLIPPED = 0.5


class Check(NamedTuple):
    """One check: its question, whether all is well, and what was found."""

    question: str
    passed: bool
    finding: str


def sanity_checks(evidence: Results) -> list[Check]:
    """Return all sanity checks."""
    return [
        _no_holes(evidence),
        _betas_differ(evidence),
        _trained_alike(evidence),
        _no_twins(evidence),
        _data_as_expected(evidence),
        _numbers_agree(evidence),
        _converged(evidence),
        _clipping(evidence),
    ]


def _listed(names: list[str], limit: int = 9) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _of_runs(
    question: str, runs: Sized, wrong: list[str], good: str, consequence: str = ""
) -> Check:
    """Return a check of `runs`, which without any run says nothing and so is not passed."""
    if not len(runs):
        return Check(question, False, "no run to look at")
    return Check(question, not wrong, _listed(wrong) + consequence if wrong else good)


def _no_holes(evidence: Results) -> Check:
    holes = [
        f"{cell.name}/seed_{seed} {status}"
        for cell, statuses in evidence.statuses.items()
        for seed, status in enumerate(statuses)
        if status not in (None, "ok")
    ]
    found = f"{len(evidence.errors)} runs finished"
    return Check(
        "Did every run finish?",
        not holes,
        f"{found}; holes: {_listed(holes)}" if holes else f"{found}, no hole",
    )


def _betas_differ(evidence: Results) -> Check:
    wrong, used = [], set()
    for run, beta in zip(evidence.table["run"], evidence.table["globals_beta"], strict=True):
        if run in evidence.settings:
            trained = format_beta(evidence.settings[run].globals_beta)
            used.add(trained)
            if trained != beta:
                wrong.append(f"{run} was trained with {trained}")
    betas = ", ".join(sorted(used, key=float))
    finding = f"the runs' cfg.yaml hold {betas or 'nothing'}, each where the table says so"
    return Check(
        "Does globals_beta really differ between the runs?",
        not wrong and len(used) > 1,
        _listed(wrong) if wrong else finding,
    )


def _trained_alike(evidence: Results) -> Check:
    """Compare what runs were told and did: an interrupted change of settings leaves both kinds."""
    epochs = dict(zip(evidence.table["run"], evidence.table["epochs"], strict=True))
    first: dict[tuple[str, ...], tuple[object, str]] = {}
    wrong = []
    for run, cfg in evidence.settings.items():
        if run in evidence.errors and epochs[run] != cfg.epochs:
            wrong.append(f"{run} has {epochs[run]:.0f} epochs, its cfg.yaml says {cfg.epochs}")
        # Each latent space has bottleneck settings of its own.
        for group, told in (
            ((cfg.variant,), (cfg.epochs, cfg.model, cfg.train)),
            ((cfg.variant, cfg.latent_space), cfg.bottleneck),
        ):
            expected, other = first.setdefault(group, (told, run))
            if told != expected:
                wrong.append(f"the cfg.yaml of {run} differs from that of {other}")
    return _of_runs(
        "Were all runs of the grid, and of each variant, trained alike?",
        evidence.settings,
        wrong,
        "they differ in the axes of the grid only",
    )


def _no_twins(evidence: Results) -> Check:
    first: dict[str, str] = {}
    twins = []
    for run, errors in evidence.errors.items():
        other = first.setdefault(errors.digest, run)
        if other != run:
            twins.append(f"{run} equals {other}")
    return _of_runs(
        "Are all runs different?", evidence.errors, twins, "no two runs make the same errors"
    )


def _data_as_expected(evidence: Results) -> Check:
    question = "Are the data as expected?"
    if not evidence.errors:
        return Check(question, False, "no run finished")
    errors = next(iter(evidence.errors.values()))
    baseline = errors.metrics["linear_fit_rec_globals"]
    num_events = len(errors.influences["rec_tokens"])
    finding = (
        f"all runs share {num_events} test events; the one-parameter fit to the vector sum of the"
        f" objects leaves {baseline:.3g} of the variance of MET"
    )
    if not evidence.met_is_readable:
        finding += ", no less than the training mean: nothing of MET can be read from the objects"
    return Check(question, evidence.met_is_readable, finding)


def _numbers_agree(evidence: Results) -> Check:
    wrong = []
    for row in evidence.table.to_dict("records"):
        errors = evidence.errors.get(row["run"])
        for metric, value in errors.metrics.items() if errors else ():
            if not math.isclose(row[metric], value, rel_tol=1e-5, abs_tol=1e-12):
                wrong.append(f"{metric} of {row['run']}: {row[metric]:.6g} and {value:.6g}")
    return _of_runs(
        "Do the summary and the errors per event give the same numbers?",
        evidence.errors,
        wrong,
        "they do, for every run",
    )


def _converged(evidence: Results) -> Check:
    table = evidence.table[evidence.table["status"] == "ok"]
    late = list(table.loc[table["best_epoch"] >= table["epochs"], "run"])
    return _of_runs(
        "Did training converge?",
        table["run"],
        [f"the best epoch of {run} is the last one" for run in late],
        "the best epoch is never the last one",
    )


def _clipping(evidence: Results) -> Check:
    means = {
        cell: evidence.contrast("clipped_fraction", {cell: 1.0}).mean for cell in evidence.statuses
    }
    known = {cell.name: mean for cell, mean in means.items() if not math.isnan(mean)}
    clipped = {name: mean for name, mean in known.items() if mean > MOSTLY_CLIPPED}
    most = max(known, key=known.__getitem__, default="")
    return _of_runs(
        "Are most training steps free of clipping?",
        known,
        [f"{name} ({mean:.0%} clipped)" for name, mean in clipped.items()],
        f"{most} has most clipped steps, {known.get(most, 0):.0%}",
        ": part of what the tokens pay may be the optimiser's noise; the controls without clipping"
        " tell",
    )
