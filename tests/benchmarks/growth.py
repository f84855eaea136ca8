"""How time and memory grow with the number of events, and with the number of runs.

    OMP_NUM_THREADS=1 python tests/benchmarks/growth.py

Each step is a process of its own; its CPU time and its peak memory come from the system. The events
are random. The runs have planted facts, equal for all seeds of a cell.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/helpers"))
import planted_facts  # noqa: E402
from random_events import OBJECT_TYPES, random_events  # noqa: E402

from globals_heads.data.events import Events  # noqa: E402
from globals_heads.data.token_file import write_token_file  # noqa: E402
from globals_heads.facts import RunFolder  # noqa: E402
from globals_heads.settings import RunKey, Settings  # noqa: E402

EVENTS = (16_000, 64_000, 256_000)
RUNS = (9, 99, 999, 9999)
TEST_EVENTS = 1600
STEP = [sys.executable, "-m", "globals_heads"]


class RandomBlocks:
    """Random events, made block by block, so that this process stays small.

    Otherwise its memory would count in the peak of the processes that it starts.
    """

    def __init__(self, size: int, first_seed: int) -> None:
        self.size, self.first_seed = size, first_seed

    def __len__(self) -> int:
        return self.size

    def blocks(self) -> Iterator[Events]:
        """Yield at most 10,000 events at a time."""
        for start in range(0, self.size, 10_000):
            yield random_events(min(10_000, self.size - start), self.first_seed + start)


def measure(command: list[object], folder: Path) -> tuple[float, float]:
    """Run a command in `folder`; return its CPU time in seconds and its peak memory in MiB."""
    with (folder / "output.log").open("w") as log:
        child = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit((folder / "output.log").read_text())
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def grow_events(folder: Path, num_events: int) -> list[dict[str, object]]:
    """Pack, train one epoch of and evaluate one run of each latent space."""
    tenth = num_events // 10
    sizes = {"train": num_events - 2 * tenth, "val": tenth, "test": tenth}
    splits = {name: RandomBlocks(size, i) for i, (name, size) in enumerate(sizes.items())}
    write_token_file(folder / "events.h5", splits, OBJECT_TYPES, {})
    study = Settings(epochs=1)
    pack = ["pack", "--settings", study.pack.model_dump_json(), "--object-types"]
    pack += [json.dumps(study.object_types), "--", "events.h5", "packed.h5"]
    rows = [("pack", measure([*STEP, *pack], folder))]
    for space in study.latent_space:
        run = RunFolder.of(folder, f"{space}/beta_1/seed_0")
        run.path.mkdir(parents=True)
        key = RunKey(latent_space=space, globals_beta=1, seed=0)
        run.settings.write_text(yaml.safe_dump(study.run_settings(key).model_dump()))
        for step in ("train", "evaluate"):
            command = [*STEP, step, run.path, "--data", "packed.h5", "--threads", 1]
            rows.append((f"{step} {space}", measure(command, folder)))
    return [row_of(step, "events", num_events, cost) for step, cost in rows]


def plant(folder: Path, study: Settings) -> None:
    """Write the facts of all runs; those of a cell differ in their seed alone."""
    planted_facts.NUM_EVENTS = TEST_EVENTS
    planted_facts.plant_baselines(folder / "results/data/planted")
    results = folder / "results"
    for key in study.runs:
        first = key.model_copy(update={"seed": 0})
        source, target = (RunFolder.of(results, k.name).path for k in (first, key))
        if key.seed == 0:
            planted_facts.plant_run(results, study, key)
            continue
        (target / "facts").mkdir(parents=True)
        for path in source.rglob("*.*"):
            copy = target / path.relative_to(source)
            if path.suffix in (".csv", ".yaml"):
                text = path.read_text()
                for old, new in zip(*(key_texts(k) for k in (first, key)), strict=True):
                    text = text.replace(old, new)
                copy.write_text(text)
            else:
                copy.hardlink_to(path)


def key_texts(key: RunKey) -> tuple[str, str]:
    """Return how the facts and the cfg.yaml of a run name it."""
    columns = ",".join(str(value) for value in key.columns.values())
    return columns, f"seed: {key.seed}\n"


def grow_runs(folder: Path, num_runs: int) -> list[dict[str, object]]:
    """Plan a study, then collect, compare and show the status of its planted runs."""
    shutil.copytree(ROOT / "config", folder / "config")
    study = Settings(seeds=num_runs // 9)
    plan = ["snakemake", "--profile", ROOT / "profiles/local", "-s", ROOT / "Snakefile"]
    plan += ["-n", "--config", f"seeds={study.seeds}"]
    rows = [("dry run", measure(plan, folder))]
    plant(folder, study)
    data = "results/data/planted"
    collect = ["collect", "results/summary.csv", "--results", "results"]
    collect += ["--grid", study.grid.model_dump_json(), "--baselines", data]
    compare = ["compare", "--results", "results", "--baselines", data]
    compare += ["--settings", study.compare.model_dump_json()]
    for command in (collect, compare, ["status"]):
        rows.append((command[0], measure([*STEP, *command], folder)))
    return [row_of(step, "runs", num_runs, cost) for step, cost in rows]


def row_of(step: str, unit: str, number: int, cost: tuple[float, float]) -> dict[str, object]:
    """Return a row of the table, and print it."""
    row = {
        "step": step,
        "of": unit,
        "number": number,
        "cpu_s": round(cost[0], 2),
        "us_each": round(1e6 * cost[0] / number, 1),
        "peak_mib": round(cost[1]),
    }
    print(
        f"{step:16} {number:7} {unit:6} {row['cpu_s']:8.1f} s {row['us_each']:10.1f} us each "
        f"{row['peak_mib']:6} MiB",
        flush=True,
    )
    return row


def main() -> None:
    """Measure, print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="*", default=EVENTS)
    parser.add_argument("--runs", type=int, nargs="*", default=RUNS)
    parser.add_argument("--csv", type=Path, default=Path("results/bench/growth.csv"))
    options = parser.parse_args()
    rows = []
    for grow, numbers in ((grow_events, options.events), (grow_runs, options.runs)):
        for number in numbers:
            with tempfile.TemporaryDirectory() as name:
                rows += grow(Path(name), number)
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    with options.csv.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
