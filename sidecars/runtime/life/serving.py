"""The life of sidecars that run until they are stopped: admin endpoint, mains, the order of the stop."""

import asyncio
import signal

from sidecars import __version__
from sidecars.runtime.command import extras
from sidecars.runtime.errors import SettingsError
from sidecars.runtime.observe.admin import AdminServer
from sidecars.runtime.observe.health import State
from sidecars.runtime.tasks import supervise

from .loop import CANCEL_SECONDS
from .process import Shared, SidecarProcess, Unit
from .signals import SIGNALS
from .status import ExitStatus

FLUSH_SECONDS = 2.0  # how long the last spans may take
KEPT_SECONDS = 2.0 + CANCEL_SECONDS  # of the grace, for each that waits for its turn; the kubelet's floor is 2 s, too


async def live(process: SidecarProcess, shared: Shared) -> int:
    """Live from the signal handlers to the last flush, and return the exit status."""
    with SIGNALS.on_loop(lambda number: hear(process, number)):
        server = await start_admin(process, shared)
        start_mains(process)
        await watch_until_all_ended(process)
        status = outcome(process)
        await shared.tracing.flush(FLUSH_SECONDS)
        await server.close()
        process.log.info("ended", action="sidecar.ended", status=status)
        return status


def hear(process: SidecarProcess, number: int) -> None:
    """Take a signal: the first asks for the stop, a second SIGINT (somebody at a terminal) ends the waiting."""
    process.stop.request(signal.Signals(number).name)
    if SIGNALS.heard.count(signal.SIGINT) > 1:
        for unit in process.units:
            if unit.task:
                unit.task.cancel()


async def start_admin(process: SidecarProcess, shared: Shared) -> AdminServer:
    """Listen where the first sidecar says."""
    server = AdminServer([unit.ctx.admin for unit in process.units], shared.registry, process.stop)
    host = shared.settings.admin_host
    port = await server.start(host, shared.settings.admin_port)
    process.log.info("admin endpoint is up", action="admin.listening", host=host, port=port)
    return server


def start_mains(process: SidecarProcess) -> None:
    """Start every sidecar's main: alone as it is, among others under supervision."""
    alone = len(process.units) == 1
    for unit in process.units:
        unit.ctx.log.info("starting", action="sidecar.starting", version=__version__)
        unit.task = asyncio.create_task(unit.run() if alone else restart_main(unit), name=unit.sidecar.name)


async def restart_main(unit: Unit) -> int:
    """Run a main again whenever it crashed: the other sidecars of this process must not pay for it."""
    status: int = ExitStatus.DONE
    ctx = unit.ctx

    async def attempt() -> None:
        nonlocal status
        ctx.health.forget()
        ctx.health.set("main", State.OK, "running")
        try:
            status = await unit.run()
        except BaseException as error:
            ctx.admin.forget()
            ctx.health.set("main", State.FAILING, f"crashed: {type(error).__name__}")
            raise

    await supervise(unit.sidecar.name, attempt, ctx)
    if not ctx.stop.requested:
        ctx.log.warning("ended by itself; the others go on", action="sidecar.left", status=status)
        ctx.health.set("main", State.DEGRADED, f"ended with status {status}")
        if status == ExitStatus.DONE:  # it did what it had to: nobody needs to wait for its start
            ctx.health.mark_started()
    return status


async def watch_until_all_ended(process: SidecarProcess) -> None:
    """Return when every main has ended. On a stop they are asked one after the other, the last of the list first."""
    mains = [unit.task for unit in process.units if unit.task]
    asked = asyncio.create_task(process.stop.wait(), name="stop")
    ended = asyncio.create_task(asyncio.wait(mains), name="ended")
    await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    ended.cancel()
    if process.stop.requested:
        process.log.info("stopping", action="stop.requested", reason=process.stop.reason)
        if len(process.units) == 1:
            await stop_main(process.units[0], process.stop.reason, process.units[0].ctx.stop.grace_seconds)
        else:
            await stop_in_turn(process)


async def stop_in_turn(process: SidecarProcess) -> None:
    """Stop one after the other within the longest grace of all: each has its own, but never the time that is kept for
    those whose turn comes later, should it hang.
    """
    kept_seconds = min(KEPT_SECONDS, process.stop.grace_seconds / len(process.units))
    for later in reversed(range(len(process.units))):
        unit = process.units[later]
        left_seconds = process.stop.remaining() - kept_seconds * later
        await stop_main(unit, process.stop.reason, max(0.0, min(unit.ctx.stop.grace_seconds, left_seconds)))
        unit.ctx.log.info("stopped", action="sidecar.stopped")


async def stop_main(unit: Unit, reason: str, grace_seconds: float) -> None:
    """Ask one main to stop, wait as long as its grace lasts, then cancel it."""
    unit.ctx.stop.request(reason, grace_seconds)
    if unit.task is None:
        return
    await asyncio.wait({unit.task}, timeout=unit.ctx.stop.remaining())
    if unit.task.done():
        return
    unit.ctx.metrics.counter("grace_overruns", "Stops that took longer than the grace.").inc()
    unit.ctx.log.error(
        "cannot finish within the grace: cancelled", action="stop.overrun", grace_seconds=round(grace_seconds, 3)
    )
    unit.task.cancel()
    await asyncio.wait({unit.task}, timeout=CANCEL_SECONDS)


def outcome(process: SidecarProcess) -> int:
    """Log the crashes and return the exit status. A SettingsError from a main that ran alone goes on to `run`."""
    statuses: list[int] = [ExitStatus.DONE]
    for unit in process.units:
        task = unit.task
        if task is None or not task.done() or task.cancelled():
            statuses.append(ExitStatus.FAILED)
        elif error := task.exception():
            if isinstance(error, SettingsError) and not process.stop.requested:
                raise error
            why = f": {extras.explain(unit.sidecar.name, error)}" if isinstance(error, ModuleNotFoundError) else ""
            unit.ctx.log.error(f"crashed{why}", action="sidecar.crashed", error=error)
            statuses.append(ExitStatus.FAILED)
        else:
            statuses.append(task.result())
    return ExitStatus.DONE if process.stop.requested else max(statuses)
