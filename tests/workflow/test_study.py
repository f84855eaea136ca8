"""A study remembers its settings: a forgotten option, a look or a typo costs no finished work."""

import os
import re

import pandas as pd
import pytest
import yaml

from globals_heads.verify import verify

RUN = "vq/beta_1/seed_0"
RUNS = {f"runs/{space}/beta_{beta}/seed_0" for space in ("none", "vq") for beta in (0, 1)}
AGAIN = ("--configfile", "results/study.yaml")
# What a run says after its answer.
NEXT = "snakemake --profile local --configfile results/study.yaml --config seeds=3"
# Records of what happened, which every command adds to.
RESULTS = ("results/data/**/*", "results/runs/**/*", "results/figures/*", "results/*.*")
MADE = ("results/data/**/*", "results/runs/*/*/*/*.*", "results/runs/*/*/*/facts/*")


@pytest.fixture
def plain(study):
    """The finished tiny study, and commands that forget its tiny.yaml."""
    study.configfiles = ()
    return study


def statuses(study):
    return list(pd.read_csv(study / "results/summary.csv")["status"])


def sentence(output):
    (found,) = [line for line in output.splitlines() if "results/study.yaml has" in line]
    return found


def test_forgotten_options_cost_nothing(plain):
    """Commands without the study's options stop and say what to do; with them all is there."""
    before = plain.contents(*RESULTS)
    assert before["results/study.yaml"]
    model = f"results/runs/{RUN}/model.pt"
    for command in ((), ("-f", model), ("--report", "results/report.html")):
        found = sentence(plain.fail(*command))
        has, assumes = found.split("this command assumes")
        assert found.startswith("Error: ")
        assert "epochs: 1," in has
        assert 'data: "tokens.h5"' in has
        assert "model.latent_dim: 4" in has
        assert "epochs: 20," in assumes
        assert "data: null" in assumes
        assert "would train 4 runs again" in assumes
        for way in (" ".join(AGAIN), "name each of these keys", "--directory"):
            assert way in assumes
    shown = sentence(plain.run("-n"))
    assert shown == found.replace("Error: ", "Note: ")
    assert plain.contents(*RESULTS) == before

    plain.configfiles = ("results/study.yaml",)
    assert not plain.plan()
    output = plain.run("-f", model)
    assert output.count("] train ") == 1
    assert "] pack " not in output
    assert NEXT not in output
    assert NEXT in plain.run()
    assert verify(plain / "results") == (4, [])


@pytest.mark.parametrize("left", ["model.pt", "checkpoint.pt"])
def test_forgotten_options_cost_no_training(plain, left):
    """Runs count from their first checkpoint on, whether or not they were evaluated."""
    for path in plain.path.glob("results/runs/*/*/*/facts/*_test.*"):
        path.unlink()
    if left == "checkpoint.pt":
        for path in plain.path.glob("results/runs/*/*/*/model.pt"):
            path.rename(path.with_name(left))
    assert "would train 4 runs again" in sentence(plain.fail())


def test_unlock_is_never_refused(plain):
    plain.run("--unlock")


def test_a_look_makes_no_data_and_trains_nothing(plain):
    """Runs of other settings or data are missing, and the study stays finished."""
    before = plain.contents(*MADE)
    known = (plain / "results/study.yaml").read_bytes()
    look = ("--config", "missing_runs=show", "num_events=300")
    found = sentence(plain.fail("results/summary.csv", *look))
    assert 'data: "tokens.h5"' in found
    assert "would count 4 runs as missing" in found
    # With all other keys named, there is nothing to show.
    plain.configfiles = ("tiny.yaml",)
    output = plain.fail("results/summary.csv", *look, "data=null")
    assert re.search(r"^Error: results/data/generated-\w+ was never made", output, re.MULTILINE)
    # These data are there, and the runs of other settings are missing.
    plain.run("results/summary.csv", "--config", "missing_runs=show", "epochs=3")
    assert set(statuses(plain)) == {"missing"}
    assert plain.contents(*MADE) == before
    assert (plain / "results/study.yaml").read_bytes() == known
    # The study's own command makes the summary again, and nothing else.
    output = plain.run("results/summary.csv", *AGAIN)
    assert "] train " not in output
    assert "] pack " not in output
    assert statuses(plain) == ["ok"] * 4


@pytest.mark.slow
def test_a_look_evaluates_what_is_trained(study):
    """Without packed data it cannot, and names the run."""
    facts = study / f"results/runs/{RUN}/facts"
    for name in ("metrics_test.csv", "events_test.npz", "manifest_evaluate.json"):
        (facts / name).unlink()
    packed = next(study.path.glob("results/data/*/packed.h5"))
    packed.rename(study / "packed.h5")
    look = ("results/summary.csv", "--config", "missing_runs=show")
    assert f"{RUN} is trained, not evaluated" in study.run(*look)
    assert sorted(statuses(study)) == ["missing", "ok", "ok", "ok"]
    (study / "packed.h5").rename(packed)
    output = study.run(*look)
    assert output.count("] evaluate ") == 1
    assert "] train " not in output
    assert statuses(study) == ["ok"] * 4


