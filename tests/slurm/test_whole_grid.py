"""The whole grid on a real cluster, with the real profile."""

import pytest

pytestmark = pytest.mark.slurm


def test_grid(submit_new):
    """Nine runs through Slurm: trainings have a GPU each, never more than there are."""
    axes = {"latent_space": ["none", "linear", "vq"], "globals_beta": [0, 1, 10]}
    # Smaller groups than the profile's, so that there are more of them than GPUs.
    groups = ["--group-components", "train=3", "evaluate=18", "compare=100"]
    submitted = submit_new(*groups, **axes)
    with_gpu = []

    def watch():
        with_gpu.append(sum(job["partition"] == "gpu" for job in submitted.jobs("RUNNING")))

    submitted.wait(watch=watch)
    assert max(with_gpu) == 2
    jobs = submitted.jobs()
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    trainings = [job for job in jobs if job["partition"] == "gpu"]
    assert len(trainings) == 3
    assert {job["gres"] for job in trainings} == {"gres:gpu:1"}
    assert {job["gres"] for job in jobs if job not in trainings} == {"N/A"}
    assert len(jobs) == 3 + len({"pack", "baselines", "evaluate", "compare"})
    results = submitted.study / "results"
    assert len(list(results.glob("runs/*/*/seed_0/model.pt"))) == 9
    assert (results / "verdict.md").is_file()
    assert not list(results.glob("runs/*/*/seed_0/checkpoint*"))
    assert not submitted.study.plan(profile="profiles/slurm")
