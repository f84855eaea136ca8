"""The compare step: the comparison of all cells, and the verdict as Markdown, RST and JSON."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from globals_heads.compare.answers import UNTESTED, YES, Answer, Measured, answer_all
from globals_heads.compare.checks import Check, sanity_checks
from globals_heads.compare.comparison import comparison, html_table, reference_cell
from globals_heads.compare.decision_matrix import Choice, decision_matrix
from globals_heads.compare.questions import CONTINUOUS, Axes, claims
from globals_heads.compare.results import (
    GLOBALS,
    LABELS,
    TOKENS,
    Cell,
    Results,
    read_results,
)
from globals_heads.compare.statistics import MIN_SEEDS, Interval
from globals_heads.files import write_text
from globals_heads.settings import CompareSettings

WORDS = """\
rec_tokens (T) is the error of the tokens; differences are those of its logarithm. The globals error
(G) is that of a ridge probe on the frozen latents, which is comparable in every cell. The skill (S)
is (1 - globals error) / (1 - globals error of the one-parameter fit). Differences are paired by
seed. Intervals are two-sided, 95 %: mean ± t(n-1) times the standard error over seeds and test
events together."""

HOW = """\
- *yes*: every interval lies wholly inside what the claim needs; several rows share the 5 %.
- *no*: some interval lies wholly outside, the 5 % shared by all intervals of the claim.
- *not resolved*: anything else, any missing or diverged run that the claim needs, and always with
  fewer than 3 seeds; the brackets then say what these very runs would show on other test events.
