"""The common look: names of lost runs, formats, and figures for a page."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.lines import Line2D

from globals_heads.plot.style import drawn_for, legend, runs_without_result, save, size
from globals_heads.settings import PlotSettings


def test_long_lists_of_runs_without_result_are_cut():
    lost = pd.DataFrame({"run": [f"run_{i}" for i in range(9)], "status": "missing"})
    assert runs_without_result(lost[:0]) == ""
    assert runs_without_result(lost[:2]) == "no result: run_0 missing, run_1 missing"
    assert runs_without_result(lost).endswith("run_5 missing, and 3 more")


def test_the_page_sets_the_width_and_keeps_text_readable():
    before = size(10, 5)
    assert before == (10, 5)
    for width, text in ((16.0, 6.5), (25.4, 10.0), (8.6, 6.5)):
        with drawn_for(PlotSettings(width=width)):
            assert size(10, 5) == pytest.approx((width / 2.54, 5 * text / 10))
            assert plt.rcParams["font.size"] == pytest.approx(text)
    assert plt.rcParams["font.size"] == 10
    assert size(10, 5) == before


def test_legends_take_more_rows_on_narrow_figures():
    handles = [Line2D([], [], label=f"a long label {i}") for i in range(6)]
    nothing_lost = pd.DataFrame({"run": [], "status": []})
    for width, columns in ((15, 6), (4, 2)):
        figure = plt.figure(figsize=(width, 4))
        legend(figure, handles, nothing_lost, 6)
        assert figure.legends[0]._ncols == columns
        assert figure.legends[0].get_window_extent().width <= figure.bbox.width
        plt.close(figure)


def test_formats_have_their_fonts_inside_and_the_same_bytes(tmp_path):
    settings, written = PlotSettings(formats=["svg", "pdf"]), []
    for folder in ("one", "two"):
        figure, axes = plt.subplots()
        axes.set_title("What is it?")
        save((figure, pd.DataFrame({"x": [1.0]})), tmp_path / folder / "a.svg", settings)
        written.append({p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()})
    assert written[0] == written[1]
    assert written[0].keys() == {"a.svg", "a.pdf", "a.csv"}
    assert b"/FontFile2" in written[0]["a.pdf"]
    assert b"/Type3" not in written[0]["a.pdf"]
