"""What Slurm does not accept is said once, in its own words, and not tried again."""

import os
import shutil

import pytest

from snakemake_executor_plugin_slurm_groups.site import remedy

# A training is a member of a group, the baselines are a job of their own.
JOBS = {"train": "group train", "baselines": "rule baselines"}
GROUP, SINGLE = JOBS
NO_PARTITION = "invalid partition specified: nosuch; Invalid partition name specified"
NO_ACCOUNT = "Invalid account or account/partition combination specified"
NO_NODE = "Requested node configuration is not available"
NO_MEMORY = f"Memory specification can not be satisfied; {NO_NODE}"
# An sbatch that prints an error under a condition, and otherwise is the real one.
SBATCH = """\
#!/bin/sh
if {condition}; then
    echo "sbatch: error: Batch job submission failed: {error}" >&2
    exit 1
fi
exec {sbatch} "$@"
"""


@pytest.fixture
def sbatch_that_fails(tmp_path):
    """Return a function that puts such an sbatch before the real one, as environment variables."""

    def install(condition, error):
        program = tmp_path / "bin/sbatch"
        program.parent.mkdir()
        sbatch = shutil.which("sbatch")
        text = SBATCH.format(condition=condition, error=error, sbatch=sbatch)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}

    return install


def said(output):
    """Return the lines about what Slurm did not accept."""
    return [line for line in output.splitlines() if "Slurm did not accept" in line]


def check_refused(submitted, rule, error, variable):
    """Check that the command ended with this error and variable, after one try."""
    output = submitted.wait(returncode=1)
    (line,) = said(output)
    assert line.startswith(f"Slurm did not accept the job of {JOBS[rule]} (")
    assert f"): {error}; " in line
    assert variable in line.rpartition(error)[2]
    assert "Trying to restart" not in output
    assert "Error in" not in output
    assert "Traceback" not in output
    assert not submitted.jobs("PENDING", "RUNNING")


@pytest.mark.slurm
@pytest.mark.parametrize("rule", [GROUP, SINGLE])
def test_partition(submit, rule):
    """The partition does not exist."""
    unknown = {"STUDY_PARTITION": "nosuch", "STUDY_GPU_PARTITION": "nosuch"}
    submitted = submit("--until", rule, **unknown)
    check_refused(submitted, rule, NO_PARTITION, "STUDY_PARTITION")


@pytest.mark.slurm
def test_account(submit, sbatch_that_fails):
    """The account does not exist. The tests' cluster takes any account, so sbatch is replaced."""
    sbatch = sbatch_that_fails('echo " $*" | grep -q -e " -A nosuch "', NO_ACCOUNT)
    submitted = submit("--until", GROUP, STUDY_ACCOUNT="nosuch", **sbatch)
    check_refused(submitted, GROUP, NO_ACCOUNT, "STUDY_ACCOUNT")


@pytest.mark.slurm
def test_gpu(submit):
    """No node has such a GPU; two groups are refused, which is said once."""
    groups = ("--group-components", "train=2")
    submitted = submit("--until", GROUP, *groups, STUDY_GPU="gpu:h100:1")
    check_refused(submitted, GROUP, NO_NODE, "STUDY_GPU")


@pytest.mark.slurm
def test_memory(submit):
    """No node has as much memory as the members of a group need together."""
    submitted = submit("--until", GROUP, "--set-resources", f"{GROUP}:mem_mb=20000")
    check_refused(submitted, GROUP, NO_MEMORY, "mem_mb")


@pytest.mark.slurm
def test_temporary(submit, sbatch_that_fails):
    """An error that may be gone at the next try is said and tried again."""
    error = "Socket timed out on send/recv operation"
    sbatch = sbatch_that_fails('[ ! -e "$0.tried" ] && touch "$0.tried"', error)
    submitted = submit("--until", GROUP, **sbatch)
    submitted.wait_for(lambda: submitted.jobs("RUNNING"))
    (line,) = said(submitted.terminal())
    assert f"{error}; it is tried again" in line
    assert "sacct" not in submitted.terminal(), "the account is not looked up"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NO_PARTITION, "a partition that `sinfo` lists"),
        (NO_ACCOUNT, "set STUDY_ACCOUNT"),
        (NO_NODE, "set STUDY_GPU to"),
        ("Invalid generic resource (gres) specification", "set STUDY_GPU to"),
        (NO_MEMORY, "larger nodes"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "lower STUDY_MINUTES"),
        ("Unable to contact slurm controller (connect failure)", "tried again"),
        ("any other", "compare with the values in profiles/slurm/config.yaml"),
    ],
)
def test_remedy(error, expected):
    """Each error has its own remedy."""
    assert expected in remedy(error)
