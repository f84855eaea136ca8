"""Documents and tables as pages: any text comes out of them as it went in."""

import pytest
from docutils.core import publish_doctree
from docutils.nodes import entry, section, strong, title
from hypothesis import given
from hypothesis import strategies as st

from globals_heads.compare.documents import Bold, Heading, Table, markdown, rst
from globals_heads.compare.tables import write_page

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
    head, *cells = zip(*[iter(entries(rst([Table(["a_", "b"], rows)])))] * 2, strict=True)
    assert head == ("a_", "b")
    assert cells == [(text, text) for text in ODD]


@given(
    st.text("ab1 _*`|\\'-<>&", min_size=1).map(str.strip).filter(lambda text: text[:1].isalnum())
)
def test_any_text_survives(text):
    words = " ".join(text.split())
    assert entries(rst([Table(["head"], [[words]])])) == ["head", words]


def test_markdown_keeps_its_columns():
    text = markdown([Table(["a", "b"], [["x|y", Bold("no")]])])
    assert text == "| a | b |\n| --- | --- |\n| x\\|y | **no** |\n"


def test_parts_follow_each_other():
    document = ["First *word*.", Heading("Head"), Table(["h"], [[Bold("yes")]])]
    assert markdown(document).startswith("First *word*.\n\n## Head\n\n| h |")
    tree = publish_doctree(rst(document), settings_overrides={"halt_level": 1})
    assert [node.astext() for node in tree.findall(title)] == ["Head"]
    assert len(list(tree.findall(section))) == 1
    assert [node.astext() for node in tree.findall(strong)] == ["yes"]


def test_only_rst_leaves_out_what_the_row_above_says():
    table = Table(["a", "b", "c"], [["1", "x", "y"], ["1", "x", "z"], ["1", "w", "z"]])
    assert entries(rst([table]))[3:] == ["1", "x", "y", "", "", "z", "", "w", "z"]
    assert markdown([table]).endswith("| 1 | w | z |\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1.34061366e-05", "1.341e-05"), ("17432.0112", "17432"), ("0.98280", "0.9828"), ("", "")],
)
def test_a_page_shows_four_digits(tmp_path, value, shown):
    table, page = tmp_path / "table.csv", tmp_path / "pages/table.html"
    table.write_text(f"latent_space,number\nnone,{value}\nnone,\n")
    write_page(table, page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<td>none</td>") == 2  # no missing value
    assert f"<td>{shown}</td>" in text
    assert "NaN" not in text


def test_a_page_takes_nothing_for_html(tmp_path):
    table, page = tmp_path / "table.csv", tmp_path / "table.html"
    table.write_text("<b>,{x}\n<script>,&\n")
    write_page(table, page)
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert "{x}" in text
