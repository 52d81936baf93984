"""The life of a sidecar process, from its settings to its exit status. `run` is the place to start reading.

Exit status: 0 after SIGTERM, SIGINT or POST /quit, always, also when the grace ran out or the last steps failed (a
non-zero status at the end of a pod can trip a Job's podFailurePolicy); 1 crash; 2 settings that cannot be used; else
what `main` returned.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence

from sidecars import __version__
from sidecars.runtime import reference
from sidecars.runtime.admin import AdminServer
from sidecars.runtime.commandline import CommandLine, parse_arguments
from sidecars.runtime.errors import Permanent, Problem, SettingsError, Transient
from sidecars.runtime.health import State
from sidecars.runtime.logs import configure
from sidecars.runtime.loop import run_loop, signals_on_loop
from sidecars.runtime.process import Process, Unit, build
from sidecars.runtime.settings import Settings, load, process_environment
from sidecars.runtime.sidecar import Sidecar
from sidecars.runtime.tasks import supervise

CRASHED = 1
BAD_SETTINGS = 2
INTERRUPTED = 143  # a one-shot that SIGTERM cut short: 128 + 15, as a shell would say
CANCEL_SECONDS = 1.0  # how long a cancelled main may take to end
FLUSH_SECONDS = 2.0  # how long the last spans may take


def run(sidecars: Sidecar | Sequence[Sidecar], argv: Sequence[str], early: Sequence[int] = ()) -> int:
    """Run one sidecar, or several in one process, and return the exit status. The last thing a process does: signals
    are ignored afterwards.

    `early` lists the signals that arrived before this call (`__main__` catches them from its first line on).
    """
    chosen = [sidecars] if isinstance(sidecars, Sidecar) else list(sidecars)
    try:
        line = read_arguments(chosen, argv)
        if line.help:
            print(reference.help_text(chosen[0]))
            return 0
        settings = read_settings(chosen, line)
        configure()
        process = build(chosen, settings, early)
        life = one_shot(process, line.oneshot) if line.oneshot else live(process)
        return run_loop(
            life, lambda what: process.log.error("left without waiting", action="sidecar.abandoned", busy=what)
        )
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_SETTINGS


def read_arguments(chosen: Sequence[Sidecar], argv: Sequence[str]) -> CommandLine:
    """Return what the command line asks for; several sidecars take no flags, since a flag would not say whose it is."""
    if len(chosen) == 1:
        return parse_arguments(chosen[0], argv)
    names = ", ".join(sidecar.name for sidecar in chosen)
    remedy = "set environment variables, or PREFIX_CONFIG to a YAML file"
    problem = Problem("the command line", f"flags are not possible with several sidecars ({names})", remedy)
    return CommandLine(problems=[problem] if argv else [])


def read_settings(chosen: Sequence[Sidecar], line: CommandLine) -> list[Settings]:
    """Return the settings of each sidecar. Raise SettingsError with the problems of all of them."""
    found: list[Settings] = []
    problems = list(line.problems)
    for sidecar in chosen:
        try:
            unneeded = next((flag.unneeded for flag in sidecar.flags if flag.name == line.oneshot), ())
            found.append(load(sidecar.settings, sidecar.prefix, process_environment(), line.flags, unneeded))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return found


async def live(process: Process) -> int:
    """Live from the signal handlers to the last flush, and return the exit status."""
    with signals_on_loop(lambda number: hear(process, number), process.early):
        server = await start_admin(process)
        start_mains(process)
        await watch_until_all_ended(process)
        status = outcome(process)
        await process.tracing.flush(FLUSH_SECONDS)
        await server.close()
        process.log.info("ended", action="sidecar.ended", status=status)
        return status


def hear(process: Process, number: int) -> None:
    """Take a signal: the first asks for the stop, a second SIGINT (somebody at a terminal) ends the waiting."""
    process.signals.append(number)
    process.stop.request(signal.Signals(number).name)
    if process.signals.count(signal.SIGINT) > 1:
        for unit in process.units:
            if unit.task:
                unit.task.cancel()


async def start_admin(process: Process) -> AdminServer:
    """Listen where the first sidecar that wants an admin endpoint says."""
    server = AdminServer([unit.ctx.admin for unit in process.units], process.registry, process.stop)
    its = next((unit.settings for unit in process.units if unit.sidecar.admin), None)
    if its:
        port = await server.start(its.admin_host, its.admin_port)
        process.log.info("admin endpoint is up", action="admin.listening", host=its.admin_host, port=port)
    return server


def start_mains(process: Process) -> None:
    """Start every sidecar's main: alone as it is, among others under supervision."""
    alone = len(process.units) == 1
    for unit in process.units:
        unit.ctx.log.info("starting", action="sidecar.starting", version=__version__)
        unit.task = asyncio.create_task(run_main(unit) if alone else restart_main(unit), name=unit.sidecar.name)


