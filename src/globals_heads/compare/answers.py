"""The rule that turns a question and the results into yes, no or not resolved.

- yes: every component's interval lies wholly inside its region. All components are needed, so
  nothing is adjusted inside a row (intersection-union test, Berger 1982); the rows of a claim share
  its error rate. A region between two limits takes the 90 % interval (two one-sided tests,
  Schuirmann 1987), any other the 95 % interval.
- no: some component's interval lies wholly outside. One of many is enough, so here all components
  of the claim share the error rate.
- not resolved: anything else; also if a needed run is missing or diverged, and always with fewer
  than three seeds.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from globals_heads.compare.questions import Component, Question, Region
from globals_heads.compare.results import GLOBALS, TOKENS, Results, in_words
from globals_heads.compare.statistics import ALPHA, Estimate, Interval
from globals_heads.numbers import MIN_SEEDS

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
    def alone(self) -> "Measured":
        """The hint: with the interval of these very runs on other test events."""
        interval = self.estimate.event_interval()
        return self._replace(interval=interval, strict_interval=interval)

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
    """The answer to a question.

    Attributes
    ----------
    question, answer
        What was asked, and the answer.
    reason
        Why no number decides; empty if one does.
    hint
        What these runs alone would say; empty unless there are too few seeds.
    measured
        The components.
    seen
        The same with the intervals that decided; empty if a run is lost.
    """

    question: Question
    answer: str
    reason: str = ""
    hint: str = ""
    measured: tuple[Measured, ...] = ()
    seen: tuple[Measured, ...] = ()

    @property
    def known(self) -> str:
        """The answer, or the hint where there are too few seeds for an answer."""
        return self.hint or self.answer

    @property
    def num_seeds(self) -> int:
        """Number of seeds that all components have."""
        return min(m.estimate.num_seeds for m in self.measured)

    @property
    def decisive(self) -> Measured | None:
        """The component that decided; of a yes, the one that is nearest to its limit."""
        inside = [m for m in self.seen if m.is_inside]
        if self.known == YES and inside:
            return min(inside, key=_distance_to_limit)
        if self.known == TIE:
            return max(self.seen, key=lambda m: max(map(abs, m.interval)))
        outside = self.known in (NO, NOT_CAPACITY)
        rest = (m for m in self.seen if (m.is_outside if outside else not m.is_inside))
        return next(rest, None)

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
    answer, reason, hint, seen = decide(measured), "", "", measured
    failed = [text for text, holds in question.facts if not holds]
    lost = results.lost_runs(TOKENS, question.needs)
    for component in question.components:
        lost += results.lost_runs(component.metric, component.weights)
    num_seeds = min(m.estimate.num_seeds for m in measured)
    if failed and results.num_seeds >= MIN_SEEDS:
        # Before lost runs: a run that diverged is an answer to "does no run diverge?".
        answer, reason = NO, "; ".join(failed)
    elif lost:
        answer, reason, seen = OPEN, in_words(lost, most=2), ()
    elif num_seeds < MIN_SEEDS:
        seen = tuple(m.alone for m in measured)
        answer = OPEN
        reason = "; ".join([f"{num_seeds} of at least {MIN_SEEDS} seeds", *failed])
        hint = NO if failed else decide(seen)
    elif question.claim.startswith("E") and all(
        m.interval.inside(-m.region.lower, m.region.lower) for m in measured
    ):
        answer = TIE
    return Answer(question, answer, reason, hint, measured, seen)


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
        reason = f"the trade-off is {trade_off.answer}"
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
    # A claim of equality is two one-sided tests, and at each limit one of them alone can be wrong.
    sides = 2 if all(map(math.isfinite, component.region)) else 1
    return Measured(
        component,
        estimate,
        interval=estimate.interval(ALPHA * sides / (len(rows) * num_alternatives)),
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


def _distance_to_limit(measured: Measured) -> float:
    """Return the distance of an interval inside its region to the nearer end of the region."""
    (low, high), (lower, upper) = measured.interval, measured.region
    return min(low - lower, upper - high)
