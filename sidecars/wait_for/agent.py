"""Wires wait-for: one task for each target, one that logs the progress, and what follows when it is decided."""

import asyncio
import random

from sidecars.runtime import Backoff, Context, ExitStatus, Permanent, Sidecar, Transient
from sidecars.runtime.clock import monotonic
from sidecars.runtime.life.status import leave

from .become import CannotBecome, become, look_for
from .check import findings, refuse_start
from .core.address import host_fault
from .core.schedule import BASE_SECONDS, AttemptSchedule, Pace, progress_pauses
from .core.target import File, Socket, Target
from .core.wait_state import End, WaitState
from .probing.probes import Probe, probe_of
from .probing.reasons import reason
from .settings import WaitForSettings

_STATUS = {End.READY: ExitStatus.DONE, End.TIMED_OUT: ExitStatus.FAILED, End.HOPELESS: 3}


class Waiting:
    """All targets, until it is decided."""

    def __init__(self, settings: WaitForSettings, ctx: Context) -> None:
        self._settings = settings
        self._ctx = ctx
        self._targets = settings.parsed
        self._state = WaitState(tuple(target.shown for target in self._targets), any_suffices=settings.any)
        self._decided = asyncio.Event()
        self._began = monotonic()

    async def run(self) -> End:
        """Wait until the targets are ready, or cannot be, or the time is up."""
        for place, target in enumerate(self._targets):
            if reason := _name_fault(target):
                self._state.hopeless(place, reason)
        if (end := self._state.end()) is not None:
            return end
        try:
            async with asyncio.timeout(self._settings.timeout_seconds or None), asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._watch(place, target), name=target.shown)
                    for place, target in enumerate(self._targets)
                    if not _name_fault(target)
                ]
                tasks.append(group.create_task(self._log_progress(), name="progress"))
                await self._decided.wait()
                for task in tasks:
                    task.cancel()
        except TimeoutError:
            return self._state.end() or End.TIMED_OUT
        return self._state.end() or End.INTERRUPTED

    def conclude(self, end: End) -> None:
        """Say how it ended, in the log and, without success, in the termination log."""
        if end is End.READY:
            self._ctx.log.info("ready", action="wait.done", waited_seconds=round(self._waited_seconds, 3))
            return
        message = self._state.explanation(end, self._waited_seconds)
        self._ctx.log.error(message, action="wait.failed", end=end.value, targets=self._state.blocking)
        _leave(self._settings.termination_log, message, self._ctx)

    async def _watch(self, place: int, target: Target) -> None:
        """Try one target until it is ready or never can be."""
        settings = self._settings
        base_seconds = min(BASE_SECONDS, settings.interval_seconds)
        schedule = AttemptSchedule(
            Pace(settings.stable_seconds, settings.interval_seconds),
            Backoff(base_seconds, settings.interval_seconds, random.random),
        )
        probe = probe_of(target, settings)
        try:
            while (pause_seconds := await self._attempt(place, probe, schedule)) is not None:
                if await self._ctx.stop.sleep(pause_seconds):
                    return
        except Permanent as error:
            self._state.hopeless(place, str(error))
        else:
            self._state.ready(place)
            self._ctx.log.info(
                f"{target.shown} is ready",
                action="wait.ready",
                target=target.shown,
                waited_seconds=round(self._waited_seconds, 3),
            )
        finally:
            probe.close()
        if self._state.end() is not None:
            self._decided.set()

    async def _attempt(self, place: int, probe: Probe, schedule: AttemptSchedule) -> float | None:
        """Try once. Return the pause before the next attempt, or None: ready."""
        limit_seconds = self._settings.try_seconds
        if self._settings.timeout_seconds:
            limit_seconds = min(limit_seconds, max(0.0, self._settings.timeout_seconds - self._waited_seconds))
        try:
            await probe.within(limit_seconds)
        except Transient as error:
            self._state.blocked(place, str(error))
            return schedule.failed()
        pause_seconds = schedule.succeeded(monotonic())
        if pause_seconds is not None:
            up_seconds = round(schedule.up_seconds(monotonic()), 1)
            self._state.blocked(place, f"up for {up_seconds:g} of {self._settings.stable_seconds:g} s")
        return pause_seconds

    async def _log_progress(self) -> None:
        for pause_seconds in progress_pauses(self._settings.progress_seconds):
            if await self._ctx.stop.sleep(pause_seconds):
                return
            self._ctx.log.info(
                self._state.progress(self._waited_seconds),
                action="wait.blocked",
                waited_seconds=round(self._waited_seconds, 3),
                targets=self._state.blocking,
            )

    @property
    def _waited_seconds(self) -> float:
        return monotonic() - self._began


def _name_fault(target: Target) -> str:
    return "" if isinstance(target, File | Socket) else host_fault(target.host)


async def main(settings: WaitForSettings, ctx: Context) -> int:
    """Wait, say why when in vain, and become the command when there is one."""
    waiting = Waiting(settings, ctx)
    try:
        if settings.command:
            _look_for_the_command(settings, ctx)
        end = await waiting.run()
    except asyncio.CancelledError:  # SIGTERM or Ctrl-C; the runtime gives the exit status
        waiting.conclude(End.INTERRUPTED)
        raise
    except CannotBecome as error:
        return _give_up(error, settings, ctx)
    waiting.conclude(end)
    if end is not End.READY or not settings.command:
        return _STATUS[end]
    try:
        become(settings.command)
    except CannotBecome as error:
        return _give_up(error, settings, ctx)


def _look_for_the_command(settings: WaitForSettings, ctx: Context) -> None:
    """See before the wait whether the command can be run. Raise CannotBecome, unless a file is waited for: whoever
    brings that may bring the command too.
    """
    try:
        look_for(settings.command[0])
    except CannotBecome as error:
        if not any(isinstance(target, File) for target in settings.parsed):
            raise
        ctx.log.warning(f"{error}; waiting for it to come with the files", action="command.missing")


def _give_up(error: CannotBecome, settings: WaitForSettings, ctx: Context) -> int:
    ctx.log.error(str(error), action="command.failed")
    _leave(settings.termination_log, str(error), ctx)
    return error.status


def _leave(path: str, message: str, ctx: Context) -> None:
    """Leave the reason where `kubectl describe pod` shows it; that it cannot be written is only worth a warning."""
    try:
        leave(path, message)
    except OSError as error:
        ctx.log.warning(f"cannot write {path}: {reason(error)}", action="termination.failed")


SIDECAR = Sidecar(
    name="wait-for",
    settings=WaitForSettings,
    main=main,
    admin=False,
    refuse_start=refuse_start,
    check=findings,
    words="targets",
    rest="command",
    aliases={"timeout": "timeout_seconds"},
)
