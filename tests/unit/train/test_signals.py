"""Requests to stop: the first signal asks, the second ends; a parent's end may ask, too."""

import subprocess
import sys

import pytest

from globals_heads.train.signals import SIGNALS

# Says when it is ready, then when it has been asked, and waits for more.
ASKED = """
import time
from globals_heads.train.signals import stop_requests
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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_all_is_done_does_not_make_it_a_failure(number):
    code = """
from globals_heads.train.signals import stop_requests
with stop_requests(with_parent=False):
    pass
print("ready", flush=True)
input()
"""
    process = start(code, stdin=subprocess.PIPE)
    process.send_signal(number)
    process.communicate("\n", timeout=10)
    assert process.returncode == 0
