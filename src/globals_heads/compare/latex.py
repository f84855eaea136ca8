"""The grid and the decision matrix as LaTeX tables, for a thesis."""

import math
from collections.abc import Sequence

from globals_heads.compare.answers import Answer
from globals_heads.compare.decision_matrix import Choice
from globals_heads.compare.page import priority_row
from globals_heads.compare.results import Results
from globals_heads.compare.statistics import Estimate

COLUMNS = {
    "rec_tokens": "token error",
    "probe_rec_globals": "globals error",
    "reco_objects_rec_globals": "of the objects",
}
SYMBOLS = {
    "\\": r"\textbackslash{}",
    "×": r"$\times$",
    "−": "$-$",
    "→": r"$\to$",
    "/": r"/\allowbreak{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def escaped(text: str) -> str:
    """Return plain text as LaTeX writes it."""
    return "".join(SYMBOLS.get(character, character) for character in text)


def grid_table(results: Results) -> str:
    """Return the errors of all cells: mean over seeds ± half the 95 % interval, if there is one."""
    metrics = [metric for metric in COLUMNS if metric in results.numbers]
    rows = [
        [escaped(cell.latent_space), cell.globals_beta]
        + [_plus_minus(results.contrast(metric, {cell: 1.0})) for metric in metrics]
        for cell in results.cells()
    ]
    head = ["latent space", "weight", *(COLUMNS[metric] for metric in metrics)]
    return _table("tabular", f"{{@{{}}l{'r' * (len(head) - 1)}@{{}}}}", [head, *rows])


def matrix_table(matrix: Sequence[tuple[Choice, Answer]]) -> str:
    """Return the decision matrix; its first and last column share the rest of the line."""
    head = ["priority", "guess", "measured best", "supported?", "because"]
    rows = [
        [escaped(entry.word or entry.value) for entry in priority_row(choice, answer)]
        for choice, answer in matrix
    ]
    columns = [rf">{{\raggedright\arraybackslash}}{kind}" for kind in ("X", "p{5em}")]
    widths = columns[0] + 3 * columns[1] + columns[0]
    return _table("tabularx", rf"{{\linewidth}}{{@{{}}{widths}@{{}}}}", [head, *rows])


def _table(kind: str, columns: str, rows: Sequence[Sequence[str]]) -> str:
    head, *others = (" & ".join(row) + r" \\" for row in rows)
    package = "" if kind == "tabular" else f",{kind}"
    parts = [
        rf"% \usepackage{{booktabs{package}}}",
        rf"\begin{{{kind}}}{columns}",
        r"\toprule",
        head,
        r"\midrule",
        *others,
        r"\bottomrule",
        rf"\end{{{kind}}}",
    ]
    return "\n".join(parts) + "\n"


def _plus_minus(value: Estimate) -> str:
    """Return a mean ± half its interval, with a power of ten where it is small."""
    if math.isnan(value.mean):
        return "--"
    exponent = math.floor(math.log10(abs(value.mean))) if value.mean else 0
    exponent = exponent if exponent < -3 else 0
    low, high = value.interval()
    mean, half = value.mean / 10**exponent, (high - low) / 2 / 10**exponent
    digits = abs(mean) / 10 if math.isnan(half) else half
    decimals = max(0, 1 - math.floor(math.log10(digits or 1)))
    text = f"{mean:.{decimals}f}"
    if not math.isnan(half):
        text += rf" \pm {half:.{decimals}f}"
    return rf"$({text}) \times 10^{{{exponent}}}$" if exponent else f"${text}$"
