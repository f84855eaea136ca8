"""The whole workflow, killed at random moments and started again, loses nothing."""

import csv
import os
import random
import signal
import time
from collections import Counter

import pytest

from globals_heads.terminal import STOPPED

OF_THE_MACHINE = {"epoch_time_s", "throughput", "peak_memory_mib"}
TARGET = "results/summary.csv"
# A power cut or a killed terminal; snakemake alone, as by the kernel; Ctrl-C.
KILLS = ("all", "snakemake", "keyboard")


@pytest.fixture(scope="module")
def undisturbed(create_longer, tmp_path_factory):
    """A study that nobody has killed, and the seconds that it took."""
    study = create_longer(tmp_path_factory.mktemp("undisturbed") / "study")
    started = time.monotonic()
    study.run(TARGET)
    return study, time.monotonic() - started


def start(study):
    """Start the study in a process group of its own, as a terminal does."""
    with (study / "output.txt").open("w", encoding="utf-8") as output:
        return study.start(TARGET, stdout=output, start_new_session=True)


def kill(process, kind):
    """Kill the study in one of the ways; return when snakemake is gone."""
    if kind == "snakemake":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL if kind == "all" else signal.SIGINT)
    process.wait(timeout=120)


def trained(study):
    """Return the folders of the runs that need no training any more, and when it ended."""
    waiting = study.plan(TARGET).runs["train"]
    models = study.path.glob("results/runs/*/*/*/model.pt")
    times = {str(path.parent.relative_to(study / "results")): path.stat() for path in models}
    return {run: stat.st_mtime_ns for run, stat in times.items() if run not in waiting}


def kill_and_restart(study, kinds, draw, longest_s):
    """Kill the study once in each way, at random moments of its lives, and let it finish.

    Returns
    -------
    int
        The number of kills; fewer than asked for if the study was faster.
    """
    process = start(study)
    before = {}
    for number, kind in enumerate(kinds):
        time.sleep(draw.uniform(0, longest_s))
        if process.poll() is not None:
            assert process.returncode == 0, (study / "output.txt").read_text(encoding="utf-8")
            return number
        kill(process, kind)
        if kind == "keyboard":
            output = (study / "output.txt").read_text(encoding="utf-8")
            assert "LockException" not in output
        else:
            study.run("--unlock")
        after = trained(study)
        assert before.items() <= after.items(), "a finished run was trained again"
        before = after
        process = start(study)
    assert process.wait(timeout=600) == 0, (study / "output.txt").read_text(encoding="utf-8")
    assert before.items() <= trained(study).items(), "a finished run was trained again"
    return len(kinds)


def summary(study):
    """Return the rows of the summary without what depends on the machine and its load."""
    with (study / "results/summary.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0].keys() >= OF_THE_MACHINE
    return [{name: row[name] for name in row.keys() - OF_THE_MACHINE} for row in rows]


def assert_same(study, undisturbed):
    """The killed study has the summary and weights of the undisturbed one, and no litter."""
    assert summary(study) == summary(undisturbed)
    models = "results/runs/**/model.pt"
    assert study.contents(models) == undisturbed.contents(models)
    for log in study.path.glob("results/runs/**/run.log"):
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line[0] == "["]
        assert [line.split("]")[0] for line in lines] == [f"[{i}/10" for i in range(1, 11)]
    found = {p.name for p in study.path.glob("results/runs/**/*")}
    expected = {p.name for p in undisturbed.path.glob("results/runs/**/*")}
    assert found == expected
    assert not study.plan(TARGET)


@pytest.mark.slow
def test_ctrl_c_says_that_all_is_saved(create_longer, tmp_path):
    """One sentence, and no exception of Snakemake, since nothing is wrong."""
    study = create_longer(tmp_path / "study")
    process = start(study)
    while process.poll() is None and not [*study.path.glob("results/runs/**/checkpoint.pt")]:
        time.sleep(0.05)
    kill(process, "keyboard")
    assert process.returncode == 1
    output = (study / "output.txt").read_text(encoding="utf-8")
    assert output.count(STOPPED) == 1
    assert "Exception" not in output
    assert "WorkflowError" not in output


@pytest.mark.slow
def test_ten_kills(create_longer, tmp_path, undisturbed, capsys):
    """At moments drawn from the whole duration; as many studies as that takes."""
    finished, duration = undisturbed
    draw, counts, studies = random.Random(0), Counter(), 0
    while counts.total() < 10:
        studies += 1
        study = create_longer(tmp_path / str(studies))
        kinds = (KILLS * 6)[counts.total() :][:6]
        number = kill_and_restart(study, kinds, draw, duration * 0.4)
        counts.update(kinds[:number])
        assert_same(study, finished)
    with capsys.disabled():
        print(f"\n{studies} studies of {duration:.0f} s, kills: {dict(counts)}")
