"""The decision matrix: for each priority, the cell one would guess and the best one measured.

Each guess is a question with one row, so answers.py says whether the data support it.
"""

import math
from typing import NamedTuple

from globals_heads.compare.questions import (
    Axes,
    Component,
    Question,
    above,
    below,
    difference,
    level,
)
from globals_heads.compare.results import GLOBALS, TOKENS, Cell, Results
from globals_heads.settings import DISCRETE, CompareSettings

MAX_LISTED = 2


class Choice(NamedTuple):
    """One line of the decision matrix.

    Attributes
    ----------
    question
        Is the guess as good as any other cell?
    guess
        The cell that one would take without data.
    best
        The measured best cell; None if no cell qualifies.
    rule
        How the best cell was found.
    left_out
        Which cells have a smaller token error than the best one, and why they do not qualify;
        empty if that is plain from the rule.
    """

    question: Question
    guess: Cell
    best: Cell | None
    rule: str
    left_out: str = ""


def decision_matrix(results: Results, settings: CompareSettings) -> list[Choice]:
    """Return the decision matrix.

    The guesses are the published ones; the smallest, standard and largest globals_beta stand for
    the 0, 1 and 10 of the published grid. A cell with a missing or diverged run is never the best.
    """
    axes, cells, complete = Axes.of(results), results.cells(), _complete(results)
    d_globals, d_tokens = settings.margin_globals, settings.margin_tokens_ln
    first, last = Cell("none", axes.off), Cell("linear", axes.emphasised)
    # Also where 1 is the smallest or largest weight and claim 2 takes another one for standard.
    weight = "1" if "1" in axes.betas else axes.standard
    # Ties in the globals error go to the smaller error of the tokens.
    lowest = min((results.mean(GLOBALS, cell) for cell in complete), default=math.nan)
    tied = [cell for cell in complete if results.mean(GLOBALS, cell) - lowest < d_globals]
    reconstruct = Question(
        "M1",
        "pure reconstruction",
        first.name,
        _not_worse(TOKENS, first, cells, d_tokens),
        needs=cells,
    )
    emphasise = Question(
        "M3",
        "emphasise globals",
        last.name,
        _not_worse(GLOBALS, last, cells, d_globals),
        needs=cells,
    )
    within = f" within {d_globals:g} of the smallest globals error"
    return [
        _choice(results, reconstruct, first, complete, ""),
        _balanced(results, settings, Cell("linear", weight)),
        _choice(results, emphasise, last, tied, within),
        _interpretable(results, settings, Cell("vq", weight)),
        _production(results, settings, Cell("linear", weight)),
    ]


def _balanced(results: Results, settings: CompareSettings, guess: Cell) -> Choice:
    """M2: the guess has the skill, and no cell with the skill has clearly better tokens."""
    skilled = _reaching(results, "skill", settings.min_skill)
    needed = _best_above(guess, skilled, "skill", settings.min_skill, settings)
    text = "balanced tokens and globals"
    question = Question("M2", text, guess.name, needed, needs=results.cells())
    conditions = (
        f" with at least {settings.min_skill:g} of the one-parameter fit's gain over the mean (the"
        " skill)"
    )
    return _choice(results, question, guess, skilled, conditions)


def _interpretable(results: Results, settings: CompareSettings, guess: Cell) -> Choice:
    """M4: the guess uses its codes, and no discrete cell that does has clearly better tokens."""
    limit = settings.min_code_use
    discrete = [cell for cell in results.cells() if cell.latent_space in DISCRETE]
    coded = [cell for cell in _reaching(results, "code_use", limit) if cell in discrete]
    needed = _best_above(guess, coded, "code_use", limit, settings)
    question = Question("M4", "interpretable (discrete)", guess.name, needed, needs=discrete)
    conditions = f" of discrete cells with perplexity at least {limit:g} of the number of codes"
    return _choice(results, question, guess, coded, conditions)


