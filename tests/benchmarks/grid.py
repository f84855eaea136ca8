"""Where the time of the whole default grid goes: its wall time beside the work of its jobs.

    python tests/benchmarks/grid.py

It runs the default study in a temporary folder, two jobs at a time. Start is what a process needs
to import its modules, measured alone; work is the time of the jobs without their starts.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Rule: what it is part of, and the module that its process imports first of all.
PARTS = {
    "simulate": ("generation", "data.sample"),
    "merge": ("generation", "data.sample"),
    "pack": ("generation", "data.pack"),
    "train": ("training", "train.train"),
    "evaluate": ("evaluation", "evaluate.evaluate"),
    "baselines": ("evaluation", "evaluate.baselines"),
    "collect": ("comparison", "compare.summary"),
    "compare": ("comparison", "compare.verdict"),
    "plot_run": ("figures", "plot.figures"),
    "plot": ("figures", "plot.figures"),
}
# Imported when the first figure is drawn.
LATER = {"plot.figures": "matplotlib.figure, pandas"}


def run_study(folder: Path, cores: int, options: list[str]) -> float:
    """Run the study below `folder` and return its wall time in seconds."""
    started = time.perf_counter()
    command = ["snakemake", "--profile", str(ROOT / "profiles/local"), f"-j{cores}"]
    command += ["-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(ROOT / "config/config.yaml"), *options]
    with (folder / "snakemake.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    return time.perf_counter() - started


def job_times(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each job by rule, from what Snakemake keeps for each output."""
    times = {}
    for path in (folder / ".snakemake/metadata").rglob("*"):
        if path.is_file():
            output = json.loads(path.read_text())
            seconds = output["endtime"] - output["starttime"]
            times[output["rule"], output["shellcmd"]] = seconds  # one job, several outputs
    by_rule = defaultdict(list)
    for (rule, _), seconds in times.items():
        by_rule[rule].append(seconds)
    return by_rule


def start_time(module: str) -> float:
    """Return the seconds that a process needs to import a step's module; median of three."""
    code = f"import globals_heads.cli, globals_heads.{module}, {LATER.get(module, 'sys')}"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    """Measure, print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--csv", type=Path, default=Path("results/bench/grid.csv"))
    parser.add_argument("options", nargs="*", help="options of snakemake, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "config").symlink_to(ROOT / "config")
        wall = run_study(Path(name), arguments.cores, arguments.options)
        times = job_times(Path(name))
    starts = {module: start_time(module) for _, module in PARTS.values()}
    rows = {}
    for rule, (part, module) in PARTS.items():
        row = rows.setdefault(part, {"part": part, "jobs": 0, "start_s": 0.0, "work_s": 0.0})
        row["jobs"] += len(times[rule])
        row["start_s"] += len(times[rule]) * starts[module]
        row["work_s"] += sum(times[rule]) - len(times[rule]) * starts[module]
    total = {"part": "all"} | {
        key: sum(row[key] for row in rows.values()) for key in ("jobs", "start_s", "work_s")
    }
    print(f"{'':12} {'jobs':>5} {'start (s)':>10} {'work (s)':>9}")
    for row in [*rows.values(), total]:
        print(f"{row['part']:12} {row['jobs']:5} {row['start_s']:10.1f} {row['work_s']:9.1f}")
    ideal = total["work_s"] / arguments.cores
    print(f"wall {wall:.1f} s on {arguments.cores} cores: {wall / ideal:.2f} x work / cores")
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*total, "wall_s", "wall_over_ideal"])
        writer.writeheader()
        writer.writerows(rows.values())
        writer.writerow(total | {"wall_s": wall, "wall_over_ideal": wall / ideal})


if __name__ == "__main__":
    main()