async def run_main(unit: Unit) -> int:
    """Run a main once."""
    return await unit.main(unit.settings, unit.ctx) or 0


async def restart_main(unit: Unit) -> int:
    """Run a main again whenever it crashed: the other sidecars of this process must not pay for it."""
    status = 0

    async def attempt() -> None:
        nonlocal status
        unit.ctx.health.set("main", State.OK, "running")
        ended = False
        try:
            status = await run_main(unit)
            ended = True
        finally:
            if not ended:
                unit.ctx.health.set("main", State.FAILING, "crashed")

    await supervise(unit.sidecar.name, attempt, unit.ctx)
    return status


async def watch_until_all_ended(process: Process) -> None:
    """Return when every main has ended. On a stop they are asked one after the other, the last of the list first."""
    mains = [unit.task for unit in process.units if unit.task]
    asked = asyncio.create_task(process.stop.wait(), name="stop")
    ended = asyncio.create_task(asyncio.wait(mains), name="ended")
    await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    ended.cancel()
    if process.stop.requested:
        process.log.info("stopping", action="stop.requested", reason=process.stop.reason)
        for unit in reversed(process.units):
            await stop_main(unit, process.stop.reason)


async def stop_main(unit: Unit, reason: str) -> None:
    """Ask one main to stop, wait as long as its grace lasts, then cancel it."""
    unit.ctx.stop.request(reason)
    if unit.task is None:
        return
    await asyncio.wait({unit.task}, timeout=unit.ctx.stop.remaining())
    if unit.task.done():
        return
    unit.ctx.metrics.counter("grace_overruns", "Stops that took longer than the grace.").inc()
    grace_seconds = unit.ctx.stop.grace_seconds
    unit.ctx.log.error("cannot finish within the grace: cancelled", action="stop.overrun", grace_seconds=grace_seconds)
    unit.task.cancel()
    await asyncio.wait({unit.task}, timeout=CANCEL_SECONDS)


def outcome(process: Process) -> int:
    """Log the crashes and return the exit status. A SettingsError from a main that ran alone goes on to `run`."""
    statuses = [0]
    for unit in process.units:
        task = unit.task
        if task is None or not task.done() or task.cancelled():
            statuses.append(CRASHED)
        elif error := task.exception():
            if isinstance(error, SettingsError) and not process.stop.requested:
                raise error
            unit.ctx.log.error("crashed", action="sidecar.crashed", error=error)
            statuses.append(CRASHED)
        else:
            statuses.append(task.result())
    return 0 if process.stop.requested else max(statuses)


async def one_shot(process: Process, name: str) -> int:
    """Run a flag's coroutine in place of main, without admin endpoint; it prints for people and returns the exit
    status.
    """
    unit = process.units[0]
    unit.main = unit.sidecar.oneshots[name]
    with signals_on_loop(lambda number: hear(process, number), process.early):
        unit.task = asyncio.create_task(run_main(unit), name=f"--{name}")
        asked = asyncio.create_task(process.stop.wait(), name="stop")
        await asyncio.wait([unit.task, asked], return_when=asyncio.FIRST_COMPLETED)
        if not unit.task.done():
            unit.ctx.stop.request(process.stop.reason)
            unit.task.cancel()
            await asyncio.wait({unit.task}, timeout=CANCEL_SECONDS)
        if not unit.task.done() or unit.task.cancelled():
            print(f"cannot finish --{name}: interrupted by {process.stop.reason}", file=sys.stderr)
            return INTERRUPTED
        error = unit.task.exception()
        if isinstance(error, Permanent | Transient):
            print(error, file=sys.stderr)
            return CRASHED
        return outcome(process)
