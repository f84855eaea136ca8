"""The compare step: its files, the opening sentences, and what the page shows of odd grids."""

import csv
import json
import math
import re
import shutil

import pytest
from planted_results import SETTINGS, hide_met, lose, plant_study, write_summary

from globals_heads.compare.answers import OPEN, UNTESTED, YES
from globals_heads.compare.verdict import compare
from globals_heads.settings import CompareSettings

FILES = {
    "comparison.csv",
    "verdict.md",
    "verdict.html",
    "verdict.json",
    "verdict_numbers.csv",
    "tables/summary.html",
    "tables/comparison.html",
}


def written(folder, rows=None, settings=SETTINGS):
    """Return verdict.md and verdict.json of a planted study."""
    if rows is not None:
        write_summary(folder, rows)
    compare(folder, folder, settings)
    return (folder / "verdict.md").read_text(), json.loads((folder / "verdict.json").read_text())


def without_results(rows, status="missing"):
    """Return the rows of the summary, all runs lost."""
    for row in list(rows):
        rows = lose(rows, row["run"], status)
    return rows


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
    helps, costs, space = content["answer"]
    assert helps.startswith("The globals head helps in none, linear and vq. With weight 1 instead")
    assert re.search(r"falls from 0\.6\d to 0\.2\d in none", helps)
    assert costs.startswith("The tokens pay for the globals head in none, linear and vq.")
    assert re.search(r"multiplied by 2\d\d in none \(to 0\.00", costs)  # e^5.5
    assert costs.endswith(
        "Whether a latent space of twice the size lowers this price is not tested."
    )
    assert space.startswith("The latent space vq is worse than none and linear in tokens and in")
    assert "none with weight 1 measured best" in space
    assert "On average over the weights 1 and 10, the tokens' error of vq is" in space
    for sentence in content["answer"]:
        assert sentence.endswith(".")
        assert sentence in text
    assert content["warnings"] == []
    assert content["remark"] == ""


def test_the_json_holds_every_number(tmp_path):
    plant_study(tmp_path)
    _, content = written(tmp_path)
    margin = SETTINGS.margin_globals
    assert content["settings"]["margin_globals"] == margin
    claims = {claim["claim"] for claim in content["claims"] + content["matrix"]}
    expected = "1 2 2b 2c 3 3' 4 5 6 E1 E2 E3 E4 E5 E6 M1 M2 M3 M4 M5"
    assert claims == set(expected.split())
    component = content["claims"][3]["components"][0]
    assert content["claims"][3]["claim"] == "2"
    assert component["weights"] == {"none/beta_0": 1.0, "none/beta_1": -1.0}
    assert component["region"] == [margin, None]
    assert component["interval"][0] > margin
    assert component["strict_interval"][0] < component["interval"][0] < component["mean"]
    assert component["se_event"] > 0


