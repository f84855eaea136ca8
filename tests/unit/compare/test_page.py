"""The page of the verdict: its words, its optional parts, and how it looks in a browser."""

import math
import re

import chromium
import numpy as np
import pytest
from planted_results import (
    CELLS,
    FLAT,
    LN_T,
    SETTINGS,
    G,
    but,
    by_beta,
    change,
    controls,
    drawn,
    equal,
    plant_study,
    quiet,
    with_lost_run,
    write_summary,
)

from globals_heads.compare.page import page
from globals_heads.compare.results import Cell
from globals_heads.compare.verdict import compare, give_verdict
from globals_heads.numbers import number


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


def test_every_mark_is_in_the_legend():
    text = shown(with_table(drawn(np.random.default_rng(1), LN_T, G, 5)))
    (legend,) = (line for line in text.splitlines() if line.startswith("▲ best, "))
    for mark, word in re.findall(r"\*\*(\S) (.*?)\*\*", text):
        assert re.search(rf"{mark} {word}\b", legend) or word in ("not best", "not worst")


def test_words_that_need_it_are_explained_where_they_come_first():
    text = shown(with_table(quiet(LN_T, G)))
    for word, clause in (
        ("probe", "a linear (ridge) fit from the latents to MET, the probe: 1 guesses the mean"),
        ("skill", "of the one-parameter fit's gain over the mean (the skill)"),
        ("geometric", "of token error and total loss geometric means"),
    ):
        assert text.index(word) == text.index(clause) + clause.index(word)


def row_of(results, first):
    """Return the entries of the first row whose first one begins so."""
    line = next(line for line in shown(results).splitlines() if line.startswith(f"| {first}"))
    return line.strip("| ").split(" | ")


def test_patterns_show_what_a_yes_needs():
    results = with_table(quiet(LN_T, G))
    for claim, need in (("1", "−0.02 to 0.02"), ("2b", "< −0.02"), ("2c", "> 0")):
        assert f"needs {need}" in row_of(results, f"{claim} ")[0]
    assert "needs > × 1.25" in row_of(results, "3 ")[0]
    assert "needs × 0.8 to × 1.25" in row_of(results, "5 ")[1]
    better = {("none", "1"): -8, ("linear", "1"): -6}
    ln_t = LN_T | {Cell(*cell): value for cell, value in better.items()}
    assert "needs < × 1.25" in row_of(with_table(quiet(ln_t, G)), "balanced")[4]


def test_why_some_have_no_answer_stands_in_their_cells():
    ln_t, g = controls(2.0, 1.0)
    for cell in list(ln_t):  # controls of one latent space alone
        if cell.variant and cell.latent_space != "none":
            del ln_t[cell], g[cell]
    name, *cells, _ = row_of(with_table(quiet(ln_t, g)), "3' ")
    assert "not run" not in name
    assert ["(the controls were not run)" in cell for cell in cells] == [False, True, True]
    name, *cells, _ = row_of(with_table(quiet(LN_T, G)), "3' ")
    assert name.endswith("(the controls were not run)")
    assert all(cell.endswith("not tested**") for cell in cells)


def test_the_guess_is_compared_with_the_measured_best_cell():
    """The cell with the smallest globals error comes second, if it decides alone."""
    tokens = but(by_beta(0, 1, 2), [("vq", "10")], 3)
    g = but(equal(0.4), [("none", "1"), ("vq", "10")], 0.3)
    both = but(g, [("none", "1")], 0.315)
    first = "globals error, linear, weight 10 against none, weight 1: +0."
    *_, guess, best, word, because = row_of(with_table(quiet(tokens, g)), "emphasise globals")
    assert (guess, best, word) == ("linear, weight 10", "none, weight 1", "**✗ no**")
    assert because.startswith(first)
    assert because.count("against") == 1
    # At the margin to the best cell, and beyond it to another one.
    linear = both | {Cell("linear", "10"): 0.33}
    because = row_of(with_table(quiet(tokens, linear)), "emphasise globals")[-1]
    assert because.startswith(first)
    assert "; globals error, linear, weight 10 against vq, weight 10: +0.03" in because


