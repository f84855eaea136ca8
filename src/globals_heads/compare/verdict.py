"""The verdict: what the evidence says, as JSON for programs, as Markdown and RST for people."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from globals_heads.compare.answers import (
    UNTESTED,
    YES,
    Judgement,
    Result,
    describe_region,
    judge_all,
)
from globals_heads.compare.checks import Check, sanity_checks
from globals_heads.compare.decision_matrix import Priority, priorities
from globals_heads.compare.documents import (
    Bold,
    Document,
    Heading,
    Table,
    markdown,
    plain,
    rst,
)
from globals_heads.compare.questions import CONTINUOUS, GLOBALS, TOKENS, Axes, claims
from globals_heads.compare.results import Cell, Results, read_results
from globals_heads.compare.statistics import MIN_SEEDS, Interval
from globals_heads.files import write_text
from globals_heads.settings import CompareSettings

# Columns of the table of cells: metric and heading.
CELL_COLUMNS = {
    "rec_tokens": "T: rec_tokens",
    "probe_rec_globals": "G: probe",
    "reco_objects_rec_globals": "L: from reconstructed objects",
    "rec_globals": "H: head",
    "skill": "S: skill",
    "perplexity": "perplexity",
}

SYMBOLS = """\
T is the error of the tokens, compared as ln T; G the globals error of a ridge probe on the frozen
latents, comparable in every cell; S = (1 - G) / (1 - G of the one-parameter fit). Differences are
paired by seed. Intervals are two-sided, 95 %, mean ± t(n-1) times the standard error over seeds
and test events together."""

HOW = """\
- *yes*: every interval lies wholly inside what the claim needs; several rows share the 5 %.
- *no*: some interval lies wholly outside, the 5 % shared by all intervals of the claim.
- *not resolved*: anything else, any diverged or missing run that the claim needs, and always with
  fewer than 3 seeds; in brackets is then what these very runs would say on other test events.
- *tie* (E1 to E4): every difference lies within its margin.
- *physically relevant* is added where the relative pT sigma68 or the median dR changes, too."""


class Verdict(NamedTuple):
    """All that the evidence says."""

    sentences: list[str]
    judgements: list[Judgement]
    matrix: list[tuple[Priority, Judgement]]
    checks: list[Check]


def write_verdict(
    summary: Path, results: Path, linear_fit: Path, output: Path, settings: CompareSettings
) -> None:
    """Write the verdict: an .md, an .rst without the long table of numbers, and all as .json.

    Parameters
    ----------
    summary, results, linear_fit
        See `read_results`.
    output
        The Markdown file to make; the others are beside it.
    settings
        The margins.
    """
    evidence = read_results(summary, results, linear_fit)
    verdict = judge_evidence(evidence, settings)
    content = json.dumps(_as_json(verdict, settings), indent=2, ensure_ascii=False)
    write_text(output.with_suffix(".json"), content + "\n")
    document = _document(verdict, evidence, settings)
    write_text(output.with_suffix(".rst"), rst(document))
    write_text(output, f"# Verdict\n\n{markdown([*document, *_numbers(verdict)])}")


def judge_evidence(evidence: Results, settings: CompareSettings) -> Verdict:
    """Return the verdict on `evidence`."""
    judgements = judge_all(evidence, claims(evidence, settings), settings.margin_physics)
    matrix = priorities(evidence, settings)
    guesses = judge_all(evidence, [p.claim for p in matrix], settings.margin_physics)
    pairs = list(zip(matrix, guesses, strict=True))
    sentences = _sentences(evidence, judgements, pairs)
    return Verdict(sentences, judgements, pairs, sanity_checks(evidence))


def _sentences(
    evidence: Results,
    judgements: Sequence[Judgement],
    matrix: Sequence[tuple[Priority, Judgement]],
) -> list[str]:
    """Return what to read aloud: does the head help, what does it cost, which latent space."""
    axes = Axes.of(evidence)
    helps, costs, small, worse, alike, wins = (
        [j for j in judgements if j.claim.number == number]
        for number in ("2", "3", "3'", "4", "5", "6")
    )
    n = evidence.num_seeds
    chance = "" if n >= MIN_SEEDS else f"; n = {n}, so all of this may be chance"
    # Without a cell whose head is off, only more of it can be judged.
    head = "The globals head" if float(axes.off) == 0 else "More weight of the globals head"
    return [
        f"{head} helps: {_said(helps)}{_globals_errors(evidence, axes)}.",
        f"A trade-off, tokens for globals: {_said(costs)}{_token_factors(evidence, axes)}; because"
        f" the latent space is too small: {_said(small)}.",
        f"Which latent space: {_which(axes, wins[0], alike[0], worse[0])}; for tokens and globals"
        f" together {_balanced(evidence, matrix)}{chance}.",
    ]


def _balanced(evidence: Results, matrix: Sequence[tuple[Priority, Judgement]]) -> str:
    """Return which cell is best at both, and whether the guess is as good."""
    priority, guess = next(pair for pair in matrix if pair[0].claim.number == "M2")
    if guess.word == UNTESTED:
        support = f"the guess {priority.guess.name} is not tested"
    elif priority.best == priority.guess:
        support = f"that this guess is as good as any: {guess.word}"
    else:
        support = f"that the guess {priority.guess.name} is as good: {guess.word}"
    whole = all(set(evidence.statuses[cell]) <= {"ok", None} for cell in evidence.cells())
    among = "" if whole else " of the cells without a hole"
    if priority.best:
        return f"{priority.best.name} measured best{among}, and {support}"
    return f"no cell{'' if whole else ' without a hole'} qualifies, and {support}"


def _said(judgements: Iterable[Judgement]) -> str:
    """Return the words of a claim's rows, those with the same word together."""
    rows: dict[str, list[str]] = {}
    for judgement in judgements:
        rows.setdefault(_answer(judgement), []).append(judgement.row.name)
    return "; ".join(f"{word} for {_and(names)}" for word, names in rows.items())


