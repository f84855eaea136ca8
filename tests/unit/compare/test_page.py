"""The page of the verdict: its words, its optional parts, and how it looks in a browser."""

import re

import chromium
import numpy as np
import pytest
from planted_results import (
    FLAT,
    LN_T,
    SETTINGS,
    G,
    by_beta,
    change,
    drawn,
    plant_study,
    quiet,
    write_summary,
)

from globals_heads.compare.page import page
from globals_heads.compare.results import Cell
from globals_heads.compare.verdict import compare, give_verdict


def shown(results, *, html=False):
    """Return the page of these results."""
    return page(give_verdict(results, SETTINGS), results, SETTINGS, html=html)


def outcomes(results, error, space="vq"):
    """Return the words of one row of the expected outcomes, the weights and whether as expected."""
    _, rest = shown(results).split(f"| {error}", 1)
    row = next(line for line in rest.splitlines() if line.startswith(f"| {space} |"))
    return re.findall(r"\*\*\S (.*?)\*\*", row)


def with_table(results):
    """Return results whose summary has the columns that sentences read."""
    columns = ("variant", "epochs", "epoch_time_s", "linear_fit_rec_globals")
    results.table[list(columns)] = None
    return results


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (by_beta(0, 1, 2), ["best", "middle", "worst", "yes"]),
        (by_beta(2, 1, 0), ["worst", "middle", "best", "no"]),
        (by_beta(0, 2, 1), ["best", "worst", "middle", "partly"]),
        (by_beta(0, 1, 1), ["best", "tie", "tie", "partly"]),
        (by_beta(0, 0, 1), ["tie", "tie", "worst", "partly"]),
        (by_beta(0, 0, 0), ["tie", "tie", "tie", "no"]),
    ],
)
def test_outcomes_by_hand(truth, words):
    results = with_table(quiet(truth, FLAT))
    assert outcomes(results, "token error") == words
    assert outcomes(results, "total loss") == words


def test_the_globals_error_is_expected_the_other_way_round():
    results = with_table(quiet(by_beta(0, 1, 2), by_beta(0.6, 0.4, 0.3)))
    assert outcomes(results, "globals error") == ["worst", "middle", "best", "yes"]


def test_what_is_not_known_is_not_resolved():
    noisy = np.linspace(-3, 3, 5)
    ln_t = {cell: value + noisy for cell, value in by_beta(0, 1, 2).items()}
    ln_t = {
        cell: values if cell.globals_beta == "0" else values[::-1] for cell, values in ln_t.items()
    }
    results = with_table(quiet(FLAT, FLAT, ln_rec_tokens=ln_t))
    assert set(outcomes(results, "token error")) <= {"not resolved", "not best", "not worst"}


def test_the_parts_come_in_the_order_of_the_quick_reference():
    text = shown(with_table(drawn(np.random.default_rng(1), LN_T, G, 5)))
    heads = re.findall(r"^##? (.*)", text, flags=re.MULTILINE)
    assert heads == [
        "Does a globals head help?",
        "Expected outcomes",
        "Patterns",
        "Decision matrix",
        "Can this be trusted?",
    ]
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_optional_parts_are_shown_where_they_were_run():
    ln_t, g = dict(LN_T), dict(G)
    for beta in ("0", "1"):
        turned = Cell("vq", beta, "rotation")
        ln_t[turned] = LN_T[turned._replace(variant="")] - np.log(2)
        g[turned] = G[turned._replace(variant="")] - 0.1
    results = with_table(quiet(ln_t, g))
    text = shown(results)
    assert re.search(r"\| token error \| × 0\.5\d* \(.*?\) \| × 0\.5\d* \(.*?\) \|  \|", text)
    assert re.search(r"\| globals error \| −0\.1\d* ", text)
    plain = shown(with_table(quiet(LN_T, G)))
    assert "rotation" not in plain
    assert "next phase" not in plain


def test_words_have_a_colour_and_a_shape():
    html = shown(with_table(quiet(LN_T, G)), html=True)
    for word, shape in (("yes", "✓"), ("no", "✗"), ("best", "▲"), ("worst", "▼")):
        assert f'<b class="{word}">{shape} {word}</b>' in html
        assert re.search(rf"\.{word}\b.*color", html)


@pytest.mark.skipif(chromium.PATH is None, reason="there is no chromium")
@pytest.mark.parametrize("num_weights", [1, 3])
def test_it_never_scrolls_sideways(tmp_path, num_weights):
    rows = plant_study(tmp_path)
    kept = ("0", "1", "10")[-num_weights:]
    rows = [row for row in rows if row["globals_beta"] in kept]
    write_summary(tmp_path, change(rows, "vq/beta_10/seed_1", status="diverged"))
    compare(tmp_path, tmp_path, SETTINGS)
    with chromium.opened(tmp_path / "verdict.html", tmp_path) as window:
        for width in (1280, 390):
            window.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=False,
            )
            assert window.evaluate("document.documentElement.scrollWidth") <= width
        assert window.problems == []