- *tie* (E1 to E4): every difference lies within its margin.
- *trade-off, not capacity* (3'): with twice the latent_dim the tokens pay as much.
- *physically relevant* is added where the relative pT sigma68 or the median dR changes, too."""


class Verdict(NamedTuple):
    """All that the results say; each line of the matrix with the answer to its question."""

    sentences: list[str]
    claims: list[Answer]
    matrix: list[tuple[Choice, Answer]]
    checks: list[Check]


class Bold(str):
    """The text of a table's cell that stands out."""


# Paragraphs, headings (texts that begin with "## ") and tables (lists of rows, the head first).
Document = list[str | list[list[str]]]


def compare(results_folder: Path, baselines_folder: Path, settings: CompareSettings) -> None:
    """Write comparison.csv, verdict.md, .rst and .json, and the pages of both tables.

    Parameters
    ----------
    results_folder, baselines_folder
        See `read_results`; everything is written into the first.
    settings
        The reference cell and the margins.
    """
    results = read_results(results_folder, baselines_folder)
    reference = reference_cell(settings)
    if reference not in results.statuses:
        print(
            f"The reference cell {reference.name} (compare.reference) is not in this grid, so the "
            "columns of differences are empty."
        )
    table = comparison(results, settings)
    content = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_text(results_folder / "comparison.csv", content)
    write_text(results_folder / "tables/summary.html", html_table("summary", results.table))
    write_text(results_folder / "tables/comparison.html", html_table("comparison", table))
    verdict = give_verdict(results, settings)
    content = json.dumps(_as_json(verdict, settings), indent=2, ensure_ascii=False)
    write_text(results_folder / "verdict.json", content + "\n")
    document = _document(verdict, results, settings)
    write_text(results_folder / "verdict.rst", rst(document))
    write_text(
        results_folder / "verdict.md", markdown(["# Verdict", *document, *_numbers(verdict)])
    )


def give_verdict(results: Results, settings: CompareSettings) -> Verdict:
    """Return the verdict on `results`."""
    answers = answer_all(results, claims(results, settings), settings.margin_physics)
    choices = decision_matrix(results, settings)
    guesses = answer_all(results, [c.question for c in choices], settings.margin_physics)
    matrix = list(zip(choices, guesses, strict=True))
    sentences = _sentences(results, answers, matrix)
    return Verdict(sentences, answers, matrix, sanity_checks(results))


def _sentences(
    results: Results, answers: Sequence[Answer], matrix: Sequence[tuple[Choice, Answer]]
) -> list[str]:
    """Return what to read aloud: does the head help, what does it cost, which latent space."""
    axes = Axes.of(results)
    helps, costs, small, worse, alike, wins = (
        [a for a in answers if a.question.claim == claim]
        for claim in ("2", "3", "3'", "4", "5", "6")
    )
    n = results.num_seeds
    chance = "" if n >= MIN_SEEDS else f"; n = {n}, so all of this may be chance"
    # Without a cell whose head is off, only more weight of the head can be examined.
    head = "The globals head" if float(axes.off) == 0 else "More weight of the globals head"
    return [
        f"{head} helps: {_said(helps)}{_globals_errors(results, axes)}.",
        f"A trade-off, tokens for globals: {_said(costs)}{_token_factors(results, axes)}; because"
        f" the latent space is too small: {_said(small)}.",
        f"Which latent space: {_which(axes, wins[0], alike[0], worse[0])}; for tokens and globals"
        f" together {_balanced(results, matrix)}{chance}.",
    ]


def _said(answers: Iterable[Answer]) -> str:
    """Return the answers to a claim, the rows with the same answer together."""
    rows: dict[str, list[str]] = {}
    for answer in answers:
        rows.setdefault(_with_hint(answer), []).append(answer.question.row)
    return "; ".join(f"{words} for {_and(names)}" for words, names in rows.items())


def _with_hint(answer: Answer) -> str:
    """Return the answer, with its hint if the hint says more."""
    if answer.hint in ("", answer.answer):
        return answer.answer
    return f"{answer.answer} (these runs alone: {answer.hint})"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _globals_errors(results: Results, axes: Axes) -> str:
    changes = []
    for space in axes.spaces if len(axes.betas) > 1 else ():
        off, on = (results.mean(GLOBALS, Cell(space, b)) for b in (axes.off, axes.standard))
        if math.isfinite(off) and math.isfinite(on):
            changes.append(f"from {off:.2f} to {on:.2f} ({space})")
    if not changes:
        return ""
    return (
        f"; with globals_beta {axes.standard} instead of {axes.off}, the globals error read from"
        f" the latents goes {_and(changes)}"
    )


def _token_factors(results: Results, axes: Axes) -> str:
    factors = []
    for space in axes.spaces if len(axes.betas) > 1 else ():
        weights = {Cell(space, axes.emphasised): 1.0, Cell(space, axes.off): -1.0}
        factor = math.exp(results.contrast(TOKENS, weights).mean)
        if math.isfinite(factor):
            factors.append(f"{factor:.3g} ({space})")
    if not factors:
        return ""
    return (
        f"; with globals_beta {axes.emphasised} instead of {axes.off}, the tokens' error is"
        f" multiplied by {_and(factors)}"
    )


def _which(axes: Axes, wins: Answer, alike: Answer, worse: Answer) -> str:
    """Return which latent space to take: as answered, else as hinted, else what is known."""
    if len(axes.spaces) == 1:
        return f"the grid has {axes.spaces[0]} alone"
    others = [space for space in axes.spaces if space not in (*CONTINUOUS, "vq")]
    but = f" (nothing is said of {_and(others)})" if others else ""
    choices = (
        (wins, f"vq, which wins against the continuous ones{but}"),
        (alike, "any, as they are all alike"),
        (worse, f"a continuous one, as vq is worse on both counts{but}"),
    )
    for answer, choice in choices:
        if answer.answer == YES:
            return choice
    for answer, choice in choices:
        if answer.hint == YES:
            return f"{answer.answer} (these runs alone: {choice})"
    known = f"vq wins: {wins.answer}; all alike: {alike.answer}; vq worse on both: {worse.answer}"
    return f"no single answer ({known})"


def _balanced(results: Results, matrix: Sequence[tuple[Choice, Answer]]) -> str:
    """Return which cell is best at both, and whether the guess is as good."""
    choice, answer = next(line for line in matrix if line[0].question.claim == "M2")
    if answer.answer == UNTESTED:
        support = f", and the guess {choice.guess.name} is not tested"
    elif choice.best == choice.guess:
        support = f"; is this guess as good as any? {answer.answer}"
    else:
        support = f"; is the guess {choice.guess.name} as good? {answer.answer}"
    complete = all(set(results.statuses[cell]) <= {"ok", None} for cell in results.cells())
    of = "" if complete else " of the cells without a missing or diverged run"
    if choice.best:
        return f"{choice.best.name} measured best{of}{support}"
    return f"no cell{of.removeprefix(' of the cells')} qualifies{support}"


def _document(verdict: Verdict, results: Results, settings: CompareSettings) -> Document:
    """Return what people read first."""
    answers = [
        [
            a.question.claim,
            a.question.text,
            a.question.row,
            Bold(_with_hint(a) + (", physically relevant" if a.physically_relevant else "")),
            a.reason,
        ]
        for a in verdict.claims
    ]
    matrix = [
        [
            a.question.claim,
            a.question.text,
            choice.guess.name,
            Bold(_with_hint(a)),
            choice.best.name if choice.best else "no cell",
            choice.rule,
            a.reason,
        ]
        for choice, a in verdict.matrix
    ]
    cells = [
        [cell.name, str(sum(s == "ok" for s in statuses))]
        + [_with_error(results, metric, cell) for metric in LABELS]
        for cell, statuses in results.statuses.items()
    ]
    checks = [[c.question, "yes" if c.passed else Bold("no"), c.finding] for c in verdict.checks]
    margins = ", ".join(f"{name} {value:g}" for name, value in settings if isinstance(value, float))
    return [
        *map(escaped, verdict.sentences),
        "## What to choose",
        WORDS,
        [["", "priority", "guess", "supported", "measured best", "by", "why"], *matrix],
        "## Answers",
        [["", "claim", "of", "answer", "why"], *answers],
        HOW,
        f"Margins: {margins}.",
        "## Cells",
        "Mean over seeds, ± half the 95 % interval from three seeds on.",
        [["cell", "n", *LABELS.values()], *cells],
        "## Sanity checks",
        [["question", "answer", "what was found"], *checks],
    ]


def _with_error(results: Results, metric: str, cell: Cell) -> str:
    value = results.contrast(metric, {cell: 1.0})
    low, high = value.interval()
    if math.isnan(value.mean):
        return ""
    return f"{value.mean:.3g}" + ("" if math.isnan(low) else f" ± {(high - low) / 2:.1g}")


def _numbers(verdict: Verdict) -> Document:
    """Return the section with every component of every claim."""
    intervals = ["interval", "strict interval", "these runs alone"]
    rows = [["", "difference", "n", "mean", *intervals, "needed"]]
    for answer in [*verdict.claims, *(answer for _, answer in verdict.matrix)]:
        for m in answer.measured:
            bounds = map(_bounds, (m.interval, m.strict_interval, m.event_interval))
            n, mean = m.estimate.num_seeds, m.estimate.mean
            numbers = [str(n), f"{mean:.4g}" if n else "", *bounds]
            rows.append([answer.question.claim, m.component.name, *numbers, m.region.text])
    return ["## The numbers behind the answers", rows]


def _bounds(interval: Interval) -> str:
    return "" if math.isnan(interval.low) else f"{interval.low:.4g} to {interval.high:.4g}"


def markdown(document: Document) -> str:
    """Return the document as Markdown."""

    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def written(part: str | list[list[str]]) -> str:
        if isinstance(part, str):
            return part
        head, *rows = (map(_cell, cells) for cells in part)
        return "\n".join([row(head), row(["---"] * len(part[0])), *map(row, rows)])

    return "\n\n".join(map(written, document)) + "\n"


def rst(document: Document) -> str:
    """Return the document as reStructuredText, to be included in others."""

    def written(part: str | list[list[str]]) -> str:
        if isinstance(part, str):
            heading = part.removeprefix("## ")
            return part if heading == part else f"{heading}\n{'-' * len(heading)}"
        head, *rows = part
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
        for cells in [head, *_without_repeats(rows)]:
            starts = ["   * -", *["     -"] * (len(head) - 1)]
            lines += [f"{a} {_cell(b)}".rstrip() for a, b in zip(starts, cells, strict=True)]
        return "\n".join(lines)

    return "\n\n".join(map(written, document)) + "\n"


def _without_repeats(rows: list[list[str]]) -> Iterator[list[str]]:
    """Yield the rows, blank where they begin as the row above does."""
    for above, row in zip([[], *rows], rows, strict=False):
        same = next((i for i, cell in enumerate(above) if cell != row[i]), len(above))
        yield [""] * same + row[same:]


def _cell(text: str) -> str:
    return f"**{escaped(text)}**" if isinstance(text, Bold) else escaped(text)


def escaped(text: str) -> str:
    """Return the text with a backslash before what either language would take for markup."""
    return re.sub(r"[\\*`|]|_(?![^\W_])", r"\\\g<0>", text)


def _as_json(verdict: Verdict, settings: CompareSettings) -> dict[str, Any]:
    return {
        "sentences": verdict.sentences,
        "settings": settings.model_dump(),
        "claims": [_answer_json(answer) for answer in verdict.claims],
        "matrix": [
            _answer_json(answer)
            | {
                "guess": choice.guess.name,
                "best": choice.best.name if choice.best else None,
                "rule": choice.rule,
            }
            for choice, answer in verdict.matrix
        ],
        "checks": [check._asdict() for check in verdict.checks],
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    question = answer.question
    return {
        "claim": question.claim,
        "text": question.text,
        "row": question.row,
        "answer": answer.answer,
        "reason": answer.reason,
        "hint": answer.hint,
        "physically_relevant": answer.physically_relevant,
        "facts": [{"fails_if": text, "holds": holds} for text, holds in question.facts],
        "components": [_measured_json(measured) for measured in answer.measured],
    }


def _measured_json(measured: Measured) -> dict[str, Any]:
    component = measured.component
    intervals = ("interval", "strict_interval", "event_interval", "region")
    numbers = asdict(measured.estimate) | {name: getattr(measured, name) for name in intervals}
    return {
        "name": component.name,
        "metric": component.metric,
        "weights": {cell.name: weight for cell, weight in component.weights.items()},
        **{name: _rounded(value) for name, value in numbers.items()},
        "physically_relevant": measured.physically_relevant,
    }


def _rounded(value: Any) -> Any:
    """Return what JSON can hold, with nine digits; null for NaN and for no bound."""
    if isinstance(value, tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value