def _answer(judgement: Judgement) -> str:
    """Return the word of a judgement, with its hint if that says more."""
    word, hint = judgement.word, judgement.hint
    return word if hint in ("", word) else f"{word} (these runs alone: {hint})"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _which(axes: Axes, wins: Judgement, alike: Judgement, worse: Judgement) -> str:
    """Return which latent space to take: as answered, else as hinted, else what is known."""
    if len(axes.spaces) == 1:
        return f"the grid has {axes.spaces[0]} alone"
    others = [space for space in axes.spaces if space not in (*CONTINUOUS, "vq")]
    but = f" (nothing is said of {_and(others)})" if others else ""
    answers = (
        (wins, f"vq, which wins against the continuous ones{but}"),
        (alike, "any, as they are all alike"),
        (worse, f"a continuous one, as vq is worse on both counts{but}"),
    )
    for judgement, answer in answers:
        if judgement.word == YES:
            return answer
    for judgement, answer in answers:
        if judgement.hint == YES:
            return f"{judgement.word} (these runs alone: {answer})"
    words = f"vq wins: {wins.word}; all alike: {alike.word}; vq worse on both: {worse.word}"
    return f"no single answer ({words})"


def _globals_errors(evidence: Results, axes: Axes) -> str:
    if len(axes.betas) < 2:
        return ""
    changes = []
    for space in axes.spaces:
        off, on = (_mean(evidence, GLOBALS, Cell(space, b)) for b in (axes.off, axes.standard))
        if math.isfinite(off) and math.isfinite(on):
            changes.append(f"from {off:.2f} to {on:.2f} ({space})")
    if not changes:
        return ""
    return (
        f"; with globals_beta {axes.standard} instead of {axes.off}, the globals error read from"
        f" the latents goes {_and(changes)}"
    )


def _token_factors(evidence: Results, axes: Axes) -> str:
    if len(axes.betas) < 2:
        return ""
    factors = []
    for space in axes.spaces:
        weights = {Cell(space, axes.emphasised): 1.0, Cell(space, axes.off): -1.0}
        factor = math.exp(evidence.contrast(TOKENS, weights).mean)
        if math.isfinite(factor):
            factors.append(f"{factor:.3g} ({space})")
    if not factors:
        return ""
    return (
        f"; with globals_beta {axes.emphasised} instead of {axes.off}, the tokens' error is"
        f" multiplied by {_and(factors)}"
    )


def _mean(evidence: Results, metric: str, cell: Cell) -> float:
    return evidence.contrast(metric, {cell: 1.0}).mean


