"""`verify` names every run whose numbers do not come from this config, data and code."""

import json
import os
import subprocess
import sys

import pytest

RUN = "vq/beta_1/seed_0"
FACTS = f"results/runs/{RUN}/facts"


def verify(study, *arguments):
    """Return the exit code and the lines of the command."""
    command = [sys.executable, "-m", "globals_heads", "verify", "--configfile", "tiny.yaml"]
    process = subprocess.run(
        [*command, *arguments],
        cwd=study.path,
        env=os.environ | study.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in process.stderr, process.stderr
    return process.returncode, (process.stdout + process.stderr).splitlines()


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_finished_study_is_verified(study):
    """Nothing differs, wherever the study was moved to."""
    assert verify(study) == (
        0,
        ["4 of 4 runs come from this config, these data and this code."],
    )


def test_a_changed_setting_is_named(study):
    """All runs were trained with the old value."""
    code, lines = verify(
        study, "--config", "epochs=7", "--config", "bottleneck={vq: {ema_decay: 0.5}}"
    )
    assert code == 1
    assert f"{RUN}: trained with epochs 1, the config says 7" in lines
    assert f"{RUN}: trained with bottleneck.ema_decay 0.99, the config says 0.5" in lines
    assert lines[-1].startswith("0 of 4 runs")
    assert not any("none" in line and "ema_decay" in line for line in lines)


def test_a_run_that_the_summary_lacks_is_named(study):
    """A config with more runs than were made."""
    code, lines = verify(study, "--config", "seeds=2")
    assert code == 1
    assert "vq/beta_1/seed_1: it is not finished" in lines
    assert lines[-1].startswith("4 of 8 runs")


def test_rows_of_other_runs_are_named(study):
    """A config with fewer runs than were made."""
    code, lines = verify(study, "--config", "globals_beta=[0]")
    assert code == 1
    assert "summary.csv: it has rows of other runs: none/beta_1/seed_0, vq/beta_1/seed_0" in lines


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("facts/metrics_val.csv", "facts/metrics_val.csv was changed after the step train"),
        ("facts/metrics_test.csv", "facts/metrics_test.csv was changed after the step evaluate"),
        ("model.pt", "model.pt was changed after the step train"),
        ("facts/events_test.npz", "facts/events_test.npz was changed after the step evaluate"),
    ],
)
def test_a_file_changed_by_hand_is_named(study, file, problem):
    """Also where the table still reads the same."""
    path = study / "results/runs" / RUN / file
    path.write_bytes(path.read_bytes() + b"\n")
    code, lines = verify(study)
    assert code == 1
    assert lines == [
        f"{RUN}: {problem}",
        "3 of 4 runs come from this config, these data and this code.",
    ]


def test_a_row_changed_by_hand_is_named(study):
    """A better number in the table than in the facts."""
    summary = study / "results/summary.csv"
    (row,) = [line for line in summary.read_text().splitlines() if RUN in line]
    replace(summary, row, row.replace("ok", "ok", 1)[:-1] + "9")
    code, lines = verify(study)
    assert code == 1
    assert f"{RUN}: its row in the summary is not what its facts say" in lines


def test_other_code_is_named(study):
    """An edit of training concerns the step train only; one of a comment nothing."""
    path = study / "src/globals_heads/evaluate/evaluate.py"
    path.write_text(path.read_text() + "\n# A remark.\n")
    assert verify(study)[0] == 0
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    code, lines = verify(study)
    assert code == 1
    assert f"{RUN}: evaluate: made from other code than now" in lines
    assert not any("train: made" in line for line in lines)


def test_other_settings_of_the_data_are_named(study):
    """Given as snakemake takes them; no run comes from such data."""
    words = ("--config", "pack={globals_target: polar}", "epochs=1")
    code, lines = verify(study, *words)
    assert code == 1
    assert lines == [
        "data: made with pack.globals_target components, the config says polar",
        "0 of 4 runs come from this config, these data and this code.",
    ]


def test_other_baselines_are_named(study):
    """They are columns of the summary."""
    path = study / "src/globals_heads/evaluate/baselines.py"
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    code, lines = verify(study)
    assert code == 1
    assert lines[0] == "data: baselines: made from other code than now"


def test_a_row_twice_is_named(study):
    """Whoever sums or counts would be misled."""
    summary = study / "results/summary.csv"
    summary.write_text(summary.read_text() + summary.read_text().splitlines()[-1] + "\n")
    code, lines = verify(study)
    assert code == 1
    assert lines[0] == "summary.csv: it has rows twice or in another order"


def test_other_data_are_named(study):
    """The packed file was made again from something else."""
    packed = next((study / "results/data").glob("*/packed.h5"))
    packed.write_bytes(packed.read_bytes() + b"x")
    code, lines = verify(study)
    assert code == 1
    assert f"{RUN}: train: made from other packed data than now" in lines


@pytest.mark.parametrize("content", ["", "[]", '{"made_from": {}, "outputs": 3}', "{", "[" * 9999])
def test_a_damaged_manifest_is_named(study, content):
    """It ends neither the command nor the check of the other runs."""
    (study / FACTS / "manifest_train.json").write_text(content)
    code, lines = verify(study)
    assert code == 1
    assert any("manifest_train.json is no manifest that can be read" in line for line in lines)
    assert lines[-1].startswith("3 of 4 runs")


def test_without_a_summary_it_says_how_to_make_one(study):
    """One sentence."""
    (study / "results/summary.csv").unlink()
    code, lines = verify(study)
    assert code == 1
    assert "make it with `snakemake --profile local`" in lines[-1]


def test_what_a_manifest_holds(finished):
    """Digests, versions, machine, times and memory."""
    for step in ("train", "evaluate"):
        manifest = json.loads((finished / FACTS / f"manifest_{step}.json").read_text())
        assert manifest["step"] == step
        assert manifest["made_from"].keys() == {"settings", "packed data", "code"}
        assert manifest["versions"]["torch"].startswith("2.13.0")
        assert manifest["machine"]["host"]
        assert manifest["started"] <= manifest["finished"]
        assert 50 < manifest["peak_memory_mib"] < 5000
