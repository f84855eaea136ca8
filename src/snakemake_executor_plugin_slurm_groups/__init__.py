"""The executor `slurm-groups`: the executor `slurm`, but the jobs of a group run side by side.

Inside a Slurm job, the executor `slurm` starts one Snakemake that does not know the group. That one
starts a second Snakemake for each member, one after another, however many cores the Slurm job has.
Here the first Snakemake runs the members itself, as many at a time as there are cores. What Slurm
refuses is shown in one sentence and not tried again. The settings have the prefix --slurm-groups-
instead of --slurm-.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings
from snakemake_executor_plugin_slurm_jobstep import get_cpu_setting
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_slurm_groups.site import TEMPORARY, remedy

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

# What the plugin writes around the errors of sbatch, and what sbatch writes before each of them.
SBATCH_ERRORS = re.compile(r"The error message was '(.*?)'\.\n +sbatch call", re.DOTALL)
PREFIX = re.compile(r"^sbatch: (error: )?(Batch job submission failed: )?")
ASKED = ("slurm_partition", "slurm_account", "gres", "mem_mb", "runtime")


class Executor(SlurmExecutor):
    """Submits jobs and groups of jobs with sbatch."""

    def __post_init__(self, *arguments: Any) -> None:
        """Prepare the executor."""
        super().__post_init__(*arguments)
        self.not_accepted: dict[JobExecutorInterface, str] = {}

    def additional_general_args(self) -> str:
        """Return options of the Snakemake inside the Slurm job.

        It gets no executor, so it runs its jobs itself. When one job of a group fails, it goes on
        with the others.
        """
        return "--keep-going"

    def get_account_arg(self, job: JobExecutorInterface) -> Iterator[str]:
        """Yield the option for the account that pays; without it Slurm takes the user's default.

        The plugin would look accounts up first. Its look-up of the default one ends with an error
        of sacct in the terminal.
        """
        account = job.resources.get("slurm_account")
        yield f" -A {shlex.quote(str(account))}" if account else ""

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job; this runs in a thread, whose exceptions would be lost."""
        try:
            super().run_job(job)
        except Exception as error:
            # For a group the plugin fails once more while it reports the first error.
            self.report_job_error(SubmittedJobInfo(job), str(error.__context__ or error))

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **details: Any
    ) -> None:
        """Report a job that failed, or that Slurm did not accept.

        Slurm's error is shown once, for however many jobs it comes.
        """
        job = job_info.job
        if job_info.external_jobid is not None:
            if job.is_group():  # Snakemake drops the message of a group
                self.logger.error(msg)
            super().report_job_error(job_info, msg, **details)
            return
        found = SBATCH_ERRORS.search(msg or "")
        lines = (found[1] if found else msg or "").splitlines()
        error = "; ".join(PREFIX.sub("", line) for line in lines)
        with self.lock:
            is_new = error not in self.not_accepted.values()
            self.not_accepted[job] = error
        if is_new:
            label = f"group {job.groupid}" if job.is_group() else f"rule {job.name}"
            asked = {name: job.resources.get(name) for name in ASKED}
            values = ", ".join(f"{name}={value}" for name, value in asked.items() if value)
            self.logger.error(
                f"Slurm did not accept the job of {label} ({values}): {error}; {remedy(error)}."
            )
        self.workflow.scheduler.error_callback(job)

    def handle_job_error(self, job: JobExecutorInterface) -> None:
        """Use up the attempts of a job that Slurm would refuse again.

        Snakemake calls this before it looks whether an attempt is left.
        """
        super().handle_job_error(job)
        error = self.not_accepted.get(job)
        if error is not None and not TEMPORARY.search(error):
            job.attempt = job.restart_times + 1

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Return the command of the Slurm job.

        It is a job step. Slurm sends the signals of a time limit, of scancel and of preemption to
        steps, and not to what a batch script started.
        """
        gpu = "gpu" in job.resources.get("gres", "")
        cpus = get_cpu_setting(job, gpu)
        return f"srun --ntasks=1 {cpus} {super().format_job_exec(job)}"
