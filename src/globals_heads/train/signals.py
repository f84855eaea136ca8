"""Requests to stop: signals, and the end of the process that started this one.

A long step asks now and then whether it is to stop, saves its work and raises `Stopped`. This
module knows nothing of what is saved.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. Profiles retry on any code but 0.
EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(Exception):  # noqa: N818 (nothing is wrong)
    """Raised by a step that was asked to stop and has saved what it needs to go on later."""


class StopRequest:
    """Whether this process has been asked to stop, and by what.

    Parameters
    ----------
    with_parent
        Whether the end of the process that started this one is a request, too.
    """

    def __init__(self, with_parent: bool = False) -> None:
        self.signal: str | None = None
        self.parent = os.getppid() if with_parent else None

    @property
    def reason(self) -> str | None:
        """What asks for the stop; None while nothing does."""
        if self.parent is not None and os.getppid() != self.parent:
            return "the end of the process that started it"
        return self.signal

    def raise_if_asked(self, position: str, save: Callable[[], None] = lambda: None) -> None:
        """Do what is to be done if this process has been asked to stop: save and leave.

        Parameters
        ----------
        position
            Where it is, in words.
        save
            Saves what is needed to go on from there.

        Raises
        ------
        Stopped
            After saving.
        """
        if reason := self.reason:
            save()
            raise Stopped(f"Stopped by {reason}, {position}; the same command goes on from there.")


@contextmanager
def stop_requests(with_parent: bool = False) -> Iterator[StopRequest]:
    """Turn the first of `SIGNALS` into a request to stop; a second one ends the process at once.

    Once the block has succeeded there is nothing left to stop: signals are ignored from then on.

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
    # While the interpreter ends, which takes a moment, a signal would make a failure of a success.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
