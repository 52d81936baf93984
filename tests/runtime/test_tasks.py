"""Supervised tasks, on virtual time."""

import asyncio

import pytest

from sidecars.runtime import Backoff, supervise
from sidecars.runtime.observe.logs import configure
from tests.support.context import context

pytestmark = pytest.mark.looptime


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_a_crashed_task_starts_again_after_the_back_off(capfd: pytest.CaptureFixture[str]) -> None:
    configure()
    ctx, starts = context(name="toy"), list[float]()

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
    ctx = context(name="toy")

    async def work() -> None:
        asyncio.get_running_loop().call_later(2, ctx.stop.request, "SIGTERM")
        raise RuntimeError("cannot work")

    began = clock()
    await supervise("worker", work, ctx, Backoff(50, 60, lambda: 1.0))
    assert clock() - began == pytest.approx(2)


async def test_a_cancelled_supervisor_is_cancelled() -> None:
    task = asyncio.create_task(supervise("worker", asyncio.Event().wait, context(name="toy")))
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
