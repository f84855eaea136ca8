"""The rule that turns a question and the results into yes, no or not resolved.

- yes: every component's interval lies wholly inside its region. All components are needed, so
  nothing is adjusted inside a row (intersection-union test, Berger 1982); the rows of a claim share
  its error rate.
- no: some component's interval lies wholly outside. One of many is enough, so here all components
  of the claim share the error rate.
- not resolved: anything else; also if a needed run is missing or diverged, and always with fewer
  than three seeds.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from globals_heads.compare.questions import Component, Question, Region
from globals_heads.compare.results import GLOBALS, TOKENS, Results
from globals_heads.compare.statistics import ALPHA, MIN_SEEDS, Estimate, Interval

YES, NO, OPEN, TIE, UNTESTED = "yes", "no", "not resolved", "tie", "not tested"
NOT_CAPACITY = "trade-off, not capacity"
PHYSICS = ("pt_relative_sigma68", "token_dr_median")


class Measured(NamedTuple):
    """A component, measured.

    Attributes
    ----------
    component, estimate
        The component and its measured value.
    interval
        Decides a yes.
    strict_interval
        Decides a no.
    physically_relevant
        Whether reconstructed objects change visibly with it; None if the claim needs no change of
        the tokens' error.
    """

    component: Component
    estimate: Estimate
    interval: Interval
    strict_interval: Interval
    physically_relevant: bool | None

    @property
    def event_interval(self) -> Interval:
        """The hint: the interval of these very runs on other test events."""
        return self.estimate.event_interval()

    @property
    def region(self) -> Region:
        """The region in which the claim needs it."""
        return self.component.region

    @property
    def is_inside(self) -> bool:
        """Whether the interval lies wholly inside the region."""
        return self.interval.inside(*self.region)

    @property
    def is_outside(self) -> bool:
        """Whether the strict interval lies wholly outside the region."""
        return self.strict_interval.outside(*self.region)


class Answer(NamedTuple):
    """The answer to a question, and why; `hint` is empty unless there are too few seeds."""

    question: Question
    answer: str
    reason: str
    hint: str = ""
    measured: tuple[Measured, ...] = ()

    @property
    def physically_relevant(self) -> bool:
        """Whether a claim that holds changes the objects in every component about tokens."""
        relevant = [m.physically_relevant for m in self.measured if m.is_inside]
        return self.answer == YES and True in relevant and False not in relevant


def answer_all(
    results: Results, questions: Sequence[Question], margin_physics: float
) -> list[Answer]:
    """Return the answers to `questions`, in their order.

    Parameters
    ----------
    results
        What all runs measured.
    questions
        All rows of each claim; those of claim 3 before those of claim 3'.
    margin_physics
        The change of relative pT sigma68 or of median dR that is physically relevant.
    """
    answers: dict[tuple[str, str], Answer] = {}
    for question in questions:
        rows = [q for q in questions if q.claim == question.claim and not q.untested]
        answer = _answer(results, question, rows, margin_physics)
        if question.claim == "3'":
            answer = _beside_trade_off(answer, answers["3", question.row])
        answers[question.claim, question.row] = answer
    return list(answers.values())


def _answer(
    results: Results, question: Question, rows: Sequence[Question], margin_physics: float
) -> Answer:
    """Return the answer to one question; `rows` are all tested rows of its claim."""
    if question.untested:
        return Answer(question, UNTESTED, question.untested)
    measured = tuple(
        _measure(results, question, component, rows, margin_physics)
        for component in question.components
    )
    decide = vq_wins if question.claim == "6" else all_needed
    answer, reason, hint = decide(measured), "", ""
    failed = [text for text, holds in question.facts if not holds]
    without_result = results.runs_without_result(TOKENS, question.needs)
    for component in question.components:
        without_result += results.runs_without_result(component.metric, component.weights)
    num_seeds = min(m.estimate.num_seeds for m in measured)
    if failed and results.num_seeds >= MIN_SEEDS:
        # Before runs without a result: a run that diverged is an answer to "does no run diverge?".
        reason = "; ".join(failed if without_result else [*failed, _reason(answer, measured)])
        answer = NO
    elif without_result:
        names = ", ".join(dict.fromkeys(without_result))
        answer, reason = OPEN, f"missing or diverged: {names}"
    elif num_seeds < MIN_SEEDS:
        answer, reason = OPEN, f"{num_seeds} of at least {MIN_SEEDS} seeds"
        alone = [
            m._replace(interval=m.event_interval, strict_interval=m.event_interval)
            for m in measured
        ]
        hint = NO if failed else decide(alone)
        unknown = any(math.isnan(m.interval.low) for m in alone)
        if not failed and (hint == NO or not unknown):
            reason += f"; these runs alone: {_reason(hint, alone)}"
    elif question.claim.startswith("E") and all(
        m.interval.inside(-m.region.lower, m.region.lower) for m in measured
    ):
        answer = TIE
    return Answer(question, answer, reason or _reason(answer, measured), hint, measured)


def all_needed(measured: Sequence[Measured]) -> str:
    """Return yes, no or not resolved of a claim that needs every component."""
    if all(m.is_inside for m in measured):
        return YES
    return NO if any(m.is_outside for m in measured) else OPEN


def vq_wins(measured: Sequence[Measured]) -> str:
    """Return the answer to claim 6: vq is nowhere worse, and in one metric better than all."""
    not_worse = [m for m in measured if not _is_better(m.component)]
    better = [m for m in measured if _is_better(m.component)]
    ways = {
        all_needed([*not_worse, *(m for m in better if m.component.metric == metric)])
        for metric in (TOKENS, GLOBALS)
    }
    if YES in ways:
        return YES
    return NO if ways == {NO} else OPEN


def _is_better(component: Component) -> bool:
    """Return whether claim 6 needs this component in one of its two metrics only."""
    return component.region.upper < 0


def _beside_trade_off(answer: Answer, trade_off: Answer) -> Answer:
    """Return the answer to claim 3', which explains a trade-off, given the answer to claim 3."""
    if answer.answer == NO and trade_off.answer == YES:
        return answer._replace(answer=NOT_CAPACITY)
    if answer.answer == YES and trade_off.answer != YES:
        reason = f"claim 3 is {trade_off.answer} ({trade_off.reason})"
        return answer._replace(answer=OPEN, reason=reason)
    return answer


