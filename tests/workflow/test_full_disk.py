"""Full disks: a sentence, no half or lost file, and the same bytes with room again.

Every step writes to a small file system that is full, and gets a little more room after each
failure. A test of the memory of a long training follows.
"""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from random_events import OBJECT_TYPES, pack_random, random_events, ready_events
from typer.testing import CliRunner

from globals_heads.cli import app
from globals_heads.data import sample
from globals_heads.data.token_file import write_token_file
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.packed import SPLITS
from globals_heads.settings import Grid, RunKey, Settings, SimulateSettings

PAGE = 4096
STUDY = Settings(
    epochs=3,
    model={"latent_dim": 4, "hidden_dims": [8], "type_embedding_dim": 2, "globals_hidden_dim": 4},
    bottleneck={"vq": {"codebook_size": 8}},
    train={"device": "cpu", "batch_size": 30},
)
GRID = Grid(latent_space=["vq"], globals_beta=[1])
RUN = "runs/vq/beta_1/seed_0"
FINAL = re.compile(r"(\.h5|metrics_\w+\.csv|\.npz|summary\.csv|model\.pt)$")


@pytest.fixture
def disk(tmp_path):
    """A file system of one MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system may be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def leave(disk, num_pages):
    """Fill the disk up to so many pages."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    state = os.statvfs(disk)
    size = (state.f_bavail - num_pages) * state.f_bsize
    filler.write_bytes(b"\1" * max(size, 0))


def step(*arguments):
    """Run a step; return its sentence if it failed with one."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, UserError | OSError):
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return None


def finished(disk):
    """Return the final files without times and memory."""
    files = {}
    for path in disk.rglob("*"):
        if path.is_file() and FINAL.search(path.name):
            content = path.read_bytes()
            if re.match("metrics_(train|val)", path.name):
                content = b"\n".join(row.rsplit(b",", 3)[0] for row in content.splitlines())
            files[path.relative_to(disk)] = content
    return files


def until_it_fits(disk, *arguments):
    """Run a step with two pages more each time; return how often it failed.

    After each failure all final files are either not there or as they are in the end.
    """
    seen = []
    for num_pages in range(0, 240, 2):
        leave(disk, num_pages)
        message = step(*arguments)
        (disk / "filler").unlink()
        if message is None:
            end = finished(disk)
            for before in seen:
                assert before.items() <= end.items()
            assert not [p for p in disk.rglob(".*") if p.name != ".lock"], "no litter"
            return len(seen)
        assert re.search("No space left on device|MiB are free", message), message
        assert "make room" in message
        seen.append(finished(disk))
    raise AssertionError("it never fits")


TYPES = ("--object-types", json.dumps(OBJECT_TYPES))
SHARD = ("--settings", SimulateSettings(fractions={"ttH": 1}).model_dump_json(), *TYPES)


@pytest.fixture
def without_pythia(monkeypatch):
    """Random events in place of Pythia's."""
    monkeypatch.setattr(sample, "_accepted_events", ready_events)


@pytest.mark.parametrize("name", ["simulate", "merge", "pack"])
def test_a_full_disk_ends_a_process_with_one_sentence(disk, tmp_path, without_pythia, name):
    """HDF5 itself would crash at the end of a process that could not write."""
    shard = ["--shard", "0", "--num-events", "10", *SHARD]
    assert step("simulate", tmp_path / "shard_0.h5", *shard) is None
    splits = {split: random_events(4, seed) for seed, split in enumerate(SPLITS)}
    write_token_file(tmp_path / "tokens.h5", splits, OBJECT_TYPES, {})
    output = disk / "new.h5"
    arguments = {
        "simulate": [output, *shard],
        "merge": [output, "--shards", tmp_path, "--num-events", "10", *SHARD],
        "pack": [tmp_path / "tokens.h5", output, "--settings", "{}", *TYPES],
    }
    leave(disk, 1)
    command = [sys.executable, "-m", "globals_heads", name, *map(str, arguments[name])]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("Reading ")]
    assert (ended.returncode, len(lines)) == (1, 1), ended.stderr
    assert lines[0].startswith(f"Error: {output} cannot be written (No space left on device)")
    assert [path.name for path in disk.iterdir()] == ["filler"], "no litter"


