"""What the tests of the whole workflow share: a copy of the study, run as its users run it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
STUDY_FILES = ("Snakefile", "workflow", "config", "profiles", "local", "envs", "src")
# Of the shell that runs the tests; they would change what a command does.
OWN_VARIABLES = {"PYTHONPATH", "SNAKEMAKE_PROFILE", "SNAKEMAKE_OPTIONS"}


class Plan(Counter[str]):
    """The planned jobs by rule, without `all`; `runs` names the runs of each rule's jobs."""

    def __init__(self, output: str) -> None:
        table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)\n\n", output, re.M | re.S)
        lines = table[1].splitlines() if table else []
        super().__init__({rule: int(count) for rule, count in map(str.split, lines)})
        del self["all"], self["total"]
        self.runs: defaultdict[str, set[str]] = defaultdict(set)
        for rule, job in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)+)", output, re.M):
            if keys := re.search(
                r"wildcards: variant=(\S*), latent_space=(\S+), globals_beta=(\S+), seed=(\S+)$",
                job,
                re.M,
            ):
                self.runs[rule].add("{}{}/beta_{}/seed_{}".format(*keys.groups()))


class Study:
    """A folder with the study's files in which snakemake runs.

    Parameters
    ----------
    path
        The folder.
    configfiles
        Overlays inside the folder that every command gets.
    environment
        Variables that every command gets; by default the package is the copy in the folder.
    """

    def __init__(
        self,
        path: Path,
        configfiles: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.path = path
        self.configfiles = configfiles
        self.environment = {"PYTHONPATH": str(path / "src")} if environment is None else environment

    @classmethod
    def create(cls, path: Path, **options: Any) -> "Study":
        """Copy the study's own files, without results, to `path`."""
        path.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in STUDY_FILES:
            source, target = ROOT / name, path / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, target, symlinks=True, ignore=ignore)
            else:
                shutil.copy2(source, target, follow_symlinks=False)
        return cls(path, **options)

    def copy(self, path: Path) -> "Study":
        """Copy everything, time stamps and Snakemake's memory included, to `path`."""
        shutil.copytree(self.path, path, symlinks=True)
        return Study(path, self.configfiles)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def snakemake(
        self,
        *arguments: str,
        profile: str | None = "local",
        overlay: dict[str, Any] | str | None = None,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run snakemake with `overlay` as the last config file; stdout holds all its output."""
        configfiles = [*self.configfiles]
        if overlay is not None:
            text = overlay if isinstance(overlay, str) else yaml.safe_dump(overlay)
            (self / "overlay.yaml").write_text(text, encoding="utf-8")
            configfiles.append("overlay.yaml")
        command = [*prefix, str(BIN / "snakemake"), *arguments]
        command += ["--profile", profile] if profile else []
        command += ["--configfile", *configfiles] if configfiles else []
        inherited = {k: v for k, v in os.environ.items() if k not in OWN_VARIABLES}
        return subprocess.run(
            command,
            cwd=self.path,
            env=inherited | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def run(self, *arguments: str, **options: Any) -> str:
        """Return the output of a command that must succeed."""
        process = self.snakemake(*arguments, **options)
        assert process.returncode == 0, process.stdout
        return process.stdout

    def fail(self, *arguments: str, **options: Any) -> str:
        """Return the output of a command that must end with code 1 and no traceback."""
        process = self.snakemake(*arguments, **options)
        assert process.returncode == 1, process.stdout
        assert "Traceback" not in process.stdout
        return process.stdout

    def plan(self, *arguments: str, **options: Any) -> Plan:
        """Return what a command would do."""
        output = self.run(*arguments, "-n", **options)
        plan = Plan(output)
        assert bool(plan) != ("Nothing to be done" in output), output
        return plan

    def contents(self, *patterns: str) -> dict[str, bytes]:
        """Return the contents of the matching files by their paths."""
        files = [path for pattern in patterns for path in self.path.glob(pattern)]
        return {str(p.relative_to(self.path)): p.read_bytes() for p in files if p.is_file()}


@pytest.fixture(scope="session")
def study_type() -> type[Study]:
    """Return the class `Study`, since test folders cannot import from each other."""
    return Study


@pytest.fixture(scope="session")
def bin_folder() -> Path:
    """Return the folder of the commands that belong to this Python."""
    return BIN
