"""Run snakemake in processes forked from one that has imported it: each saves a second."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["snakemake.cli"])


def run_snakemake(
    command: list[str], folder: Path, environment: dict[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` to its end; stdout of what is returned holds all its output."""
    with tempfile.NamedTemporaryFile() as output:
        arguments = (command, folder, environment, output.name)
        process = SERVER.Process(target=_be_snakemake, args=arguments)
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout_s)
        text = output.read().decode()
    return subprocess.CompletedProcess(command, process.exitcode, text)


def _be_snakemake(
    command: list[str], folder: Path, environment: dict[str, str], output: str
) -> None:
    """Do what a new interpreter with this command, folder and environment would do."""
    with Path(output).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = command
    from snakemake.cli import main  # noqa: PLC0415 - with the path of this command

    main()
