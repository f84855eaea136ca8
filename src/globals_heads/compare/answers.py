"""The engine: one rule that turns any claim and the evidence into yes, no or not resolved.

- yes: every component's interval lies wholly inside its region. All are needed, so nothing is
  adjusted inside a claim (intersection-union test, Berger 1982); a claim with several rows shares
  its error rate among them.
- no: some component's interval lies wholly outside. One of many is enough, so here the error rate
  is shared among all components of all rows.
- not resolved: anything else, any hole, and always with fewer than three seeds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from globals_heads.compare.questions import TOKENS, Claim, Component, Row
from globals_heads.compare.results import Results
from globals_heads.compare.statistics import ALPHA, MIN_SEEDS, Estimate, Interval

YES, NO, OPEN, TIE, UNTESTED = "yes", "no", "not resolved", "tie", "not tested"
PHYSICS = ("pt_relative_sigma68", "token_dr_median")


@dataclass(frozen=True)
class Result:
    """A component, measured.

    Attributes
    ----------
    component, estimate
        What, and what came out.
    interval
        Decides a yes.
    strict_interval
        Decides a no.
    physically_relevant
        Whether reconstructed objects change visibly with it; None where it is no such component.
    """

    component: Component
    estimate: Estimate
    interval: Interval
    strict_interval: Interval
    physically_relevant: bool | None

    @property
    def event_interval(self) -> Interval:
        """The hint: these very runs on other test events."""
        return self.estimate.event_interval()

    @property
    def region(self) -> tuple[float, float]:
        """Where the claim needs it."""
        return self.component.lower, self.component.upper


@dataclass(frozen=True)
class Judgement:
    """The answer to one row of a claim; `hint` is empty unless seeds are too few."""

    claim: Claim
    row: Row
    word: str
    reason: str
    hint: str = ""
    results: tuple[Result, ...] = ()

    @property
    def physically_relevant(self) -> bool:
        """Whether a claim that holds changes the objects in every component about tokens."""
        lies = [r.physically_relevant for r in self.results if r.interval.inside(*r.region)]
        return self.word == YES and True in lies and False not in lies


def judge_all(evidence: Results, claims: Iterable[Claim], margin_physics: float) -> list[Judgement]:
    """Return the judgement of every row of every claim, in their order."""
    found: list[Judgement] = []
    for claim in claims:
        num_rows = sum(not row.untested for row in claim.rows)
        for row in claim.rows:
            judgement = judge(evidence, claim, row, num_rows, margin_physics)
            if claim.builds_on and judgement.word in (YES, NO):
                number, refusal = claim.builds_on
                (base,) = (j for j in found if (j.claim.number, j.row.name) == (number, row.name))
                if judgement.word == NO and base.word == YES:
                    judgement = replace(judgement, word=refusal)
                elif judgement.word == YES and base.word != YES:
                    reason = f"claim {number} is {base.word} ({base.reason})"
                    judgement = replace(judgement, word=OPEN, reason=reason)
            found.append(judgement)
    return found


def judge(
    evidence: Results, claim: Claim, row: Row, num_rows: int, margin_physics: float
) -> Judgement:
    """Return the judgement of one row.

    Parameters
    ----------
    evidence
        What was measured.
    claim, row
        What is asked.
    num_rows
        Rows of the claim that are tested.
    margin_physics
        Change of relative pT sigma68 or median dR that is physically relevant.
    """
    if row.untested:
        return Judgement(claim, row, UNTESTED, row.untested)
    share = num_rows * len(row.all_components)

    def measured(components: Iterable[Component]) -> list[Result]:
        return [_measure(evidence, c, num_rows, share, margin_physics) for c in components]

    needed = measured(row.components)
    groups = [measured(group) for group in row.alternatives]
    results = (*needed, *(result for group in groups for result in group))
    word = _decide(needed, groups)
    hint, reason = "", ""
    broken = [text for text, holds in row.facts if not holds]
    holes = evidence.lost_runs(TOKENS, row.also_needs)
    for component in row.all_components:
        holes += evidence.lost_runs(component.metric, component.weights)
    num_seeds = min(result.estimate.num_seeds for result in results)
    if broken and evidence.num_seeds >= MIN_SEEDS:
        # A run that diverged is an answer to "does no run diverge?", so this goes before holes.
        reason = "; ".join(broken if holes else [*broken, _reason(word, results)])
        word = NO
    elif holes:
        word, reason = OPEN, f"hole: {', '.join(dict.fromkeys(holes))}"
    elif num_seeds < MIN_SEEDS:
        word, reason = OPEN, f"{num_seeds} of at least {MIN_SEEDS} seeds"
        hint = NO if broken else _decide(_alone(needed), [_alone(group) for group in groups])
        unknown = any(math.isnan(result.event_interval.low) for result in results)
        if not broken and (hint == NO or not unknown):
            reason += f"; these runs alone: {_reason(hint, _alone(results))}"
    elif claim.ties and all(_tied(result) for result in results):
        word = TIE
    return Judgement(claim, row, word, reason or _reason(word, results), hint, results)


def _decide(needed: Sequence[Result], groups: Sequence[Sequence[Result]]) -> str:
    """Return the word for a row: all of `needed` and, if there are any, one of `groups`."""
    if all(map(_inside, needed)) and (not groups or any(all(map(_inside, g)) for g in groups)):
        return YES
    if any(map(_outside, needed)) or (groups and all(any(map(_outside, g)) for g in groups)):
        return NO
    return OPEN


def _alone(results: Iterable[Result]) -> list[Result]:
    """Return what these very runs say: the results with the intervals over test events."""
    return [
        replace(r, interval=r.event_interval, strict_interval=r.event_interval) for r in results
    ]


def _inside(result: Result) -> bool:
    return result.interval.inside(*result.region)


def _outside(result: Result) -> bool:
    return result.strict_interval.outside(*result.region)


def _tied(result: Result) -> bool:
    margin = result.component.lower
    return result.interval.inside(-margin, margin)


def _measure(
    evidence: Results, component: Component, num_rows: int, share: int, margin_physics: float
) -> Result:
    estimate = evidence.contrast(component.metric, component.weights)
    return Result(
        component,
        estimate,
        interval=estimate.interval(ALPHA / (num_rows * component.share)),
        strict_interval=estimate.interval(ALPHA / share),
        physically_relevant=_physically_relevant(evidence, component, margin_physics),
    )


def _physically_relevant(evidence: Results, component: Component, margin: float) -> bool | None:
    """Return whether the objects change visibly where a claim says that their error does."""
    effect = component.metric == TOKENS and (component.lower > 0 or component.upper < 0)
    known = [metric for metric in PHYSICS if metric in evidence.numbers]
    if not effect or not known:
        return None
    changes = (evidence.contrast(metric, component.weights).interval() for metric in known)
    return any(change.outside(-margin, margin) for change in changes)


def _reason(word: str, results: Sequence[Result]) -> str:
    """Return in words which component decided."""
    if word == YES:
        inside = [r for r in results if _inside(r)]
        result = min(inside, key=_room)
        among = f" (the closest of {len(inside)})" if len(inside) > 1 else ""
        return f"{_describe(result, result.interval)} lies inside{among}"
    if word == TIE:
        result = max(results, key=lambda r: max(map(abs, r.interval)))
        return f"{_measured(result, result.interval)} and all others lie within their margins"
    if word == NO:
        result = next(filter(_outside, results))
        return f"{_describe(result, result.strict_interval)} lies outside"
    result = next(r for r in results if not _inside(r))
    return f"{_describe(result, result.interval)} is not decided"


def _room(result: Result) -> float:
    """Return the distance between an interval inside its region and the nearer end of that."""
    (low, high), (lower, upper) = result.interval, result.region
    return min(low - lower, upper - high)


def _describe(result: Result, interval: Interval) -> str:
    return f"{_measured(result, interval)}, needed {describe_region(result)},"


def _measured(result: Result, interval: Interval) -> str:
    mean, bounds = f"{result.estimate.mean:.3g}", f"{interval.low:.3g} to {interval.high:.3g}"
    return f"{result.component.name} = {mean} ({bounds})"


def describe_region(result: Result) -> str:
    """Return where a claim needs a component, in words."""
    lower, upper = result.region
    if math.isinf(upper):
        return f"> {lower:.3g}"
    return f"< {upper:.3g}" if math.isinf(lower) else f"between {lower:.3g} and {upper:.3g}"
