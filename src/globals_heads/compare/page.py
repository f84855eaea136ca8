"""The page of the verdict: the words and numbers of its tables, and the template around them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from globals_heads.compare import downstream as classifiers
from globals_heads.compare.answers import (
    NO,
    OPEN,
    TIE,
    UNTESTED,
    YES,
    Answer,
    Measured,
    all_needed,
)
from globals_heads.compare.checks import Check
from globals_heads.compare.decision_matrix import Choice
from globals_heads.compare.questions import Axes, Question
from globals_heads.compare.results import GLOBALS, TOKENS, Cell, Results
from globals_heads.compare.words import said
from globals_heads.numbers import MIN_SEEDS, difference, factor, number
from globals_heads.settings import CompareSettings

BEST, WORST, MIDDLE, PARTLY = "best", "worst", "middle", "partly"


class Outcome(NamedTuple):
    """An expected outcome: an error, its column in the summary, and what is expected of it.

    `first` and `last` are the claims about the smallest and the largest weight; `marks` say what
    they expect there.
    """

    name: str
    meaning: str
    column: str
    first: str
    last: str
    marks: tuple[str, str]


EXPECTED = (
    Outcome(
        "token error (T)",
        "of the objects' features, in units of their variance",
        "rec_tokens",
        first="E1",
        last="E2",
        marks=(BEST, WORST),
    ),
    Outcome(
        "globals error (G)",
        "of a linear (ridge) fit from the latents to MET, the probe: 1 guesses the mean, 0 is"
        " perfect",
        GLOBALS,
        first="E3",
        last="E4",
        marks=(WORST, BEST),
    ),
    Outcome(
        "total loss",
        "weight × globals loss included: compare it within one weight only",
        "val_loss",
        first="E5",
        last="E6",
        marks=(BEST, WORST),
    ),
)
# What the page calls the rows of these claims.
OUTCOMES = {
    claim: outcome.name.partition(" (")[0]
    for outcome in EXPECTED
    for claim in (outcome.first, outcome.last)
}
# What the brackets hold.
DECIDES = (
    "the interval that decides: 95 % (patterns 1 and 5: 90 %), shared by the latent spaces, over"
    " seeds and test events"
)
FEW_SEEDS = "the 95 % interval of these very runs on other test events"
IN_A_SPACE, BETWEEN = ("1", "2", "2b", "2c", "3", "3'"), ("4", "5", "6")
# What a yes means.
MEANING = {
    "1": "the head does not make the latents more readable",
    "2": "as expected: the head works",
    "2b": "the largest weight is worth its price",
    "2c": "the latents hold more than the objects' vector sum",
    "3": "choose by priority, below",
    "3'": "enlarge the latent space",
    "4": "the discrete bottleneck is too restrictive",
    "5": "the choice does not matter",
    "6": "discrete codes are useful",
}


class Verdict(NamedTuple):
    """All that the results say.

    Attributes
    ----------
    warnings, answer, remark
        What must be said first, the three opening sentences, and what few seeds mean.
    claims, matrix, checks
        The answers; each line of the decision matrix with the answer to its question; the checks.
    """

    warnings: list[str]
    answer: list[str]
    remark: str
    claims: list[Answer]
    matrix: list[tuple[Choice, Answer]]
    checks: list[Check]


class Entry(NamedTuple):
    """An entry of a table: a word that stands out, a value, and a note in small letters."""

    word: str = ""
    value: str = ""
    note: str = ""


Rows = list[list[Entry]]


def page(
    verdict: Verdict,
    results: Results,
    settings: CompareSettings,
    downstream: Mapping[str, Any] | None = None,
    *,
    html: bool,
) -> str:
    """Return the page of the verdict on `results`, as HTML or as Markdown.

    `downstream` is what `downstream.verdict_rows` returns.
    """
    axes = Axes.of(results)
    by_claim = {(a.question.claim, a.question.row): a for a in verdict.claims}
    environment = Environment(
        loader=PackageLoader("globals_heads", "compare"),
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    text = environment.get_template("page.jinja").render(
        html=html,
        verdict=verdict,
        settings=settings,
        margin_tokens=math.exp(settings.margin_tokens_ln),
        weights=[f"weight {beta}" for beta in axes.betas],
        spaces=axes.spaces,
        expected=_expected(results, axes, by_claim),
        patterns=[_pattern(axes, by_claim, claim) for claim in IN_A_SPACE],
        between=[_between(by_claim, claim) for claim in BETWEEN],
        matrix=[priority_row(choice, answer) for choice, answer in verdict.matrix],
        failed=[check for check in verdict.checks if not check.passed],
        num_seeds=results.num_seeds,
        brackets=FEW_SEEDS if results.num_seeds < MIN_SEEDS else DECIDES,
        certainty=_certainty(axes, [*verdict.claims, *(answer for _, answer in verdict.matrix)]),
        source=results.source,
        rotation=_rotation(results, axes),
        downstream=downstream,
        downstream_rows=[
            _downstream(results, cell)
            for cell in results.cells()
            if downstream and cell.globals_beta == downstream["globals_beta"]
        ],
    )
    return re.sub("\n{3,}", "\n\n", text).rstrip() + "\n"


def _downstream(results: Results, cell: Cell) -> list[Entry]:
    """Return a cell's row of AUCs: that of the original events, and what the cell changes."""
    known = results.mean(classifiers.metric(classifiers.ORIGINAL, "auc"), cell)
    row = [cell.latent_space, "no finished run" if math.isnan(known) else f"{known:.3f}"]
    for kind in (classifiers.RECONSTRUCTED, classifiers.ENCODED):
        change = results.contrast(classifiers.metric(kind, "auc", difference=True), {cell: 1.0})
        row.append(difference(change.mean, *change.known_interval()))
    return [Entry(value=text) for text in row]


