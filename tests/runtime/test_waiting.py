"""Stopping, sleeping and supervised tasks, on virtual time."""

import asyncio
import math

import pytest

from sidecars.runtime import Backoff, Context, Health, Log, Metrics, Stop, supervise
from sidecars.runtime.clock import seconds_until
from sidecars.runtime.observe.admin import Admin
from sidecars.runtime.observe.logs import configure
from sidecars.runtime.observe.tracing import Tracing

pytestmark = pytest.mark.looptime


def clock() -> float:
    return asyncio.get_running_loop().time()


def context() -> Context:
    health = Health(clock)
    log = Log("toy")
    tracer = Tracing("toy", {}, log).tracer("toy")
    return Context("toy", Stop(30), health, Metrics("toy"), log, tracer, Admin("toy", health))


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


async def test_a_crashed_task_starts_again_after_the_back_off(capfd: pytest.CaptureFixture[str]) -> None:
    configure()
    ctx, starts = context(), list[float]()

    async def work() -> None:
        starts.append(clock())
        if len(starts) < 4:
            raise RuntimeError("cannot work")

    await supervise("worker", work, ctx, Backoff(1, 60, lambda: 1.0))
    assert [round(at - starts[0]) for at in starts] == [0, 1, 3, 7]
    value = ctx.metrics.registry.get_sample_value("sidecar_toy_task_restarts_total", {"task": "worker"})
    assert value == 3
    assert capfd.readouterr().err.count('"action":"task.crashed"') == 3


async def test_a_stop_ends_the_wait_for_a_restart() -> None:
    ctx = context()

    async def work() -> None:
        asyncio.get_running_loop().call_later(2, ctx.stop.request, "SIGTERM")
        raise RuntimeError("cannot work")

    began = clock()
    await supervise("worker", work, ctx, Backoff(50, 60, lambda: 1.0))
    assert clock() - began == pytest.approx(2)


async def test_a_cancelled_supervisor_is_cancelled() -> None:
    task = asyncio.create_task(supervise("worker", asyncio.Event().wait, context()))
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
