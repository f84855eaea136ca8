"""The compare step: the comparison of all cells, and the verdict as pages, JSON and CSV."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from globals_heads.compare import downstream
from globals_heads.compare.answers import Answer, Measured, answer_all
from globals_heads.compare.checks import sanity_checks
from globals_heads.compare.comparison import comparison, html_table, reference_cell
from globals_heads.compare.decision_matrix import decision_matrix
from globals_heads.compare.latex import grid_table, matrix_table
from globals_heads.compare.page import Verdict, page
from globals_heads.compare.questions import Axes, claims
from globals_heads.compare.results import Results, read_results
from globals_heads.compare.sentences import opening, remark, warnings
from globals_heads.compare.words import said
from globals_heads.files import write_text
from globals_heads.settings import CompareSettings


def compare(
    results_folder: Path,
    baselines_folder: Path,
    settings: CompareSettings,
    downstream_of: Literal["none", "generated", "given"] = "none",
) -> None:
    """Write comparison.csv, the verdict with its numbers, and the tables as pages and for LaTeX.

    Parameters
    ----------
    results_folder, baselines_folder
        See `read_results`; everything is written into the first.
    settings
        The reference cell and the margins.
    downstream_of
        Whether the runs have the numbers of the downstream stage, and who made the events; with
        them, downstream.csv is written, too.
    """
    results = read_results(results_folder, baselines_folder)
    if downstream_of != "none":
        results = downstream.with_downstream(results, results_folder, baselines_folder)
        _write_csv(results_folder / "downstream.csv", downstream.run_table(results))
    reference = reference_cell(settings)
    if reference not in results.statuses:
        print(
            f"The reference cell {reference.name} (compare.reference) is not in this grid, so the "
            "columns of differences are empty."
        )
    table = comparison(results, settings)
    _write_csv(results_folder / "comparison.csv", table)
    write_text(results_folder / "tables/summary.html", html_table("summary", results.table))
    write_text(results_folder / "tables/comparison.html", html_table("comparison", table))
    verdict = give_verdict(results, settings)
    content = _as_json(verdict, settings)
    if downstream_of != "none":
        beta = Axes.of(results).standard
        generated = downstream_of == "generated"
        content["downstream"] = downstream.verdict_rows(results, beta, generated=generated)
    content = _rounded(content)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_text(results_folder / "verdict.json", text + "\n")
    _write_csv(
        results_folder / "verdict_numbers.csv", _numbers(content["claims"] + content["matrix"])
    )
    write_text(results_folder / "tables/grid.tex", grid_table(results))
    write_text(results_folder / "tables/decision_matrix.tex", matrix_table(verdict.matrix))
    for name, html in (("verdict.md", False), ("verdict.html", True)):
        write_text(
            results_folder / name,
            page(verdict, results, settings, content.get("downstream"), html=html),
        )


def give_verdict(results: Results, settings: CompareSettings) -> Verdict:
    """Return the verdict on `results`."""
    answers = answer_all(results, claims(results, settings), settings.margin_physics)
    choices = decision_matrix(results, settings)
    guesses = answer_all(results, [c.question for c in choices], settings.margin_physics)
    matrix = list(zip(choices, guesses, strict=True))
    return Verdict(
        warnings=warnings(results),
        answer=opening(results, answers, matrix),
        remark=remark(results),
        claims=answers,
        matrix=matrix,
        checks=sanity_checks(results),
    )


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def _numbers(answers: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return a row for every component of every answer in verdict.json."""
    rows = []
    for answer in answers:
        for component in answer["components"]:
            row = {name: answer[name] for name in ("claim", "text", "row", "answer", "hint")}
            for name, value in component.items():
                if isinstance(value, list):
                    row |= {f"{name}_low": value[0], f"{name}_high": value[1]}
                elif name != "weights":
                    row[name] = value
            rows.append(row)
    return pd.DataFrame(rows)


def _as_json(verdict: Verdict, settings: CompareSettings) -> dict[str, Any]:
    return {
        "warnings": verdict.warnings,
        "answer": verdict.answer,
        "remark": verdict.remark,
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
    return {
        "name": said(measured, by_weight=False).what,
        "metric": component.metric,
        "weights": {cell.name: weight for cell, weight in component.weights.items()},
        **asdict(measured.estimate),
        "interval": measured.interval,
        "strict_interval": measured.strict_interval,
        "region": measured.region,
        "event_interval": measured.estimate.event_interval(),
        "physically_relevant": measured.physically_relevant,
    }


def _rounded(value: Any) -> Any:
    """Return what JSON can hold, numbers with nine digits; null for NaN and for no bound."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value