def _production(results: Results, settings: CompareSettings, guess: Cell) -> Choice:
    """M5: like M2; no run diverged, no best epoch is the last, speed near the fastest."""
    skilled = _reaching(results, "skill", settings.min_skill)
    speed, slowest = "ln_throughput", math.log(settings.min_relative_speed)
    fastest = max((results.mean(speed, cell) for cell in _complete(results)), default=math.nan)
    failures = {}
    for cell in skilled:
        slower = results.mean(speed, cell) - fastest
        text = f"too slow, {math.exp(slower):.2f} of the fastest cell's events/s"
        facts = [*_soundness(results, cell), (text, slower >= slowest)]
        failures[cell] = " and ".join(text for text, holds in facts if not holds)
    ready = [cell for cell in skilled if not failures[cell]]
    needed = [
        *_best_above(guess, skilled, "skill", settings.min_skill, settings),
        *(difference(speed, guess, c, above(slowest)) for c in results.cells() if c != guess),
    ]
    question = Question(
        "M5",
        "production baseline",
        guess.name,
        needed,
        needs=results.cells(),
        facts=_soundness(results, guess),
    )
    conditions = (
        f" with skill at least {settings.min_skill:g}, converged, at least"
        f" {settings.min_relative_speed:g} of the fastest cell's events/s"
    )
    choice = _choice(results, question, guess, ready, conditions)
    best = results.mean(TOKENS, choice.best) if choice.best else math.inf
    better = [
        f"{cell.words} ({why})"
        for cell, why in failures.items()
        if why and results.mean(TOKENS, cell) < best
    ]
    if not better:
        return choice
    more = [f"and {len(better) - MAX_LISTED} more"] if len(better) > MAX_LISTED else []
    return choice._replace(left_out=f"Left out: {'; '.join(better[:MAX_LISTED] + more)}")


def _best_above(
    guess: Cell, qualified: list[Cell], metric: str, limit: float, settings: CompareSettings
) -> list[Component]:
    """Return what makes a guess the best above `limit` of `metric`, as the `qualified` are."""
    not_worse = _not_worse(TOKENS, guess, qualified, settings.margin_tokens_ln)
    return [level(metric, guess, limit), *not_worse]


def _choice(
    results: Results, question: Question, guess: Cell, qualified: list[Cell], conditions: str
) -> Choice:
    """Return one line: of the `qualified` cells, the best has the smallest rec_tokens."""
    untested = ""
    if not results.met_is_readable and any(c.metric == "skill" for c in question.components):
        untested = "the one-parameter fit is not shown to beat the mean"
    elif guess not in question.needs:
        untested = "the guess is not in the grid"
    elif len(question.needs) < 2:
        untested = "there is nothing to compare it with"
    if untested:
        question = Question(question.claim, question.text, question.row, untested=untested)
    complete = _complete(results)
    others = [cell.words for cell in results.cells() if cell not in complete]
    names = "; ".join(others) if len(others) <= MAX_LISTED else f"{len(others)} cells"
    left_out = f"; left out for a missing or diverged run: {names}" if others else ""
    best = min(qualified, key=lambda cell: results.mean(TOKENS, cell), default=None)
    return Choice(question, guess, best, f"smallest token error{conditions}{left_out}")


def _complete(results: Results) -> list[Cell]:
    """Return the cells without any missing or diverged run."""
    return [cell for cell in results.cells() if not results.lost_runs(TOKENS, [cell])]


def _reaching(results: Results, metric: str, limit: float) -> list[Cell]:
    """Return the complete cells whose lower limit of `metric` is at least `limit`."""
    return [cell for cell in _complete(results) if results.lower_limit(metric, cell) >= limit]


def _not_worse(metric: str, guess: Cell, others: list[Cell], margin: float) -> list[Component]:
    """Return one component per other cell: the guess is not worse by the margin."""
    return [difference(metric, guess, cell, below(margin)) for cell in others if cell != guess]


def _soundness(results: Results, cell: Cell) -> list[tuple[str, bool]]:
    """Return what must hold of the runs of a production cell, worded as its failure."""
    epochs_left = results.numbers["epochs_after_best"].get(cell, ())
    num_last = sum(left <= 0 for left in epochs_left)
    num_seeds = sum(math.isfinite(left) for left in epochs_left)
    return [
        ("a run diverged", "diverged" not in results.statuses.get(cell, ())),
        (f"the best epoch is the last one in {num_last} of {num_seeds} seeds", not num_last),
    ]
