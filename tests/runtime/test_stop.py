"""Stopping and sleeping, on virtual time."""

import asyncio
import math

import pytest

from sidecars.runtime import Stop
from sidecars.runtime.clock import seconds_until

pytestmark = pytest.mark.looptime


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_a_sleep_lasts_its_time_when_nobody_stops() -> None:
    began = clock()
    assert await Stop().sleep(60) is False
    assert clock() - began == pytest.approx(60)


@pytest.mark.parametrize("ahead_seconds", [1e-12, 5.5e-10, 1e-7, 5e-4])
async def test_who_waits_for_a_time_that_is_nearly_there_does_not_turn_on_the_spot(ahead_seconds: float) -> None:
    """A loop does not wait at all for less than its clock's resolution."""
    await Stop().pause(60)  # where the clock's numbers are coarser
    for wait in (Stop().pause, Stop().sleep):
        at, turns = clock() + ahead_seconds, 0
        while clock() < at:
            await wait(seconds_until(at))
            turns += 1
        assert turns <= 1
        await wait(ahead_seconds)
        assert clock() >= at + ahead_seconds


def test_a_time_that_has_come_is_not_waited_for() -> None:
    assert seconds_until(-math.inf) == 0
    assert seconds_until(math.inf) == math.inf


async def test_a_stop_ends_a_sleep_at_once() -> None:
    stop = Stop()
    asyncio.get_running_loop().call_later(5, stop.request, "SIGTERM")
    began = clock()
    assert await stop.sleep(60) is True
    assert clock() - began == pytest.approx(5)


async def test_the_grace_runs_from_the_first_request() -> None:
    stop = Stop(grace_seconds=10)
    assert stop.remaining() == math.inf
    stop.request("first")
    await Stop().sleep(4)
    stop.request("second")
    assert stop.remaining() == pytest.approx(6)
    assert stop.reason == "first"
    await Stop().sleep(60)
    assert stop.remaining() == 0
