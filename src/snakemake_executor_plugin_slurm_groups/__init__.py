"""The executor `slurm-groups`: as `slurm`, but the jobs of a group run side by side.

Inside a Slurm job the executor `slurm` starts one Snakemake that is not told of the group and
starts a second one for each member, one after another, whatever cores the Slurm job has. Here the
first one runs the members itself, as many at a time as there are cores, and each Slurm job starts
one Snakemake less. Its settings have the prefix --slurm-groups- instead of --slurm-.
"""

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings
from snakemake_executor_plugin_slurm_jobstep import get_cpu_setting
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


class Executor(SlurmExecutor):
    """Submits jobs and groups of jobs with sbatch."""

    def additional_general_args(self) -> str:
        """Return options of the Snakemake inside the Slurm job.

        No executor, so that it runs its jobs itself; and when one of a group fails it goes on with
        the others.
        """
        return "--keep-going"

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job, in a thread of its own.

        What the plugin raises there nobody would hear of, and Snakemake would wait for ever.
        """
        try:
            super().run_job(job)
        except WorkflowError as error:
            self._report_job_error_threadsafe(SubmittedJobInfo(job), f"Not submitted: {error}")

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Return the command of the Slurm job.

        It is a job step, as Slurm sends the signals of a time limit, of scancel and of preemption
        to steps and not to what a batch script started.
        """
        gpu = "gpu" in job.resources.get("gres", "")
        cpus = get_cpu_setting(job, gpu)
        return f"srun --ntasks=1 {cpus} {super().format_job_exec(job)}"
