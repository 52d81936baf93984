"""The one way to wait in a test: look at a condition again and again, with a generous deadline.

    until(lambda: app.asked("/reload"), "the app to be asked")
    lines = until(shipper.lines, "the first lines", within_seconds=5)
    await until_async(lambda: target.connections == 2, "the second connection")

Time never decides a test: the deadline is there for a test that hangs, and names what it hung at.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

PATIENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.002, 0.1

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, within_seconds: float = PATIENCE_SECONDS) -> T:
    """Return what the condition returns, once that counts as true. Raise AssertionError when it never does."""
    pauses = _pauses(what, within_seconds)
    while not (met := condition()):
        time.sleep(next(pauses))
    return met


async def until_async(condition: Callable[[], T | None], what: str, within_seconds: float = PATIENCE_SECONDS) -> T:
    """Do the same without holding up the loop. The deadline is of real time, also on a loop of virtual time, so that
    threads and processes can be waited for there.
    """
    pauses = _pauses(what, within_seconds)
    while not (met := condition()):
        await asyncio.sleep(next(pauses))
    return met


def _pauses(what: str, within_seconds: float) -> Iterator[float]:
    """Yield how long to pause before the next look, in seconds: first short, then longer, until the deadline."""
    deadline, pause_seconds = time.monotonic() + within_seconds, _FIRST_PAUSE_SECONDS
    while True:
        assert time.monotonic() < deadline, f"waited {within_seconds:g} s in vain for: {what}"
        yield pause_seconds
        pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 1.5)
