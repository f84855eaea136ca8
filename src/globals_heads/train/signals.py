"""Requests to stop: signals, and the end of the process that started this one.

A long step looks at `StopRequest.reason` now and then. If a stop was requested, the step saves its
work and raises `Stopped`.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. Profiles retry on any code but 0.
EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(Exception):  # noqa: N818 (nothing is wrong)
    """Raised by a step that was asked to stop and has saved what it needs to go on later.

    Parameters
    ----------
    reason
        What asked for the stop, as `StopRequest.reason` says it.
    position
        Where the step is, in words.
    """

    def __init__(self, reason: str, position: str) -> None:
        super().__init__(f"Stopped by {reason}, {position}; the same command goes on from there.")


class StopRequest:
    """Whether this process has been asked to stop, and by what.

    Parameters
    ----------
    with_parent
        Whether the end of the process that started this one is a request to stop, too.
    """

    def __init__(self, with_parent: bool) -> None:
        self.signal: str | None = None
        self.parent = os.getppid() if with_parent else None

    @property
    def reason(self) -> str | None:
        """What asks for the stop, in words; None before any request."""
        if self.parent is not None and os.getppid() != self.parent:
            return "the end of the process that started it"
        return self.signal

    def raise_if_asked(self, position: str) -> None:
        """Raise `Stopped` if a stop was requested; `position` as in `Stopped`."""
        if reason := self.reason:
            raise Stopped(reason, position)


@contextmanager
def stop_requests(with_parent: bool) -> Iterator[StopRequest]:
    """Turn the first of `SIGNALS` into a request to stop; a second one ends the process at once.

    After the block has succeeded, signals are ignored: there is nothing left to stop.

    Parameters
    ----------
    with_parent
        As in `StopRequest`.
    """
    request = StopRequest(with_parent)

    def handle(number: int, _: FrameType | None) -> None:
        request.signal = signal.Signals(number).name
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    for each in SIGNALS:
        signal.signal(each, handle)
    yield request
    # The interpreter takes a moment to end; a signal would turn the success into a failure.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
