"""How the runtime holds several mains in one process, on virtual time: restarts, early ends, and the shared grace."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from sidecars.runtime import Context, Log, Settings, State, Stop, supervise
from sidecars.runtime.clock import monotonic
from sidecars.runtime.errors import Transient
from sidecars.runtime.life.process import SidecarProcess, Unit
from sidecars.runtime.life.serving import KEPT_SECONDS, restart_main, stop_in_turn
from tests.support.context import context
from tests.support.toys import TOYS

pytestmark = pytest.mark.looptime
Work = Callable[[Context], Awaitable[int | None]]


def unit(name: str, work: Work, grace_seconds: float = 30.0) -> Unit:
    """A sidecar that does this work."""

    async def main(_: Settings, ctx: Context) -> int | None:
        return await work(ctx)

    return Unit(replace(TOYS["idle"], name=name), Settings(), context(grace_seconds, name), main)


def states(one: Unit) -> dict[str, tuple[State, str]]:
    return {c.name: (c.state, c.reason) for c in one.ctx.health.conditions}


async def test_what_a_crashed_run_said_is_forgotten() -> None:
    runs = 0

    async def work(ctx: Context) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            ctx.health.set("remote", State.FAILING, "away")
            ctx.admin.status(lambda: {"run": 1})
            ctx.admin.trigger("pull", lambda: asyncio.sleep(0))
            raise RuntimeError("cannot go on")
        await ctx.stop.wait()

    one = unit("toy", work)
    task = asyncio.create_task(restart_main(one))
    await asyncio.sleep(0)
    assert states(one)["main"] == (State.FAILING, "crashed: RuntimeError")
    assert one.ctx.admin.shown() == {}
    with pytest.raises(Transient, match="toy crashed and has not been started again yet"):
        await one.ctx.admin.triggers["pull"]()
    while runs < 2:
        await asyncio.sleep(0.1)
    assert states(one) == {"main": (State.OK, "running")}
    one.ctx.stop.request("SIGTERM")
    assert await task == 0


@pytest.mark.parametrize(("status", "started"), [(0, True), (7, False)])
async def test_who_ends_early_is_not_started_again_and_is_seen(status: int, started: bool) -> None:
    async def work(_: Context) -> int:
        return status

    one = unit("toy", work)
    assert await restart_main(one) == status
    assert states(one)["main"] == (State.DEGRADED, f"ended with status {status}")
    assert one.ctx.health.started is started


async def test_a_cancellation_that_nobody_asked_for_is_a_crash_like_any_other() -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            answer = asyncio.get_running_loop().create_future()
            answer.cancel()
            await answer

    await supervise("toy", work, unit("toy", lambda _: asyncio.sleep(0)).ctx)
    assert runs == 2


async def hangs(ctx: Context) -> None:
    await asyncio.Event().wait()


async def ends(ctx: Context) -> None:
    await ctx.stop.wait()


async def stopped(*units: Unit) -> dict[str, float]:
    """Stop them as the process does; how many seconds of grace each was given, in the order of the list."""
    process = SidecarProcess(list(units), Stop(max(one.ctx.stop.grace_seconds for one in units)), Log("all"), None)
    for one in units:
        one.task = asyncio.create_task(restart_main(one))
    await asyncio.sleep(0)
    process.stop.request("SIGTERM")
    began = monotonic()
    await stop_in_turn(process)
    assert monotonic() - began <= process.stop.grace_seconds + 0.001
    return {one.ctx.name: round(one.ctx.stop.grace_seconds, 3) for one in units}


async def test_the_last_in_turn_has_what_the_others_left() -> None:
    assert await stopped(unit("shipper", hangs, 30), unit("reloader", hangs, 5)) == {"shipper": 25, "reloader": 5}
    assert await stopped(unit("shipper", hangs, 30), unit("reloader", ends, 5)) == {"shipper": 30, "reloader": 5}


async def test_some_time_is_kept_for_who_comes_later() -> None:
    assert await stopped(unit("reloader", ends, 5), unit("shipper", hangs, 30)) == {
        "reloader": KEPT_SECONDS,
        "shipper": 30 - KEPT_SECONDS,
    }
    assert await stopped(unit("a", hangs, 1.5), unit("b", hangs, 1.5), unit("c", hangs, 1.5)) == {
        "a": 0.5,
        "b": 0.5,
        "c": 0.5,
    }
