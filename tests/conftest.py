"""What the tests of the whole workflow share: a copy of the study, run as its users run it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from snakemake_process import run_snakemake

from globals_heads.data.events import Events
from globals_heads.data.token_file import write_token_file
from globals_heads.settings import Settings

# Tests run side by side, and two threads each on busy cores are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
STUDY_FILES = ("Snakefile", "workflow", "config", "profiles", "local", "envs", "src")
# Of the shell that runs the tests; they would change what a command does.
OWN_VARIABLES = {
    "MAKELEVEL",
    "PYTHONPATH",
    "SNAKEMAKE_PROFILE",
    "SNAKEMAKE_OPTIONS",
    "STUDY_PARTITION",
    "STUDY_GPU_PARTITION",
    "STUDY_ACCOUNT",
    "STUDY_GPU",
    "STUDY_MINUTES",
}

TINY = {
    "latent_space": ["none", "vq"],
    "globals_beta": [0, 1],
    "epochs": 1,
    "data": "tokens.h5",
    "model": {
        "latent_dim": 4,
        "hidden_dims": [8],
        "type_embedding_dim": 2,
        "globals_hidden_dim": 4,
    },
    "bottleneck": {"vq": {"codebook_size": 8}},
    "train": {"device": "cpu"},
    "plot": {"dpi": 50},
}


class Plan(Counter[str]):
    """The planned jobs by rule, without `all`; `runs` has the run folders of each rule's jobs."""

    def __init__(self, output: str) -> None:
        table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)\n\n", output, re.M | re.S)
        lines = table[1].splitlines() if table else []
        super().__init__({rule: int(count) for rule, count in map(str.split, lines)})
        del self["all"], self["total"]
        self.runs: defaultdict[str, set[str]] = defaultdict(set)
        for rule, job in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)+)", output, re.M):
            if keys := re.search(
                r"wildcards: grid=(\S+), latent_space=(\S+), globals_beta=(\S+), seed=(\d+)\b",
                job,
                re.M,
            ):
                self.runs[rule].add("{}/{}/beta_{}/seed_{}".format(*keys.groups()))


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

    @classmethod
    def create_tiny(
        cls, path: Path, sizes: tuple[int, ...] = (200, 40, 40), **settings: Any
    ) -> "Study":
        """Make a study of tiny runs, with these settings and so many events of each split."""
        study = cls.create(path, configfiles=("tiny.yaml",))
        (study / "tiny.yaml").write_text(yaml.safe_dump(TINY | settings), encoding="utf-8")
        write_tokens(study / "tokens.h5", sizes)
        return study

    def copy(self, path: Path) -> "Study":
        """Copy everything, time stamps and Snakemake's memory included, to `path`."""
        shutil.copytree(self.path, path, symlinks=True)
        return Study(path, self.configfiles)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def command(
        self,
        *arguments: str,
        profile: str | None = "local",
        overlay: dict[str, Any] | str | None = None,
    ) -> list[str]:
        """Return a command of snakemake with `overlay` as the last config file."""
        configfiles = [*self.configfiles]
        if overlay is not None:
            text = overlay if isinstance(overlay, str) else yaml.safe_dump(overlay)
            (self / "overlay.yaml").write_text(text, encoding="utf-8")
            configfiles.append("overlay.yaml")
        command = [str(BIN / "snakemake"), *arguments]
        command += ["--profile", profile] if profile else []
        return command + (["--configfile", *configfiles] if configfiles else [])

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        return {k: v for k, v in os.environ.items() if k not in OWN_VARIABLES} | self.environment

    def start(
        self,
        *arguments: str,
        profile: str = "local",
        prefix: tuple[str, ...] = (),
        **options: Any,
    ) -> "subprocess.Popen[str]":
        """Start a command of snakemake behind the words of `prefix`; options are those of Popen."""
        return subprocess.Popen(
            [*prefix, *self.command(*arguments, profile=profile)],
            cwd=self.path,
            env=self.variables,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def snakemake(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of snakemake, made as by `command`, to its end."""
        return run_snakemake(self.command(*arguments, **options), self.path, self.variables, 600)

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


def random_events(rng: np.random.Generator, num_events: int) -> Events:
    """Return events whose objects have nothing to do with each other."""
    real = np.arange(18) < rng.integers(4, 9, num_events)[:, None]
    types = np.where(real, rng.integers(1, 8, real.shape), 0).astype(np.uint8)
    pt = rng.uniform(25, 300, real.shape)
    eta = rng.uniform(-2.5, 2.5, real.shape)
    phi = rng.uniform(-np.pi, np.pi, real.shape)
    objects = np.stack([pt * np.cosh(eta), pt, eta, phi], axis=-1) * real[..., None]
    met = np.column_stack([rng.uniform(0, 200, num_events), rng.uniform(-np.pi, np.pi, num_events)])
    return Events(types, objects, met, rng.integers(1, 6, num_events))


def write_tokens(path: Path, sizes: tuple[int, ...]) -> None:
    """Write a small token file with the padding of a large one."""
    rng = np.random.default_rng(0)
    splits = {
        name: random_events(rng, size)
        for name, size in zip(("train", "val", "test"), sizes, strict=True)
    }
    write_token_file(path, splits, Settings().object_types, {})
    with h5py.File(path, "r+") as file:
        # Snakemake compares inputs by content up to 1 MB; real token files are larger.
        file["padding"] = np.zeros(1_100_000, np.uint8)


@pytest.fixture(autouse=True)
def _default_signals() -> None:
    """Programs inherit ignored signals: from the start of the tests in the background, or from a
    training in this process, which leaves its signals ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def study_type() -> type[Study]:
    """Return the class `Study`, since test folders cannot import from each other."""
    return Study


@pytest.fixture(scope="session")
def bin_folder() -> Path:
    """Return the folder of the commands that belong to this Python."""
    return BIN
