"""Requests to stop: the first signal asks, the second ends; a parent's end may ask, too."""

import os
import signal
import subprocess
import sys
import time

import pytest

from globals_heads.stopping import SIGNALS, stop_requests

# Says when it is ready, then when it has been asked, and waits for more.
ASKED = """
import time
from globals_heads.stopping import stop_requests
with stop_requests(with_parent={with_parent}) as stop:
    print("ready", flush=True)
    while not stop.reason:
        time.sleep(0.01)
    print(stop.reason, flush=True)
    {then}
"""


def start(code, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(first, second):
    process = start(ASKED.format(with_parent=False, then="time.sleep(60)"))
    process.send_signal(first)
    assert process.stdout.readline() == f"{first.name}\n"
    process.send_signal(second)
    assert process.wait(timeout=10) == -second


def test_the_end_of_the_parent_is_a_request():
    child = ASKED.format(with_parent=True, then="")
    parent = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}])
time.sleep(60)
"""
    process = start(parent)
    process.kill()
    assert process.stdout.readline() == "the end of the process that started it\n"
    process.wait()


def test_signals_mean_what_they_did_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_requests() as stop:
        assert stop.reason is None
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
        assert stop.reason == "SIGUSR1"
    assert [signal.getsignal(number) for number in SIGNALS] == before
