"""The verdict: its sentences, its three files, and texts that come out as they went in."""

import json
import math
import re

import pytest
from docutils.core import publish_doctree
from docutils.nodes import entry, paragraph, section, strong, title
from hypothesis import given
from hypothesis import strategies as st
from planted_results import SETTINGS, hide_met, lose, plant_study, write_summary

from globals_heads.compare.answers import OPEN, UNTESTED, YES
from globals_heads.compare.verdict import Bold, compare, markdown, rst
from globals_heads.settings import CompareSettings

FILES = {
    "comparison.csv",
    "verdict.md",
    "verdict.rst",
    "verdict.json",
    "tables/summary.html",
    "tables/comparison.html",
}


def written(folder, rows=None, settings=SETTINGS):
    """Return verdict.md and verdict.json of a planted study."""
    if rows is not None:
        write_summary(folder, rows)
    compare(folder, folder, settings)
    return (folder / "verdict.md").read_text(), json.loads((folder / "verdict.json").read_text())


def test_one_step_makes_all_files_and_the_same_bytes_come_twice(tmp_path):
    plant_study(tmp_path)
    written(tmp_path)
    first = {name: (tmp_path / name).read_bytes() for name in FILES}
    written(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == first
    assert b"linear_fit_rec_globals" in first["tables/summary.html"]
    assert b"difference_event_high" in first["tables/comparison.html"]
    assert b"ln_rec_tokens" not in first["tables/summary.html"]  # a number derived for the claims


def test_the_verdict_opens_with_three_sentences(tmp_path):
    plant_study(tmp_path)
    text, content = written(tmp_path)
    assert text.split("\n\n")[:4] == ["# Verdict", *content["sentences"]]
    helps, costs, space = content["sentences"]
    assert helps.startswith("The globals head helps: yes for none, linear and vq;")
    assert "from 0.6" in helps
    assert costs.startswith("A trade-off, tokens for globals: yes for none, linear and vq;")
    assert costs.endswith(
        "because the latent space is too small: not tested for none, linear and vq."
    )
    assert space.startswith("Which latent space: a continuous one, as vq is worse on both counts;")
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in content["sentences"])


def test_the_first_page_of_the_report_is_whole(tmp_path):
    plant_study(tmp_path)
    _, content = written(tmp_path)
    text = (tmp_path / "verdict.rst").read_text()
    tree = publish_doctree(text, settings_overrides={"halt_level": 1, "report_level": 1})
    paragraphs = [node.astext() for node in tree.findall(paragraph)]
    assert paragraphs[:3] == content["sentences"]
    for answer in content["claims"] + content["matrix"]:
        assert {answer["text"], answer["row"], answer["reason"]} <= set(paragraphs)
    for check in content["checks"]:
        assert {check["question"], check["finding"]} <= set(paragraphs)


def test_the_json_holds_every_number(tmp_path):
    plant_study(tmp_path)
    _, content = written(tmp_path)
    margin = SETTINGS.margin_globals
    assert content["settings"]["margin_globals"] == margin
    claims = {claim["claim"] for claim in content["claims"] + content["matrix"]}
    expected = "1 2 2b 2c 3 3' 4 5 6 E1 E2 E3 E4 M1 M2 M3 M4 M5"
    assert claims == set(expected.split())
    component = content["claims"][3]["components"][0]
    assert content["claims"][3]["claim"] == "2"
    assert component["weights"] == {"none/beta_0": 1.0, "none/beta_1": -1.0}
    assert component["region"] == [margin, None]
    assert component["interval"][0] > margin
    assert component["strict_interval"][0] < component["interval"][0] < component["mean"]
    assert component["se_event"] > 0


def test_every_table_row_has_all_its_cells(tmp_path):
    plant_study(tmp_path)
    text, _ = written(tmp_path)
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count(" | ") for line in table.splitlines()}) == 1


def test_one_seed_is_said_to_be_chance(tmp_path):
    plant_study(tmp_path, num_seeds=1)
    _, content = written(tmp_path)
    helps, _, space = content["sentences"]
    assert "not resolved (these runs alone: a continuous one" in space
    assert "not resolved (these runs alone: yes) for none, linear and vq" in helps
    assert space.endswith("n = 1, so all of this may be chance.")
    assert {claim["answer"] for claim in content["claims"]} == {OPEN, UNTESTED}
    assert content["matrix"][0]["best"] == "none/beta_0"
    for claim in content["claims"]:
        if claim["answer"] == OPEN:
            assert re.fullmatch(
                r"1 of at least 3 seeds; these runs alone: .* = \S+ \(\S+ to \S+\).*",
                claim["reason"],
            )


def test_without_a_head_that_is_off_only_more_of_it_is_examined(tmp_path):
    rows = [row for row in plant_study(tmp_path) if row["globals_beta"] != "0"]
    text, content = written(tmp_path, rows)
    helps, costs, _ = content["sentences"]
    assert helps.startswith("More weight of the globals head helps: ")
    assert costs.startswith("A trade-off, tokens for globals: ")
    assert "more weight of the head works" in text
    assert "the head works" not in text.replace("more weight of the head works", "")


def test_one_latent_space_is_no_choice(tmp_path):
    rows = [row for row in plant_study(tmp_path) if row["latent_space"] == "vq"]
    space = written(tmp_path, rows)[1]["sentences"][2]
    assert space == (
        "Which latent space: the grid has vq alone; for tokens and globals together no cell"
        " qualifies, and the guess linear/beta_1 is not tested."
    )


