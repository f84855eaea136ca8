"""Sanity checks: each sees what is wrong, and is content with sound runs."""

import yaml
from planted_results import CELLS, key_of, lose, plant_study, write_summary

from globals_heads.compare.checks import sanity_checks
from globals_heads.compare.results import read_results
from globals_heads.facts import RunFolder


def checked(folder, rows=None):
    """Return the checks of a planted study by their questions."""
    if rows is not None:
        write_summary(folder, rows)
    return {check.question: check for check in sanity_checks(read_results(folder, folder))}


def findings(checks):
    """Return what was found by the checks that did not pass."""
    return {check.question: check.finding for check in checks.values() if not check.passed}


def test_sound_runs_pass_and_clipping_is_mentioned(tmp_path):
    plant_study(tmp_path)
    ((question, finding),) = findings(checked(tmp_path)).items()
    assert question == "Are most training steps free of clipping?"
    assert finding.startswith(
        "mostly clipped are none, weight 10 (90%), linear, weight 10 (90%), vq,"
    )


def test_checks_of_nothing_are_not_passed(tmp_path):
    """One diverged run: nothing converged, nothing agrees, and no weights differ."""
    (row,) = plant_study(tmp_path)[:1]
    checks = checked(tmp_path, lose([row], row["run"]))
    # Its cfg.yaml is there.
    assert checks.pop("Were all runs of the grid, and of each variant, trained alike?").passed
    assert not any(check.passed for check in checks.values())
    assert checks["Did training converge?"].finding == "no run to look at"
    assert "hold 0," in checks["Does globals_beta really differ between the runs?"].finding


def test_runs_without_a_result_are_named(tmp_path):
    rows = plant_study(tmp_path)
    finding = findings(checked(tmp_path, lose(rows, rows[4]["run"])))["Did every run finish?"]
    assert finding == "26 of 27 runs finished; diverged: linear, weight 1 (seed 0)"
    checks = checked(tmp_path, rows)
    assert checks["Did every run finish?"].finding == "all 27 runs finished"


def test_checks_see_what_is_wrong(tmp_path):
    rows = plant_study(tmp_path)
    runs = [RunFolder.of(tmp_path, key_of(cell).name) for cell in CELLS]
    runs[1].settings.write_text(runs[4].settings.read_text())  # linear at 0 was trained with 1
    runs[2].events("test").write_bytes(runs[5].events("test").read_bytes())  # vq at 0 and 1
    rows[0]["best_epoch"] = 20
    found = findings(checked(tmp_path, rows))
    assert "linear/beta_0/seed_0 was trained with 1" in found.pop(
        "Does globals_beta really differ between the runs?"
    )
    assert "vq/beta_1/seed_0 equals vq/beta_0/seed_0" in found.pop("Are all runs different?")
    assert "rec_tokens of vq/beta_0/seed_0" in found.pop(
        "Do the summary and the errors per event give the same numbers?"
    )
    assert found.pop("Did training converge?") == (
        "the best epoch is the last one in 1 of 27 runs: none, weight 0 (1 of 3)"
    )
    assert list(found) == ["Are most training steps free of clipping?"]


def test_runs_of_two_kinds_of_settings_are_told_apart(tmp_path):
    rows = plant_study(tmp_path)
    rows[0]["epochs"] = 40  # trained before its cfg.yaml was changed
    cfg = RunFolder.of(tmp_path, rows[1]["run"]).settings
    values = yaml.safe_load(cfg.read_text())
    values["model"]["latent_dim"] = 16
    cfg.write_text(yaml.safe_dump(values))
    found = findings(checked(tmp_path, rows))
    finding = found["Were all runs of the grid, and of each variant, trained alike?"]
    assert f"{rows[0]['run']} has 40 epochs, its cfg.yaml says 20" in finding
    assert f"the cfg.yaml of {rows[1]['run']} differs from that of" in finding
