"""A limit for a regular expression: one that backtracks can take years over 40 bytes, and the loop would stand still
meanwhile, SIGTERM included.

`re` looks for signals while it searches (SRE's MAYBE_CHECK_SIGNALS, Modules/_sre/sre_lib.h), so a handler that raises
ends it.
"""

import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class TooLong(Exception):
    """The call did not end within its limit."""


def within(limit_seconds: float, call: Callable[[], T]) -> T:
    """Return what the call returns, or raise TooLong. In the main thread only, for there signal handlers run."""
    armed = True

    def over(number: int, frame: FrameType | None) -> None:
        del number, frame
        if armed:
            raise TooLong

    before = signal.signal(signal.SIGALRM, over)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, limit_seconds)
            return call()
        finally:
            armed = False  # first: an alarm from here on comes too late
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