def _document(verdict: Verdict, evidence: Results, settings: CompareSettings) -> Document:
    """Return what people read first."""
    answers = [
        [
            j.claim.number,
            j.claim.text,
            j.row.name,
            Bold(_answer(j) + (", physically relevant" if j.physically_relevant else "")),
            j.reason,
        ]
        for j in verdict.judgements
    ]
    matrix = [
        [
            p.claim.number,
            p.claim.text,
            p.guess.name,
            Bold(_answer(j)),
            p.best.name if p.best else "no cell",
            p.rule,
            j.reason,
        ]
        for p, j in verdict.matrix
    ]
    cells = [
        [cell.name, str(sum(s == "ok" for s in statuses))]
        + [_with_error(evidence, metric, cell) for metric in CELL_COLUMNS]
        for cell, statuses in evidence.statuses.items()
    ]
    checks = [[c.question, "yes" if c.passed else Bold("no"), c.finding] for c in verdict.checks]
    margins = ", ".join(f"{name} {value:g}" for name, value in settings if isinstance(value, float))
    return [
        *map(plain, verdict.sentences),
        Heading("What to choose"),
        SYMBOLS,
        Table(["", "priority", "guess", "supported", "measured best", "by", "why"], matrix),
        Heading("Answers"),
        Table(["", "claim", "of", "answer", "why"], answers),
        HOW,
        f"Margins: {margins}.",
        Heading("Cells"),
        "Mean over seeds, ± half the 95 % interval from three seeds on.",
        Table(["cell", "n", *CELL_COLUMNS.values()], cells),
        Heading("Sanity checks"),
        Table(["question", "answer", "what was found"], checks),
    ]


def _numbers(verdict: Verdict) -> Document:
    """Return the section with every component of every claim."""
    judgements = verdict.judgements + [j for _, j in verdict.matrix]
    intervals = ["interval", "strict interval", "these runs alone"]
    head = ["", "difference", "n", "mean", *intervals, "needed"]
    rows = [[j.claim.number, *_result_cells(r)] for j in judgements for r in j.results]
    return [Heading("The numbers behind the answers"), Table(head, rows)]


def _result_cells(result: Result) -> list[str]:
    return [
        result.component.name,
        str(result.estimate.num_seeds),
        f"{result.estimate.mean:.4g}" if result.estimate.num_seeds else "",
        _bounds(result.interval),
        _bounds(result.strict_interval),
        _bounds(result.event_interval),
        describe_region(result),
    ]


def _with_error(evidence: Results, metric: str, cell: Cell) -> str:
    value = evidence.contrast(metric, {cell: 1.0})
    low, high = value.interval()
    if math.isnan(value.mean):
        return ""
    return f"{value.mean:.3g}" + ("" if math.isnan(low) else f" ± {(high - low) / 2:.1g}")


def _bounds(interval: Interval) -> str:
    return "" if math.isnan(interval.low) else f"{interval.low:.4g} to {interval.high:.4g}"


def _as_json(verdict: Verdict, settings: CompareSettings) -> dict[str, Any]:
    return {
        "sentences": verdict.sentences,
        "settings": settings.model_dump(),
        "claims": [_judgement_json(j) for j in verdict.judgements],
        "matrix": [
            _judgement_json(j)
            | {"guess": p.guess.name, "best": p.best.name if p.best else None, "rule": p.rule}
            for p, j in verdict.matrix
        ],
        "checks": [c._asdict() for c in verdict.checks],
    }


def _judgement_json(judgement: Judgement) -> dict[str, Any]:
    return {
        "claim": judgement.claim.number,
        "text": judgement.claim.text,
        "row": judgement.row.name,
        "word": judgement.word,
        "reason": judgement.reason,
        "hint": judgement.hint,
        "physically_relevant": judgement.physically_relevant,
        "facts": [{"fails_if": text, "holds": holds} for text, holds in judgement.row.facts],
        "components": [_result_json(result) for result in judgement.results],
    }


def _result_json(result: Result) -> dict[str, Any]:
    component, estimate = result.component, result.estimate
    return {
        "name": component.name,
        "metric": component.metric,
        "weights": {cell.name: weight for cell, weight in component.weights.items()},
        "mean": _number(estimate.mean),
        "se_seed": _number(estimate.se_seed),
        "se_event": _number(estimate.se_event),
        "num_seeds": estimate.num_seeds,
        "interval": [_number(end) for end in result.interval],
        "strict_interval": [_number(end) for end in result.strict_interval],
        "event_interval": [_number(end) for end in result.event_interval],
        "region": [_number(end) for end in result.region],
        "physically_relevant": result.physically_relevant,
    }


def _number(value: float) -> float | None:
    """Return what JSON can hold, with nine digits; null for NaN and for no bound."""
    return float(f"{value:.9g}") if math.isfinite(value) else None
