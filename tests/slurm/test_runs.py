"""What a cluster does to runs: cancelled, preempted, out of time, on a node that fails."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).parents[2]
RUNS = {f"{space}/beta_{beta}/seed_0" for space in ("none", "vq") for beta in (0, 1)}
RUN = "vq/beta_1/seed_0"
# A single run, and on the nodes of one partition.
ONE_RUN = (f"results/runs/{RUN}/model.pt",)


def on(partition):
    return {"STUDY_PARTITION": partition, "STUDY_GPU_PARTITION": partition, "STUDY_GPU": ""}


def slurm_command(*arguments):
    subprocess.run(arguments, check=True, timeout=30, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module", autouse=True)
def out_of_time(submit_for_session):
    """A run of two minutes in a limit of two minutes, a minute of which is for the signal.

    It takes longest, so it runs beside the other tests.
    """
    return submit_for_session(*ONE_RUN, seconds_per_epoch=2.5, STUDY_MINUTES="2")


def test_group_is_cancelled(submit, same_outcome):
    """Four runs share a Slurm job and its GPU side by side; cancelled, they go on."""
    submitted = submit("--until", "train", seconds_per_epoch=0.25)
    submitted.wait_for(lambda: set(submitted.trainings()) == RUNS)
    (job,) = submitted.jobs("RUNNING")
    assert job["partition"] == "gpu"
    assert job["gres"] == "gres:gpu:1"
    assert job["cpus"] == "4"
    assert job["memory"] == "12000M"
    assert job["limit"] == "1:00:00"

    before = submitted.wait_for_epochs(3)
    assert submitted.status() == dict.fromkeys(RUNS, "running")
    slurm_command("scancel", job["id"])
    submitted.wait()
    _, again = submitted.jobs()
    assert again["memory"] == "24000M"
    assert again["limit"] == "2:00:00"
    resumed = submitted.resumed_after()
    assert all(resumed[run] >= before[run] for run in RUNS)
    same_outcome(submitted.study, *RUNS)


def test_node_fails(submit, same_outcome):
    """Slurm starts the job again on another node, and the run goes on."""
    submitted = submit(*ONE_RUN, seconds_per_epoch=0.25, **on("fragile"))
    before = submitted.wait_for_epochs(3)
    (job,) = submitted.jobs("RUNNING")
    slurm_command("scontrol", "update", f"nodename={job['node']}", "state=down", "reason=test")
    submitted.wait()
    (again,) = submitted.jobs()
    assert again["id"] == job["id"]
    assert again["node"] != job["node"]
    assert submitted.resumed_after()[RUN] >= before[RUN]
    same_outcome(submitted.study, RUN)


def test_preempted(submit, same_outcome):
    """A job that is pushed aside saves and goes on when it is its turn again."""
    submitted = submit(*ONE_RUN, seconds_per_epoch=0.25, **on("spot"))
    before = submitted.wait_for_epochs(3)
    command = ["--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    slurm_command("sbatch", *command)
    submitted.wait()
    assert len(submitted.jobs()) == 1
    assert submitted.resumed_after()[RUN] >= before[RUN]
    same_outcome(submitted.study, RUN)


def test_interrupted(submit):
    """Ctrl-C ends the Slurm jobs, whose trainings save; the same command goes on."""
    submitted = submit(*ONE_RUN, seconds_per_epoch=0.25)
    before = submitted.wait_for_epochs(3)
    submitted.process.send_signal(signal.SIGINT)
    submitted.wait(returncode=1)
    submitted.wait_for(lambda: not submitted.trainings())
    submitted.start()
    assert submitted.wait_for(submitted.resumed_after)[RUN] >= before[RUN]


def test_snakemake_is_killed(submit, same_outcome):
    """The commands of docs/slurm.md take a study over from a snakemake that was killed."""
    submitted = submit(*ONE_RUN, seconds_per_epoch=0.25)
    before = submitted.wait_for_epochs(3)
    submitted.process.kill()
    submitted.process.wait()
    assert submitted.trainings() == [RUN], "its Slurm job goes on"
    page = (ROOT / "docs/slurm.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"^ {3}```\n( {3}squeue.*?)^ {3}```", page, re.M | re.S)
    cancel, unlock, again = (line.strip() for line in commands.splitlines())
    assert again in unlock
    # As typed in a shell that came here by a link.
    link = submitted.study.path.with_name("a link")
    link.symlink_to(submitted.study.path)
    environment = os.environ | {"PWD": str(link)}
    subprocess.run(["bash", "-c", cancel], check=True, cwd=link, env=environment)
    submitted.study.run("--unlock", profile="profiles/slurm")
    submitted.start()
    submitted.wait()
    assert submitted.resumed_after()[RUN] >= before[RUN]
    same_outcome(submitted.study, RUN)


def test_orphan_is_waited_for(submit, same_outcome):
    """Who forgets to end the Slurm jobs of a killed snakemake loses nothing and waits for them."""
    submitted = submit(*ONE_RUN, seconds_per_epoch=0.75, **on("cpu"))
    submitted.wait_for_epochs(3)
    submitted.process.kill()
    submitted.process.wait()
    submitted.study.run("--unlock", profile="profiles/slurm")
    submitted.start()
    submitted.wait_for(lambda: "Waiting for another process" in submitted.train_log(RUN))
    assert submitted.trainings() == [RUN], "the other one waits"
    assert submitted.status()[RUN] == "running"
    submitted.wait()
    assert submitted.resumed_after()[RUN] == 40, "nothing is trained again"
    assert len(submitted.jobs("COMPLETED")) == 2
    same_outcome(submitted.study, RUN)


def test_run_fails(submit, same_outcome):
    """A run that fails is named with its log; by themselves, the others of its group are made."""
    together = ("--until", "train", "--keep-going", "--retries", "0")
    submitted = submit(*together, failing_run=RUN)
    output = submitted.wait(returncode=1)
    assert "ValueError: out of luck" in output
    assert f"results/logs/train/runs/{RUN}.log" in output
    assert len(submitted.jobs()) == 1
    alone = ("--group-components", "train=1")
    assert f"--keep-going {' '.join(alone)}" in (ROOT / "docs/slurm.md").read_text(encoding="utf-8")
    submitted.arguments += alone
    submitted.start()
    submitted.wait(returncode=1)
    assert submitted.resumed_after() == dict.fromkeys(RUNS - {RUN}, 40), "nothing is trained again"
    same_outcome(submitted.study, *RUNS - {RUN})


def test_out_of_time(out_of_time, same_outcome):
    """A run that needs longer than its limit saves before the end and ends the same."""
    assert re.search("SLURM status is: '(TIMEOUT|FAILED)'", out_of_time.wait())
    assert [job["limit"] for job in out_of_time.jobs()] == ["2:00", "4:00"]
    assert out_of_time.resumed_after()[RUN] > 0
    same_outcome(out_of_time.study, RUN)