def test_a_named_key_is_meant(plain):
    """On the command line, in an overlay, or changed in config/config.yaml."""
    plain.configfiles = ("tiny.yaml",)
    assert plain.plan("--config", "epochs=50").runs["train"] == RUNS
    plain.configfiles = ()
    values = yaml.safe_load((plain / "results/study.yaml").read_text(encoding="utf-8"))
    # All but one key are named, and this one is the same until config.yaml changes it.
    del values["epochs"]
    assert "results/study.yaml has" not in plain.run("-n", overlay=values | {"epochs": 50})
    assert "epochs: 1; this command assumes epochs: 20" in sentence(plain.fail(overlay=values))
    config = plain / "config/config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("epochs: 20", "epochs: 30"))
    output = plain.run("-n", overlay=values)
    assert "results/study.yaml has" not in output
    assert output.count("\nepochs: 30\n") == 4


@pytest.mark.slow
def test_fewer_seeds_are_a_note(plain):
    """They leave runs out of the summary and make none again."""
    study = plain / "results/study.yaml"
    study.write_text(study.read_text(encoding="utf-8").replace("seeds: 1", "seeds: 3"))
    values = yaml.safe_load((plain / "tiny.yaml").read_text(encoding="utf-8"))
    found = sentence(plain.run(overlay=values))
    assert "has seeds: 3; this command assumes seeds: 1 and would train no run" in found


@pytest.mark.slow
def test_settings_of_pack_have_a_folder_of_their_own(study):
    """Data that finished runs were made from stay as they are."""
    before = study.contents("results/data/**/*.h5", "results/runs/**/*")
    study.run("--until", "pack", "--config", "pack={features: raw}")
    (made,) = study.path.glob("results/data/*-raw/packed.h5")
    assert study.contents("results/data/**/*.h5", "results/runs/**/*") == before | {
        str(made.relative_to(study.path)): made.read_bytes()
    }
    assert not study.plan()
    assert not verify(study / "results")[1]


# No result depends on these: logs, records for the live view, memory of what was made when.
RECORDS = {"run.log", "status.json", ".lock", "folders.yaml"}


def is_noticed(study):
    return "Nothing to be done" not in study.snakemake("-n").stdout or verify(study / "results")[1]


@pytest.mark.slow
def test_every_lost_or_changed_file_is_noticed(study):
    """It is planned again, or named by `verify`."""
    kinds = {}
    for path in sorted((study / "results").rglob("*")):
        folder = str(path.relative_to(study / "results")).split("/")[0]
        if path.is_file() and folder not in ("logs", "benchmarks", "by_number", "tables"):
            kinds.setdefault(path.name, path)
    assert {"model.pt", "summary.csv", "verdict.md", "packed.h5", "study.yaml"} <= kinds.keys()
    for name in kinds.keys() - RECORDS:
        path = kinds[name]
        content, times = path.read_bytes(), path.stat()
        path.write_bytes(content + b"x")
        assert is_noticed(study), f"{path} was changed"
        path.unlink()
        # Nobody needs the packed data of finished runs any more.
        assert is_noticed(study) or name == "packed.h5", f"{path} was deleted"
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not study.plan()
    assert verify(study / "results") == (4, [])


@pytest.mark.parametrize(
    ("target", "near"),
    [
        ("vqq", "results/runs/vq/beta_0/seed_0/"),
        ("beta_7", "/beta_1/seed_0/"),
        ("reprt", "make report"),
        ("colect", "collect"),
        ("train", "results/"),
        ("results/runs/vq", "results/runs/"),
        ("results/smmary.csv", "results/summary.csv"),
        ("results/data/generated/packed.h5", "/packed.h5"),
    ],
)
def test_a_wrong_target_is_answered_with_near_ones(empty_study, target, near):
    output = empty_study.fail("-n", target)
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert error.startswith(f"Error: {target} is no file and no rule of this study; did you mean")
    assert near in error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--configfile", "nope.yaml"), "nope.yaml after --configfile is no file"),
        (
            ("--config", "train.learning_rate=1e-2"),
            "knows top-level keys only, not train.learning_rate; "
            "write 'train={learning_rate: 1e-2}'",
        ),
        (
            ("--config", "bottleneck.vq.codebook_size=8"),
            "write 'bottleneck={vq: {codebook_size: 8}}'",
        ),
        (
            ("--config", "epochs=2", "results/summary.csv"),
            "results/summary.csv after --config is no KEY=VALUE; put targets before --config",
        ),
        (("--config", "latent_space=fsq"), "it should be a valid list: write [fsq];"),
    ],
)
def test_mistakes_in_options(empty_study, arguments, error):
    empty_study.configfiles = ()
    output = empty_study.fail("-n", *arguments)
    (found,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert error in found
