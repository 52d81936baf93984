"""A pytest plugin: each test has a time limit, so that one that hangs fails by its name and the others go on.

It rings by a signal, in whatever the test or one of its fixtures does, and again until that ends: an event loop takes
what is raised in one of its callbacks for that one's error, logs it and spins on. The stacks of all threads are in what
the test wrote to stderr.
"""

import faulthandler
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

TESTS = Path(__file__).resolve().parents[1]
SECONDS = {"core": 120, "agents": 120, "kit": 180, "manifests": 180, "runtime": 180}
"""By folder: for a test with all its fixtures. `pytest.mark.time_limit(SECONDS)` says otherwise."""
OTHER_SECONDS = 600
"""Elsewhere: the first test that asks for a real server waits until that is fetched and has started."""
FULL_TIMES = 10  # SIDECARS_FULL=1 repeats much
TIDYING_SECONDS = 15.0
AGAIN_SECONDS = 5.0
_ENDS_AT = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "time_limit(seconds): the longest that this test may take with its fixtures")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[_ENDS_AT] = time.monotonic() + limit_seconds(item)
    with ringing(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with ringing(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with ringing(item, TIDYING_SECONDS):
        return (yield)


def limit_seconds(item: pytest.Item) -> float:
    """What its marker says, or its folder."""
    if (marker := item.get_closest_marker("time_limit")) is not None:
        return float(marker.args[0])
    folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
    return SECONDS.get(folder, OTHER_SECONDS) * (FULL_TIMES if os.environ.get("SIDECARS_FULL") == "1" else 1)


@contextmanager
def ringing(item: pytest.Item, least_seconds: float = 0.1) -> Iterator[None]:
    """Fail what is done inside when the test's time is over; it gets `least_seconds` however late it is."""

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        faulthandler.dump_traceback(2)
        pytest.fail(f"it hangs: not done within its {math.ceil(limit_seconds(item))} s (tests/support/time_limit.py)")

    before = signal.signal(signal.SIGALRM, ring)
    left_seconds = item.stash[_ENDS_AT] - time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, max(left_seconds, least_seconds), AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
