"""What a run says in the terminal: steps, time left, the answer, no red after Ctrl-C."""

import json
import logging
import math

import pytest
from planted_facts import plant_run

from globals_heads import terminal
from globals_heads.facts import RunFolder
from globals_heads.numbers import MIN_SEEDS
from globals_heads.settings import RunKey, Settings
from globals_heads.terminal import (
    HANDLER,
    LOGGER,
    Terminal,
    Trainings,
    answer,
    losses,
)

KEY = RunKey(latent_space="vq", globals_beta=1, seed=0)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Start a terminal of two trainings; yield it and the lines that it shows."""
    lines = []
    handler = logging.Handler()
    handler.name = HANDLER
    handler.setFormatter(logging.Formatter("usual: %(message)s"))
    handler.emit = lambda record: lines.append(handler.format(record))
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    found = Terminal(tmp_path)
    found.start(2)
    yield found, lines
    LOGGER.filters.clear()


def job(number, rule, product):
    """Log what Snakemake logs when a job begins."""
    extra = {"event": "job_info", "jobid": number, "rule_name": rule, "output": [str(product)]}
    LOGGER.info("many paths", extra=extra)
    LOGGER.info("a long command", extra={"event": "shellcmd"})


def end(number, done):
    """Log what Snakemake logs when a job ends."""
    LOGGER.info("Finished", extra={"event": "job_finished", "job_id": number})
    LOGGER.info(None, extra={"event": "progress", "done": done, "total": 9})


def test_each_step_has_one_line(shown, tmp_path):
    _, lines = shown
    plant_run(tmp_path, Settings(), KEY)
    lines.clear()
    LOGGER.info("Select jobs to execute...")
    job(1, "train", RunFolder.of(tmp_path, KEY.name).model)
    job(2, "compare", "results/verdict.json")
    end(2, 3)
    end(1, 4)
    LOGGER.warning("Something else.")
    assert lines[0] == "[3/9] compare results/verdict.json"
    assert lines[1].startswith(
        "[4/9] train vq/beta_1/seed_0: best epoch 2 of 3, val_loss 1, rec_tokens 0.5, "
        "rec_globals 0.25; 1 of 2 trained"
    )
    assert lines[2:] == ["usual: Something else."]


def test_after_ctrl_c_errors_are_not_shown(shown):
    found, lines = shown
    LOGGER.error("before")
    LOGGER.info("Terminating processes on user request, this might take some time.")
    LOGGER.error("RuleException")
    assert [line for line in lines if "RuleException" in line] == []
    assert "usual: before" in lines
    assert found.is_stopped


def test_all_words_with_verbose(shown, monkeypatch):
    _, lines = shown
    LOGGER.handlers[0].filters.clear()
    LOGGER.handlers[0].setFormatter(logging.Formatter("usual: %(message)s"))
    monkeypatch.setattr(LOGGER, "level", logging.DEBUG)
    Terminal(None).start(0)
    job(1, "compare", "x")
    assert lines[-2:] == ["usual: many paths", "usual: a long command"]


def test_time_left(monkeypatch):
    """Two trainings of 10 s side by side, of five; the third takes 5 s."""
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    trainings = Trainings()
    trainings.waiting = 5
    trainings.begin(1)
    trainings.begin(2)
    now[0] = 10.0
    assert trainings.end(1) == "1 of 5 trained, about 0:00:15 left"  # 3 waiting, 2 at a time
    trainings.begin(3)
    now[0] = 15.0
    trainings.begin(2)  # again, after it was killed
    assert trainings.end(3) == "2 of 5 trained, about 0:00:11 left"  # 3 of 7.5 s, 2 at a time
    for number in (4, 5):
        trainings.begin(number)
    for number in (2, 4, 5):
        last = trainings.end(number)
    assert last == "5 of 5 trained"


def test_diverged_trainings_say_so(tmp_path):
    plant_run(tmp_path, Settings(), KEY, losses=(3.0, math.inf))
    assert losses(RunFolder.of(tmp_path, KEY.name)) == "diverged in epoch 2"


def test_the_answer_leads_to_more(tmp_path):
    content = {"warnings": ["Not converged."], "answer": ["It helps.", "It costs.", "Take none."]}
    (tmp_path / "verdict.json").write_text(json.dumps(content), encoding="utf-8")
    for seeds, more in ((2, "snakemake more"), (MIN_SEEDS, "make report")):
        text = answer(Settings(seeds=seeds), tmp_path, "snakemake more")
        assert text.startswith("\nNot converged.\nIt helps.\nIt costs.\nTake none.\n")
        assert str(tmp_path / "verdict.html") in text
        assert ("snakemake more" in text, "make report" in text) == (
            seeds < MIN_SEEDS,
            seeds >= MIN_SEEDS,
        )
        assert more in text