def _word(word: str, answer: Answer) -> str:
    """Return a word, with a question mark if it is only what these runs show."""
    return f"{word}?" if answer.hint and word not in ("", OPEN, UNTESTED) else word


def _expected(results: Results, axes: Axes, by_claim: Mapping[tuple[str, str], Answer]) -> Rows:
    """Return the expected outcomes: of each error a row of expectations, then the latent spaces."""
    rows: Rows = []
    for name, meaning, column, first, last, marks in EXPECTED:
        between = [MIDDLE if len(axes.betas) == 3 else ""] * (len(axes.betas) - 2)
        ends = [marks[0], *between, marks[1]] if len(axes.betas) > 1 else [""]
        expected = Entry(value=f"{name}: expected", note=meaning)
        rows.append([expected, *(Entry(value=text) for text in (*ends, ""))])
        for space in axes.spaces:
            answers = by_claim[first, space], by_claim[last, space]
            words = _marks(axes, *answers, *marks)
            cells = [Cell(space, beta) for beta in axes.betas]
            rows.append(
                [
                    Entry(value=space),
                    *(_outcome(results, column, *pair) for pair in zip(cells, words, strict=True)),
                    Entry(_word(_as_expected(*answers), answers[0])),
                ]
            )
    return rows


def _outcome(results: Results, column: str, cell: Cell, word: str) -> Entry:
    found = [status for status in results.statuses[cell] if status != "ok"]
    note = ", ".join(sorted({status for status in found if status}))
    # A minus sign does not break the line, as a hyphen does.
    return Entry(word, number(results.mean(column, cell)).replace("-", "−"), note)