def _measure(
    results: Results,
    question: Question,
    component: Component,
    rows: Sequence[Question],
    margin_physics: float,
) -> Measured:
    estimate = results.contrast(component.metric, component.weights)
    # Either of the two metrics can make vq win, so they share the error rate of a yes.
    num_alternatives = 2 if question.claim == "6" and _is_better(component) else 1
    num_components = sum(len(row.components) for row in rows)
    return Measured(
        component,
        estimate,
        interval=estimate.interval(ALPHA / (len(rows) * num_alternatives)),
        strict_interval=estimate.interval(ALPHA / num_components),
        physically_relevant=_physically_relevant(results, component, margin_physics),
    )


def _physically_relevant(results: Results, component: Component, margin: float) -> bool | None:
    """Return whether the objects change visibly where a claim says that their error does."""
    effect = component.metric == TOKENS and (
        component.region.lower > 0 or component.region.upper < 0
    )
    known = [metric for metric in PHYSICS if metric in results.numbers]
    if not effect or not known:
        return None
    changes = (results.contrast(metric, component.weights).interval() for metric in known)
    return any(change.outside(-margin, margin) for change in changes)


def _reason(answer: str, measured: Sequence[Measured]) -> str:
    """Return in words which component decided."""
    if answer == YES:
        inside = [m for m in measured if m.is_inside]
        closest = min(inside, key=_distance_to_limit)
        among = f" (the closest of {len(inside)})" if len(inside) > 1 else ""
        return f"{_needed(closest, closest.interval)} lies inside{among}"
    if answer == TIE:
        largest = max(measured, key=lambda m: max(map(abs, m.interval)))
        return f"{_value(largest, largest.interval)} and all others lie within their margins"
    if answer == NO:
        first = next(m for m in measured if m.is_outside)
        return f"{_needed(first, first.strict_interval)} lies outside"
    first = next(m for m in measured if not m.is_inside)
    return f"{_needed(first, first.interval)} is not decided"


def _distance_to_limit(measured: Measured) -> float:
    """Return the distance of an interval inside its region to the nearer end of the region."""
    (low, high), (lower, upper) = measured.interval, measured.region
    return min(low - lower, upper - high)


def _needed(measured: Measured, interval: Interval) -> str:
    return f"{_value(measured, interval)}, needed {measured.region.text},"


def _value(measured: Measured, interval: Interval) -> str:
    mean, bounds = f"{measured.estimate.mean:.3g}", f"{interval.low:.3g} to {interval.high:.3g}"
    return f"{measured.component.name} = {mean} ({bounds})"