def test_a_cell_with_better_tokens_that_does_not_qualify_is_in_the_reason():
    late = {Cell("none", "1"): np.array([0, 5, 0, 5, 5])}
    because = row_of(with_table(quiet(LN_T, G, epochs_after_best=late)), "production")[-1]
    assert because.endswith(
        ". Left out: none, weight 1 (the best epoch is the last one in 2 of 5 seeds)"
    )


def test_one_seed_shows_the_fact_that_refuses_a_guess():
    results = quiet(LN_T, G, num_seeds=1, epochs_after_best={Cell("linear", "1"): 0})
    row = row_of(with_table(results), "production")
    assert row[3:] == ["**✗ no?**", "the best epoch is the last one in 1 of 1 seeds"]


def test_a_hint_about_the_balanced_guess_is_said_to_be_one():
    hint = "; one seed suggests that the usual guess, linear with weight 1, is"
    for ln_t, words in (
        (LN_T, "as good as any."),
        (but(LN_T, [("none", "1")], -8), "not as good."),
    ):
        results = with_table(quiet(ln_t, G, num_seeds=1))
        assert give_verdict(results, SETTINGS).answer[2].endswith(f"{hint} {words}")


def certainty(results):
    """Return what the page says of answers that are not resolved."""
    text = shown(results)
    return next(line for line in text.splitlines() if "answers on this page" in line)


def test_answers_that_are_not_resolved_are_named_by_what_would_resolve_them():
    assert certainty(with_table(quiet(LN_T, G))).endswith(
        " 0 of 32 answers on this page are not resolved."
    )
    noisy = {Cell("vq", "10"): G[Cell("vq", "10")] + np.linspace(-0.1, 0.1, 5)}
    text = certainty(with_table(quiet(LN_T, G, probe_rec_globals=noisy)))
    assert "More seeds would help: pattern 2, 2b (vq)" in text
    assert "test events" not in text
    lost = with_lost_run(quiet(LN_T, G), Cell("vq", "10"))
    text = certainty(with_table(lost))
    assert (
        "The missing or diverged runs are needed for: pattern 1, 2, 2b, 3 (vq); pattern 4, 5, 6;"
        " expected token error, globals error, total loss (vq); priority pure reconstruction,"
    ) in text


def test_latent_spaces_with_the_same_open_answers_come_together():
    g = {cell: G[cell] + np.linspace(-0.1, 0.1, 5) for cell in CELLS if cell.globals_beta == "10"}
    text = certainty(with_table(quiet(LN_T, G, probe_rec_globals=g)))
    assert "More seeds would help: pattern 2, 2b (none, linear, vq); " in text
    one_seed = certainty(with_table(quiet(LN_T, G, num_seeds=1)))
    assert "32 of 32 answers on this page are not resolved. More seeds would help: all." in one_seed


def test_the_opening_sentences_compare_the_seeds_that_both_cells_have():
    """A seed with a large error, lost at one weight, does not look like a change."""
    off, on, last = Cell("none", "0"), Cell("none", "1"), Cell("none", "10")
    large = np.array([0, 0, 0, 0, 1.0])
    results = quiet(
        LN_T,
        G,
        probe_rec_globals={cell: G[cell] + large for cell in (off, on)},
        ln_rec_tokens={cell: LN_T[cell] + large for cell in (off, last)},
    )
    lost = with_lost_run(with_lost_run(results, on), last)
    text = shown(with_table(lost))
    assert f"from {G[off]:.2f} to {G[on]:.2f} in none" in text
    assert f"multiplied by {number(math.exp(LN_T[last] - LN_T[off]))} in none" in text


def test_brackets_of_few_seeds_are_of_test_events():
    deciding = "Brackets hold the interval that decides: 95 %"
    alone = "Brackets hold the 95 % interval of these very runs on other test events"
    assert deciding in shown(with_table(quiet(LN_T, G)))
    assert alone in shown(with_table(quiet(LN_T, G, num_seeds=2)))


def test_it_says_whether_every_run_finished():
    assert "\nAll 45 runs finished. " in shown(with_table(quiet(LN_T, G)))
    lost = with_table(with_lost_run(quiet(LN_T, G), Cell("vq", "10"), "missing"))
    assert "finish?** 44 of 45 runs finished; missing: vq, weight 10 (seed 4)\n" in shown(lost)


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
