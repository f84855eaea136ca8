"""What the profile for Slurm plans and asks for; planning needs no cluster."""

import re

import pytest
import yaml

CPU_RULES = {"pack", "baselines", "evaluate", "plot_run", "collect", "compare", "plot"}


def planned(study, *arguments, environment=None, overlay=None):
    """Return the numbers of groups by name, and the resources of each rule."""
    study.environment |= environment or {}
    output = study.run("-n", *arguments, profile="profiles/slurm", overlay=overlay)
    groups = re.findall(r"Group job (\w+)", output)
    resources = {}
    for rule, job in re.findall(r"^ *rule (\w+):\n((?: {4}.*\n)+)", output, re.M):
        asked = re.search(r"resources: (.*)", job)[1].split(", ")
        resources[rule] = dict(entry.split("=", 1) for entry in asked)
    return {name: groups.count(name) for name in groups}, resources


def test_default(empty_study):
    """The grid takes a Slurm job for each stage; trainings alone ask for a GPU."""
    groups, resources = planned(empty_study)
    assert groups == {"pack": 1, "train": 1, "evaluate": 1, "compare": 1}
    assert resources["train"]["gres"] == "gpu:1"
    assert resources["train"]["slurm_extra"] == "--signal=TERM@60"
    assert {rule for rule in resources if "gres" in resources[rule]} == {"train"}
    assert resources.keys() >= CPU_RULES
    unset = {"slurm_partition", "slurm_account", "gpu"}
    assert not any(unset & each.keys() for each in resources.values())


def test_every_rule_is_placed(empty_study):
    """Every rule shares Slurm jobs, but for one that is long enough to have its own."""
    output = empty_study.run("--list-rules", overlay={"data": None})
    rules = set(re.findall(r"^(\w+)$", output, re.M))
    rules -= {"all", "best", "configure", "link_runs"}  # done by snakemake itself
    text = (empty_study / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    profile = yaml.safe_load(text)
    assert rules - profile["groups"].keys() == {"baselines"}
    assert profile["groups"].keys() <= rules
    assert profile["set-resources"].keys() <= rules
    assert profile["group-components"].keys() <= set(profile["groups"].values())


def test_site_values(empty_study):
    """Partitions, account and GPU come from the environment; no tracked file is edited."""
    site = {
        "STUDY_PARTITION": "all",
        "STUDY_GPU_PARTITION": "gpu-a100",
        "STUDY_ACCOUNT": "2-10",
        "STUDY_GPU": "gpu:a100:1",
        "STUDY_MINUTES": "90",
    }
    _, resources = planned(empty_study, environment=site)
    assert resources["train"]["slurm_partition"] == "gpu-a100"
    assert resources["train"]["gres"] == "gpu:a100:1"
    assert resources["train"]["runtime"] == "90"
    assert resources["evaluate"]["slurm_partition"] == "all"
    assert {each["slurm_account"] for each in resources.values()} == {"2-10"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("STUDY_GPU", "gpu:a100-sxm4:1", "takes gpu, gpu:1 or gpu:TYPE:1"),
        ("STUDY_GPU", "one", None),
        ("STUDY_GPU", " ", None),
        ("STUDY_MINUTES", "90.5", "give whole minutes, at least 2"),
        ("STUDY_MINUTES", "1", "give whole minutes, at least 2"),
        ("STUDY_MINUTES", "-5", "give whole minutes, at least 2"),
        ("STUDY_MINUTES", "", None),
    ],
)
def test_odd_site_values(empty_study, name, value, sentence):
    """An impossible value ends with one sentence at once; empty is the default or none."""
    empty_study.environment |= {name: value}
    process = empty_study.snakemake("-n", profile="profiles/slurm")
    assert process.returncode == (1 if sentence else 0), process.stdout
    if sentence:
        _, line = process.stdout.splitlines()  # the first one names the profile
        assert line.startswith(f"Error: {name} is {value!r}")
        assert sentence in line


def test_without_gpu(empty_study):
    """Trainings on CPU nodes use the partition of the other jobs."""
    site = {"STUDY_PARTITION": "cpu", "STUDY_GPU": ""}
    _, resources = planned(empty_study, environment=site)
    assert resources["train"]["slurm_partition"] == "cpu"
    assert not any(each.get("gres") for each in resources.values())


def test_limits_grow(empty_study):
    """A further attempt asks for more memory and time."""
    _, first = planned(empty_study)
    _, third = planned(empty_study, "--attempt", "3")
    for rule in ("train", "evaluate", "pack"):
        for name in ("mem_mb", "runtime"):
            assert int(third[rule][name]) == 3 * int(first[rule][name])


def test_many_events(empty_study):
    """300,000 events are six Slurm jobs with fifty shards each."""
    groups, _ = planned(empty_study, "--config", "num_events=300000", overlay={"data": None})
    assert groups["simulate"] == 6


def test_many_runs(empty_study):
    """Nine runs share a Slurm job."""
    groups, _ = planned(empty_study, "--config", "seeds=7")
    assert groups["train"] == 4
