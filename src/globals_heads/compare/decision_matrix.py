"""The decision matrix: what to choose by, the cell one would guess, and the best one measured.

Each guess becomes a claim with one row, so the same engine says whether the data support it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from globals_heads.compare.questions import (
    CONTINUOUS,
    GLOBALS,
    TOKENS,
    Axes,
    Claim,
    Component,
    Row,
    difference,
    level,
)
from globals_heads.compare.results import Cell, Results
from globals_heads.settings import CompareSettings


class Priority(NamedTuple):
    """One line of the decision matrix.

    Attributes
    ----------
    claim
        That the guess is as good as any.
    guess
        The cell one would take without data.
    best
        The measured best cell; None if no cell qualifies.
    rule
        How it was found.
    """

    claim: Claim
    guess: Cell
    best: Cell | None
    rule: str


def priorities(evidence: Results, settings: CompareSettings) -> list[Priority]:
    """Return the decision matrix.

    The guesses are the published ones; smallest, standard and largest globals_beta stand for the
    0, 1 and 10 of the published grid. A cell with a hole is never named the best.
    """
    axes = Axes.of(evidence)
    d_globals, d_tokens = settings.margin_globals, settings.margin_tokens_ln
    cells = evidence.cells()
    whole = [cell for cell in cells if not evidence.lost_runs(TOKENS, [cell])]
    lost = [cell.name for cell in cells if cell not in whole]
    left_out = f"; left out for their holes: {', '.join(lost)}" if lost else ""
    skilled = [c for c in whole if lower_limit(evidence, "skill", c) >= settings.min_skill]
    discrete = [cell for cell in cells if cell.latent_space not in CONTINUOUS]
    coded = [
        cell
        for cell in discrete
        if cell in whole and lower_limit(evidence, "code_use", cell) >= settings.min_code_use
    ]
    min_ln_speed = math.log(settings.min_relative_speed)
    fastest = max((_mean(evidence, "ln_throughput", cell) for cell in whole), default=math.nan)
    ready = [
        cell
        for cell in skilled
        if all(holds for _, holds in _health(evidence, cell))
        and _mean(evidence, "ln_throughput", cell) - fastest
        >= math.log(settings.min_relative_speed)
    ]

    def make(
        number: str,
        text: str,
        guess: Cell,
        among: Sequence[Cell],
        components: Sequence[Component],
        best: tuple[Cell | None, str],
        facts: Sequence[tuple[str, bool]] = (),
    ) -> Priority:
        row = Row(guess.name, untested=f"the grid has no {guess.name} or nothing beside it")
        if not evidence.met_is_readable and any(c.metric == "skill" for c in components):
            row = Row(guess.name, untested="the one-parameter fit is not shown to beat the mean")
        elif guess in among and len(among) > 1:
            row = Row(guess.name, tuple(components), facts=tuple(facts), also_needs=tuple(among))
        cell, rule = best
        return Priority(Claim(number, text, (row,)), guess, cell, rule + left_out)

    def not_worse(
        metric: str, guess: Cell, others: Sequence[Cell], margin: float
    ) -> list[Component]:
        return [difference(metric, guess, cell, upper=margin) for cell in others if cell != guess]

    first, last = Cell("none", axes.off), Cell("linear", axes.emphasised)
    # Also where 1 is the smallest or largest weight and claim 2 takes another one for standard.
    weight = "1" if "1" in axes.betas else axes.standard
    standard, codes = Cell("linear", weight), Cell("vq", weight)
    # Ties in the globals error go to the smaller error of the tokens.
    lowest = min((_mean(evidence, GLOBALS, cell) for cell in whole), default=math.nan)
    tied = [cell for cell in whole if _mean(evidence, GLOBALS, cell) - lowest < d_globals]
    skill = f"skill at least {settings.min_skill:g} (lower limit)"
    balanced = [
        level("skill", standard, settings.min_skill),
        *not_worse(TOKENS, standard, skilled, d_tokens),
    ]
    return [
        make(
            "M1",
            "pure reconstruction",
            first,
            cells,
            not_worse(TOKENS, first, cells, d_tokens),
            (_smallest(evidence, whole), "smallest T"),
        ),
        make(
            "M2",
            "balanced tokens and globals",
            standard,
            cells,
            balanced,
            (_smallest(evidence, skilled), f"smallest T with {skill}"),
        ),
        make(
            "M3",
            "emphasise globals",
            last,
            cells,
            not_worse(GLOBALS, last, cells, d_globals),
            (
                _smallest(evidence, tied),
                f"smallest T within {d_globals:g} of the smallest G ({len(tied)} cells)",
            ),
        ),
        make(
            "M4",
            "interpretable (discrete)",
            codes,
            discrete,
            [
                level("code_use", codes, settings.min_code_use),
                *not_worse(TOKENS, codes, coded, d_tokens),
            ],
            (
                _smallest(evidence, coded),
                f"smallest T of discrete cells with perplexity at least"
                f" {settings.min_code_use:g} K (lower limit)",
            ),
        ),
        make(
            "M5",
            "production baseline",
            standard,
            cells,
            [
                *balanced,
                *(
                    difference("ln_throughput", standard, cell, min_ln_speed)
                    for cell in cells
                    if cell != standard
                ),
            ],
            (
                _smallest(evidence, ready),
                f"smallest T with {skill}, no diverged run, best epoch never the last, and at"
                f" least {settings.min_relative_speed:g} of the fastest cell's events/s",
            ),
            facts=_health(evidence, standard),
        ),
    ]


def lower_limit(evidence: Results, metric: str, cell: Cell) -> float:
    """Return the lower limit of a cell's metric: over seeds, else over events, else the mean."""
    value = evidence.contrast(metric, {cell: 1.0})
    limits = (value.interval().low, value.event_interval().low, value.mean)
    return next((limit for limit in limits if not math.isnan(limit)), math.nan)


def _mean(evidence: Results, metric: str, cell: Cell) -> float:
    return evidence.contrast(metric, {cell: 1.0}).mean


def _smallest(evidence: Results, cells: Sequence[Cell]) -> Cell | None:
    return min(cells, key=lambda cell: _mean(evidence, TOKENS, cell), default=None)


def _health(evidence: Results, cell: Cell) -> list[tuple[str, bool]]:
    """Return what must hold of a production cell besides its numbers; each as it fails."""
    statuses = evidence.statuses.get(cell, ())
    epochs_left = evidence.numbers["epochs_after_best"].get(cell, ())
    last = [seed for seed, left in enumerate(epochs_left) if left <= 0]
    return [
        (f"a run of {cell.name} diverged", "diverged" not in statuses),
        (f"the best epoch of {cell.name} is the last one (seeds {last})", not last),
    ]