def _marks(axes: Axes, first: Answer, last: Answer, *expected: str) -> list[str]:
    """Return of each weight whether its error is best, middle, worst, tied or not resolved.

    `first` and `last` compare the smallest and the largest weight with all others, and should find
    them as `expected`, best or worst.
    """
    # Of each pair of weights: the mark of the first one, if there were only these two.
    marks: dict[tuple[str, str], str] = {}
    for m in (*first.seen, *last.seen):
        high, low = sorted(m.component.weights, key=m.component.weights.__getitem__, reverse=True)
        if m.is_inside or m.strict_interval.high < -m.region.lower:
            if not m.is_inside:
                high, low = low, high
            marks[low.globals_beta, high.globals_beta] = BEST
            marks[high.globals_beta, low.globals_beta] = WORST
        elif m.strict_interval.inside(-m.region.lower, m.region.lower):
            marks[low.globals_beta, high.globals_beta] = TIE
            marks[high.globals_beta, low.globals_beta] = TIE
    words = []
    for beta in axes.betas:
        found = {marks.get((beta, other), OPEN) for other in axes.betas if other != beta}
        if len(found) <= 1:
            words.append("".join(found))
        else:
            words.append(MIDDLE if {BEST, WORST} <= found else TIE if TIE in found else OPEN)
    for i, answer, mark in zip((0, -1), (first, last), expected, strict=True):
        if answer.known == TIE:
            words[i] = TIE
        elif answer.known == NO and words[i] == OPEN:
            words[i] = f"not {mark}"
    return [_word(word, first) for word in words]


def _as_expected(first: Answer, last: Answer) -> str:
    """Return whether both ends of the weights are as expected."""
    known = {NO if answer.known == TIE else answer.known for answer in (first, last)}
    if len(known) == 1:
        return known.pop()
    return PARTLY if known == {YES, NO} else OPEN


def _entry(answer: Answer, measured: Measured | None) -> Entry:
    """Return an answer beside the component that shows it."""
    word = _word(answer.known, answer)
    if measured is None:
        return Entry(word, note=answer.reason)
    what, value, need = said(measured)
    relevant = "; visible in the objects" if answer.physically_relevant else ""
    return Entry(word, value, f"{what}; needs {need}{relevant}")


def _pattern(axes: Axes, by_claim: Mapping[tuple[str, str], Answer], claim: str) -> list[Entry]:
    """Return a row of the patterns: its name, an entry per latent space, what a yes means."""
    end = f"/beta_{axes.standard}" if claim == "2c" else ""
    answers = [by_claim[claim, space + end] for space in axes.spaces]
    entries = [_entry(a, a.seen[0] if a.known == YES else a.decisive) for a in answers]
    # What most of them compare stands beside the name of the pattern, or why none has an answer.
    notes = [entry.note for entry in entries]
    compared = [entry.note for entry in entries if entry.value] or notes
    common = max(compared, key=notes.count)
    common = common if notes.count(common) > len(notes) // 2 else ""
    entries = [e._replace(note="" if e.note == common else e.note) for e in entries]
    name = f"{claim} {answers[0].question.text}" + (f", weight {axes.standard}" if end else "")
    return [Entry(value=name, note=common), *entries, Entry(value=MEANING[claim])]


def _between(by_claim: Mapping[tuple[str, str], Answer], claim: str) -> list[Entry]:
    """Return a row of the patterns that compare latent spaces."""
    answer = next(a for (name, _), a in by_claim.items() if name == claim)
    entry = _entry(answer, answer.decisive)
    return [Entry(value=f"{claim} {answer.question.text}"), entry, Entry(value=MEANING[claim])]


def priority_row(choice: Choice, answer: Answer) -> list[Entry]:
    """Return a row of the decision matrix."""
    because = [_because(choice, answer), choice.left_out]
    return [
        Entry(value=answer.question.text, note=choice.rule),
        Entry(value=choice.guess.words),
        Entry(value=choice.best.words if choice.best else "no cell qualifies"),
        Entry(_word(answer.known, answer)),
        Entry(value=". ".join(filter(None, because))),
    ]