def test_the_appendix_holds_the_same_numbers(tmp_path):
    plant_study(tmp_path)
    _, content = written(tmp_path)
    with (tmp_path / "verdict_numbers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    answers = content["claims"] + content["matrix"]
    components = [component for answer in answers for component in answer["components"]]
    assert [row["name"] for row in rows] == [c["name"] for c in components]
    for row, component in zip(rows, components, strict=True):
        assert float(row["mean"]) == component["mean"]
        assert [float(row["interval_low"]), float(row["interval_high"])] == component["interval"]


def test_one_seed_is_said_to_be_a_hint(tmp_path):
    plant_study(tmp_path, num_seeds=1)
    text, content = written(tmp_path)
    helps, _, space = content["answer"]
    assert helps.startswith("One seed suggests that the globals head helps in none, linear and vq.")
    assert space.startswith("One seed suggests that the latent space vq is worse")
    assert content["remark"].startswith("One seed per cell is a hint, not an answer")
    # 18 runs of 20 epochs of 1.5 s.
    assert "--config seeds=3` trains 18 more runs, about 9 minutes of training" in content["remark"]
    assert content["remark"] in text
    assert "yes?" in text
    assert not re.search(r"✓ yes\*|✗ no\*", text)
    assert {claim["answer"] for claim in content["claims"]} == {OPEN, UNTESTED}
    assert content["matrix"][0]["best"] == "none/beta_0"


def test_two_seeds_are_hints(tmp_path):
    plant_study(tmp_path, num_seeds=2)
    _, content = written(tmp_path)
    assert content["answer"][0].startswith("Two seeds suggest that the globals head helps in")
    assert "trains 9 more runs" in content["remark"]


def test_what_spoils_every_answer_comes_first(tmp_path):
    rows = plant_study(tmp_path)
    spoiled = [row | {"best_epoch": 20, "clipped_fraction": 0.9} for row in rows]
    text, content = written(tmp_path, spoiled)
    converged, clipped = content["warnings"]
    assert "in 9 of 9 cells the best epoch is the last one" in converged
    assert "--config epochs=40`" in converged
    assert "clipped in 9 of 9 cells" in clipped
    assert "config/controls.yaml" in clipped
    assert text.index(converged) < text.index(clipped) < text.index(content["answer"][0])
    # Most runs of a cell, and most cells.
    few = [row | {"best_epoch": 20} if row["seed"] == 0 else row for row in rows]
    assert written(tmp_path, few)[1]["warnings"] == []


def test_without_a_head_that_is_off_only_more_of_it_is_examined(tmp_path):
    rows = [row for row in plant_study(tmp_path) if row["globals_beta"] != "0"]
    text, content = written(tmp_path, rows)
    helps, costs, _ = content["answer"]
    assert "more weight of the globals head" in helps.lower()
    assert "more weight of the globals head" in costs
    assert "more weight of the head works" in text
    assert "the head works" not in text.replace("more weight of the head works", "").replace(
        "as expected: the head works", ""
    )


def test_one_weight_with_a_head_is_named(tmp_path):
    rows = [row for row in plant_study(tmp_path) if row["globals_beta"] != "10"]
    _, content = written(tmp_path, rows)
    assert "With weight 1, the tokens' error of vq is" in content["answer"][2]


def test_many_weights_with_a_head_are_not_listed(tmp_path):
    rows = plant_study(tmp_path)
    more = [
        row | {"globals_beta": beta, "run": row["run"].replace("beta_1/", f"beta_{beta}/")}
        for row in rows
        if row["globals_beta"] == "1"
        for beta in ("2", "3")
    ]
    for row in more:
        space, _, seed = row["run"].split("/")
        shutil.copytree(tmp_path / f"runs/{space}/beta_1/{seed}", tmp_path / "runs" / row["run"])
    _, content = written(tmp_path, rows + more)
    assert "On average over all weights above 0, the tokens'" in content["answer"][2]


def test_one_latent_space_is_no_choice(tmp_path):
    rows = [row for row in plant_study(tmp_path) if row["latent_space"] == "vq"]
    text, content = written(tmp_path, rows)
    assert content["answer"][2] == (
        "The grid has the latent space vq alone. For tokens and globals together, no cell"
        " qualifies."
    )
    assert "between latent spaces" not in text


def test_a_single_cell_says_what_it_measured(tmp_path):
    rows = [row for row in plant_study(tmp_path) if row["run"].startswith("none/beta_1/")]
    text, content = written(tmp_path, rows)
    assert content["answer"][0].startswith("Whether more weight of the globals head helps in none")
    assert not re.search(r"\bnan\b", text)
    outcomes = text.split("## Expected outcomes")[1].split("▲ best, ")[0]  # above the legend
    assert "best" not in outcomes


def test_nothing_is_said_of_a_discrete_space_beside_vq(tmp_path):
    rows = plant_study(tmp_path)
    third = {"latent_space": "fsq", "status": "missing", "rec_tokens": math.nan}
    third |= {"probe_rec_globals": math.nan, "val_loss": math.nan}
    rows += [
        row | third | {"run": row["run"].replace("vq", "fsq")}
        for row in rows
        if row["latent_space"] == "vq"
    ]
    helps, costs, space = written(tmp_path, rows)[1]["answer"]
    assert "vq is worse than none and linear in tokens and in globals" in space
    assert "Whether the globals head helps in fsq is not resolved" in helps
    assert "in vq" in helps
    assert "in vq" in costs
    assert not re.search(r"\bnan\b|in fsq \(", helps + costs)


def test_a_lost_run_is_shown(tmp_path):
    text, content = written(tmp_path, lose(plant_study(tmp_path), "linear/beta_1/seed_0"))
    assert "26 of 27 runs finished; diverged: linear, weight 1 (seed 0)" in text
    assert re.search(r"0\.28 \(diverged\)", text)
    assert {c["row"]: c["answer"] for c in content["claims"] if c["claim"] == "2"} == {
        "none": YES,
        "linear": OPEN,
        "vq": YES,
    }


def test_the_best_cell_is_said_to_be_one_without_a_lost_run(tmp_path):
    _, content = written(tmp_path, lose(plant_study(tmp_path), "none/beta_1/seed_1"))
    assert (
        "linear with weight 1 measured best of the cells without a missing or diverged run"
        in content["answer"][2]
    )


def test_without_any_finished_run(tmp_path):
    text, content = written(tmp_path, without_results(plant_study(tmp_path)))
    assert {claim["answer"] for claim in content["claims"]} == {OPEN, UNTESTED}
    assert content["matrix"][0]["best"] is None
    assert not re.search(r"\bnan\b", text)
    assert "no cell without a missing or diverged run qualifies" in content["answer"][2]


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
    assert "no cell qualifies" in content["answer"][2]
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
