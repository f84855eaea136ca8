"""Tables for LaTeX: their numbers, balanced syntax, and a compilation where there is a LaTeX."""

import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from planted_results import LN_T, SETTINGS, G, lose, plant_study, quiet, write_summary

from globals_heads.compare.latex import escaped, grid_table
from globals_heads.compare.results import Cell
from globals_heads.compare.verdict import compare

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,tabularx}
\setlength{\parindent}{0pt}
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module", params=[1, 3], ids=["one seed", "three seeds"])
def tables(request, tmp_path_factory):
    """The tables of a planted study with a diverged run."""
    folder = tmp_path_factory.mktemp("study")
    rows = plant_study(folder, num_seeds=request.param)
    write_summary(folder, lose(rows, "vq/beta_1/seed_0"))
    compare(folder, folder, SETTINGS)
    return {path.stem: path.read_text() for path in (folder / "tables").glob("*.tex")}


def test_both_tables_are_made_and_balanced(tables):
    assert tables.keys() == {"grid", "decision_matrix"}
    for text in tables.values():
        begin, end = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert begin == end
        assert text.count("{") == text.count("}")
        assert text.count("$") % 2 == 0
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
        assert all(text.count(rule) == 1 for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
        assert text.isascii()
        assert "nan" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_compiles_them(tables, tmp_path):
    (tmp_path / "tables.tex").write_text(DOCUMENT % "\n\n".join(tables.values()))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000
    assert "Overfull" not in process.stdout  # each fits the width of a page


def test_numbers_have_their_uncertainty():
    """Seeds of -1 and 1 times the spread: t(4) at 97.5 % times their standard error.

    Of the tokens' error, this is the spread of the logarithm.
    """
    cell = Cell("none", "0")
    spread = {cell: math.log(2e-5) + 0.5 * np.array([-1, 0, 0, 0, 1])}
    g = {cell: 0.5 + 0.1 * np.array([-1, 0, 0, 0, 1])}
    text = grid_table(quiet(LN_T, G, ln_rec_tokens=spread, reco_objects_rec_globals=g))
    row = next(line for line in text.splitlines() if line.startswith("none & 0 &"))
    half = 2.776445 * math.sqrt(0.5 / 4) / math.sqrt(5)
    up, down = 2 * math.exp(half) - 2, 2 - 2 * math.exp(-half)
    assert rf"$(2.00^{{+{up:.2f}}}_{{-{down:.2f}}}) \times 10^{{-5}}$" in row
    assert rf"$0.500 \pm {2.776445 * math.sqrt(0.02 / 4) / math.sqrt(5):.3f}$" in row
    assert row.endswith(r"\\")


def test_symbols_of_latex_are_text():
    assert escaped("a_b & 5 % × −1 → $2 {x} < 3") == (
        r"a\_b \& 5 \% $\times$ $-$1 $\to$ \$2 \{x\} $<$ 3"
    )
