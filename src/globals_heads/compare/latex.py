"""The grid and the decision matrix as LaTeX tables, for a thesis."""

import math
from collections.abc import Sequence

from globals_heads.compare.answers import Answer
from globals_heads.compare.decision_matrix import Choice
from globals_heads.compare.page import priority_row
from globals_heads.compare.results import Cell, Results
from globals_heads.numbers import LOGARITHMS

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
    "<": "$<$",
    ">": "$>$",
    "/": r"/\allowbreak{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def escaped(text: str) -> str:
    """Return plain text as LaTeX writes it."""
    return "".join(SYMBOLS.get(character, character) for character in text)


def grid_table(results: Results) -> str:
    """Return the errors of all cells: mean over seeds and how far its 95 % interval reaches.

    The mean of an error whose logarithms are compared is the geometric one, and its interval
    reaches farther up than down.
    """
    metrics = [metric for metric in COLUMNS if metric in results.numbers]
    rows = [
        [escaped(cell.latent_space), cell.globals_beta]
        + [_plus_minus(*_level(results, metric, cell)) for metric in metrics]
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


def _level(results: Results, metric: str, cell: Cell) -> tuple[float, float, float]:
    """Return the mean of a metric over seeds and the ends of its interval."""
    value = results.contrast(LOGARITHMS.get(metric, metric), {cell: 1.0})
    low, high = value.interval()
    if metric in LOGARITHMS:
        return math.exp(value.mean), math.exp(low), math.exp(high)
    return value.mean, low, high


def _plus_minus(mean: float, low: float, high: float) -> str:
    """Return a mean with the arms of its interval, with a power of ten where it is small."""
    if math.isnan(mean):
        return "--"
    exponent = math.floor(math.log10(abs(mean))) if mean else 0
    exponent = exponent if exponent < -3 else 0
    mean, up, down = (number / 10**exponent for number in (mean, high - mean, mean - low))
    digits = abs(mean) / 10 if math.isnan(up) else min(up, down)
    decimals = max(0, 1 - math.floor(math.log10(digits or 1)))
    text, above, below = (f"{number:.{decimals}f}" for number in (mean, up, down))
    if not math.isnan(up):
        text += rf" \pm {above}" if above == below else rf"^{{+{above}}}_{{-{below}}}"
    return rf"$({text}) \times 10^{{{exponent}}}$" if exponent else f"${text}$"