def test_simulate_and_merge(disk, without_pythia):
    settings = SimulateSettings(shard_size=20)
    options = ["--settings", settings.model_dump_json(), *TYPES]
    for shard in (0, 1):
        path = disk / f"shard_{shard}.h5"
        assert until_it_fits(disk, "simulate", path, "--shard", shard, "--num-events", 20, *options)
    assert until_it_fits(
        disk, "merge", disk / "events.h5", "--shards", disk, "--num-events", 40, *options
    )


def test_pack(disk, tmp_path):
    splits = {name: random_events(40) for name in SPLITS}
    write_token_file(tmp_path / "tokens.h5", splits, OBJECT_TYPES, {})
    options = ["--settings", "{}", *TYPES]
    assert until_it_fits(disk, "pack", tmp_path / "tokens.h5", disk / "packed.h5", *options)


@pytest.mark.slow
def test_from_training_to_the_summary(disk, tmp_path):
    """A training goes on from the checkpoint that there was room for."""
    packed, plenty = tmp_path / "packed.h5", tmp_path / "plenty"
    pack_random(packed, STUDY.pack)
    settings = STUDY.run_settings(RunKey(latent_space="vq", globals_beta=1, seed=0))
    network = STUDY.globals_only_network.model_dump_json()
    facts = tmp_path / "baselines.csv"
    made = ("--errors", tmp_path / "errors.npz", "--manifest", tmp_path / "manifest.json")
    assert not step("baselines", facts, *made, "--data", packed, "--settings", network)
    failures = {}
    for folder in (plenty, disk):
        run = RunFolder(folder / RUN)
        run.path.mkdir(parents=True)
        run.settings.write_text(yaml.safe_dump(settings.model_dump()))
        commands = {
            "train": ("train", run.path, "--data", packed),
            "evaluate": ("evaluate", run.path, "--data", packed),
            "collect": (
                *("collect", folder / "summary.csv", "--results", folder),
                *("--grid", GRID.model_dump_json(), "--baselines", facts.parent),
            ),
        }
        for name, command in commands.items():
            if folder == plenty:
                assert step(*command) is None
            else:
                failures[name] = until_it_fits(disk, *command)
    assert failures["train"] > 5, failures
    assert min(failures.values()) > 0, failures
    made, expected = finished(disk), finished(plenty)
    for name in expected:
        if name.suffix != ".pt" and name.name != "summary.csv":  # archives and times may differ
            assert made[name] == expected[name]
    assert made.keys() == expected.keys()


@pytest.mark.slow
def test_memory_does_not_grow_with_epochs(tmp_path):
    """One more copy of each epoch's codes would take 20 MiB in the end."""
    pack_random(tmp_path / "packed.h5", STUDY.pack, num_events=3000)
    changes = {"epochs": 100, "train": STUDY.train.model_copy(update={"batch_size": 3000})}
    study = STUDY.model_copy(update=changes)
    settings = study.run_settings(RunKey(latent_space="vq", globals_beta=1, seed=0))
    (tmp_path / "cfg.yaml").write_text(yaml.safe_dump(settings.model_dump()))
    # A process of its own, since the peak of this one is that of all tests before; and the child of
    # a shell, since Linux hands the peak down from a process to the program that takes its place.
    command = ["sh", "-c", '"$@" || exit 1', "sh", sys.executable, "-m", "globals_heads", "train"]
    command += [str(tmp_path), "--data", str(tmp_path / "packed.h5")]
    subprocess.run(command, check=True, timeout=300)
    header, *rows = RunFolder(tmp_path).metrics("train").read_text().splitlines()
    place = header.split(",").index("peak_memory_mib")
    peaks = [float(row.split(",")[place]) for row in rows]
    assert len(peaks) == 100
    assert peaks[-1] < peaks[9] + 6