def test_nothing_is_said_of_a_discrete_space_beside_vq(tmp_path):
    rows = plant_study(tmp_path)
    third = {"latent_space": "fsq", "status": "missing", "rec_tokens": math.nan}
    third |= {"probe_rec_globals": math.nan}
    rows += [
        row | third | {"run": row["run"].replace("vq", "fsq")}
        for row in rows
        if row["latent_space"] == "vq"
    ]
    helps, costs, space = written(tmp_path, rows)[1]["sentences"]
    assert "as vq is worse on both counts (nothing is said of fsq)" in space
    assert "not resolved for fsq" in helps
    assert "(vq)" in helps
    assert "(vq)" in costs
    assert not re.search(r"\bnan\b|\(fsq\)", helps + costs)


def test_a_lost_run_is_shown(tmp_path):
    text, content = written(tmp_path, lose(plant_study(tmp_path), "linear/beta_1/seed_0"))
    assert "missing or diverged: linear/beta_1/seed_0 diverged" in text
    assert {c["row"]: c["answer"] for c in content["claims"] if c["claim"] == "2"} == {
        "none": YES,
        "linear": OPEN,
        "vq": YES,
    }


def test_the_best_cell_is_said_to_be_one_without_a_lost_run(tmp_path):
    _, content = written(tmp_path, lose(plant_study(tmp_path), "none/beta_1/seed_1"))
    assert (
        "linear/beta_1 measured best of the cells without a missing or diverged run; is this"
        " guess as good as any?" in content["sentences"][2]
    )


def test_without_any_finished_run(tmp_path):
    rows = plant_study(tmp_path)
    for row in list(rows):
        rows = lose(rows, row["run"], "missing")
    text, content = written(tmp_path, rows)
    assert {claim["answer"] for claim in content["claims"]} == {OPEN, UNTESTED}
    assert content["matrix"][0]["best"] is None
    assert not re.search(r"\bnan\b", text)
    assert "none qualifies" not in text  # none is a latent space
    assert "no cell without a missing or diverged run qualifies" in content["sentences"][2]


@pytest.mark.parametrize("off_by", [1.02, 0.98])
def test_without_a_readable_met_nothing_is_said_of_skill(tmp_path, off_by):
    plant_study(tmp_path)
    hide_met(tmp_path, off_by)
    _, content = written(tmp_path)
    matrix = {answer["claim"]: answer for answer in content["matrix"]}
    for claim in ("M2", "M5"):
        assert matrix[claim]["best"] is None
        assert matrix[claim]["answer"] == UNTESTED
        assert matrix[claim]["reason"] == "the one-parameter fit is not shown to beat the mean"
    assert "no cell qualifies" in content["sentences"][2]
    (finding,) = (c["finding"] for c in content["checks"] if "data as expected" in c["question"])
    assert "nothing of MET can be read" in finding


def test_a_reference_outside_the_grid_is_said_to_be(tmp_path, capsys):
    plant_study(tmp_path)
    reference = {"latent_space": "fsq", "globals_beta": 1}
    written(tmp_path, settings=CompareSettings(reference=reference))
    assert "The reference cell fsq/beta_1 (compare.reference) is not in" in capsys.readouterr().out


def test_symbols_stand_beside_their_words(tmp_path):
    """T, G, H, L and S alone say nothing to a reader; only the text on the words defines them."""
    text, content = written(tmp_path, lose(plant_study(tmp_path), "linear/beta_1/seed_0"))
    assert not re.search(r"(?<![(\w])[TGHLS]\b(?!\))", text + json.dumps(content))


ODD = [
    "3'",
    "a_b",
    "ends_",
    "*star",
    "**",
    "`tick`",
    "|pipe|",
    "back\\slash",
    "_",
    "x_/y",
    "-1 to 2",
]


def entries(text):
    """Return the cells of the tables in reStructuredText that must be without a fault."""
    tree = publish_doctree(text, settings_overrides={"halt_level": 1, "report_level": 1})
    return [cell.astext() for cell in tree.findall(entry)]


def test_odd_texts_survive():
    rows = [[text, Bold(text)] for text in ODD]
    head, *cells = zip(*[iter(entries(rst([[["a_", "b"], *rows]])))] * 2, strict=True)
    assert head == ("a_", "b")
    assert cells == [(text, text) for text in ODD]


@given(
    st.text("ab1 _*`|\\'-<>&", min_size=1).map(str.strip).filter(lambda text: text[:1].isalnum())
)
def test_any_text_survives(text):
    words = " ".join(text.split())
    assert entries(rst([[["head"], [words]]])) == ["head", words]


def test_markdown_keeps_its_columns():
    text = markdown([[["a", "b"], ["x|y", Bold("no")]]])
    assert text == "| a | b |\n| --- | --- |\n| x\\|y | **no** |\n"


def test_parts_follow_each_other():
    document = ["First *word*.", "## Head", [["h"], [Bold("yes")]]]
    assert markdown(document).startswith("First *word*.\n\n## Head\n\n| h |")
    tree = publish_doctree(rst(document), settings_overrides={"halt_level": 1})
    assert [node.astext() for node in tree.findall(title)] == ["Head"]
    assert len(list(tree.findall(section))) == 1
    assert [node.astext() for node in tree.findall(strong)] == ["yes"]


def test_only_rst_leaves_out_what_the_row_above_says():
    table = [["a", "b", "c"], ["1", "x", "y"], ["1", "x", "z"], ["1", "w", "z"]]
    assert entries(rst([table]))[3:] == ["1", "x", "y", "", "", "z", "", "w", "z"]
    assert markdown([table]).endswith("| 1 | w | z |\n")