def _because(choice: Choice, answer: Answer) -> str:
    """Return why a guess is supported or not: beside the best cell, and by what decides."""
    failed = [text for text, holds in answer.question.facts if not holds]
    if failed and answer.known == NO:
        return "; ".join(failed)
    decisive = answer.decisive
    if decisive is None:
        return answer.reason
    shown = [decisive]
    if choice.best != choice.guess:
        beside_best = [m for m in answer.seen if choice.best in m.component.weights][:1]
        # If it says the same as what decides, it is enough.
        agrees = any(all_needed([m]) == all_needed([decisive]) for m in beside_best)
        shown = beside_best if agrees else [*beside_best, decisive]
    parts = []
    for measured in shown:
        what, value, need = said(measured, by_weight=False)
        parts.append(f"{what}: {value}, needs {need}")
    return "; ".join(parts)


def _certainty(axes: Axes, answers: Sequence[Answer]) -> str:
    """Return which answers of the page are not resolved, by what would resolve them."""
    # Of each answer of the page what would resolve it; empty if it is resolved.
    remedies: dict[tuple[str, str, str], str] = {}
    for answer in answers:
        key = _name_on_page(axes, answer.question)
        if key and answer.answer != UNTESTED:
            remedies[key] = remedies.get(key) or (_remedy(answer) if answer.answer == OPEN else "")
    count = sum(map(bool, remedies.values()))
    sentences = [f"{count} of {len(remedies)} answers on this page are not resolved."]
    for remedy in dict.fromkeys(filter(None, remedies.values())):
        found = [key for key, needed in remedies.items() if needed == remedy]
        names: dict[tuple[str, str], list[str]] = {}
        for kind, space, name in found:
            names.setdefault((kind, space), []).append(name)
        # Latent spaces with the same names come together.
        spaces: dict[str, list[str]] = {}
        for (kind, space), of in names.items():
            spaces.setdefault(f"{kind} {', '.join(of)}", []).append(space)
        texts = [f"{text} ({', '.join(of)})" if any(of) else text for text, of in spaces.items()]
        which = "all" if len(found) == len(remedies) else "; ".join(texts)
        sentences.append(f"{remedy}: {which}.")
    return " ".join(sentences)


def _name_on_page(axes: Axes, question: Question) -> tuple[str, str, str] | None:
    """Return kind, latent space and name of an answer on the page; None if it is not there."""
    claim, text, row = question[:3]
    if claim.startswith("M"):
        return "priority", "", text
    if claim in BETWEEN:
        return "pattern", "", claim
    if claim in OUTCOMES:
        return "expected", row, OUTCOMES[claim]
    # Claim 2c has an answer for every cell, and the page shows those of one weight.
    space = row.removesuffix(f"/beta_{axes.standard}")
    return ("pattern", space, claim) if space in axes.spaces else None


def _remedy(answer: Answer) -> str:
    """Return what would resolve an answer."""
    if not answer.seen:
        return "The missing or diverged runs are needed for"
    by_events = answer.decisive and answer.decisive.estimate.is_limited_by_events
    return f"More {'test events' if by_events else 'seeds'} would help"


def _rotation(results: Results, axes: Axes) -> Rows:
    """Return what the rotation trick changes in vq, if a variant of this name was trained."""
    cells = [cell for cell in results.cells("rotation") if cell.latent_space == "vq"]
    rows: Rows = []
    for metric, name, show in (
        (TOKENS, "token error", factor),
        (GLOBALS, "globals error", difference),
    ):
        row = [Entry(value=name)]
        for beta in axes.betas if cells else ():
            turned, plain = Cell("vq", beta, "rotation"), Cell("vq", beta)
            if turned in cells and plain in results.statuses:
                value = results.contrast(metric, {turned: 1.0, plain: -1.0})
                row.append(Entry(value=show(value.mean, *value.known_interval())))
            else:
                row.append(Entry())
        rows.append(row)
    return rows if cells else []
