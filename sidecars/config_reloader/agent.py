"""Wires the config reloader: what happens goes into the state machine, and what that asks for is done."""

import asyncio
import math
import os
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sidecars.kit.generations import hash_of
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Context, ExitStatus, OneShot, Permanent, Sidecar, State, Transient
from sidecars.runtime.clock import monotonic, now, rfc3339, seconds_until

from .check import findings, refuse_start, step_text
from .core import messages as core
from .core.plan import UNCOUNTED, Done, RolloutResult, StepKind
from .core.rollout import Rollouts
from .core.schedule import splay_seconds
from .core.snapshot import EntryState, Snapshot, changed
from .core.steps import Confirm
from .metrics import ReloaderMetrics
from .notifying.notifier import Notifier
from .notifying.state_file import StateFile
from .rendering.output import OutputFolder
from .settings import ConfigReloaderSettings
from .watching.watcher import Watcher, too_large_paths

_NAMED_FILES = 10
_SAY_SECONDS = 60.0
_DOUBT_SECONDS = 3600.0


@dataclass(frozen=True)
class Outside:
    """What the config reloader has to do with: files, the app, its own folder, its own memory."""

    watcher: Watcher
    notifier: Notifier
    output: OutputFolder | None
    state_file: StateFile


def outside(settings: ConfigReloaderSettings, ctx: Context, metrics: ReloaderMetrics) -> Outside:
    """Return the real thing."""
    return Outside(
        Watcher(settings, ctx, metrics),
        Notifier(),
        OutputFolder(settings.render, ctx.log) if settings.render else None,
        StateFile(settings.state_file, ctx, metrics),
    )


def policy(settings: ConfigReloaderSettings, *, once: bool = False) -> core.Policy:
    """Return what the settings say about rollouts."""
    return core.Policy(
        steps=settings.all_steps,
        renders=settings.render is not None,
        initial=settings.initial,
        quiet_seconds=settings.quiet_seconds,
        max_wait_seconds=settings.max_wait_seconds,
        splay_seconds=splay_seconds(settings.pod_name or os.uname().nodename, settings.splay_seconds),
        once=once,
    )


def remembered(output: OutputFolder | None, state_file: StateFile) -> core.Remembered:
    """Return what is known from before the start."""
    current, unsure = output.recover() if output else ("", "")
    known = state_file.load()
    return core.Remembered(known.applied, known.possible or unsure, known.refused, current)


class Reloader:
    """The loop: events in, actions out."""

    def __init__(
        self, settings: ConfigReloaderSettings, ctx: Context, parts: Outside | None = None, *, once: bool = False
    ) -> None:
        self._settings = settings
        self._ctx = ctx
        self._metrics = ReloaderMetrics(ctx.metrics)
        parts = parts or outside(settings, ctx, self._metrics)
        self._watcher, self._notifier = parts.watcher, parts.notifier
        self._output, self._state_file = parts.output, parts.state_file
        self._confirms = any(step.confirm for step in settings.all_steps)
        self._once = once
        self._names: Mapping[str, str] = {}
        """The files of the content that was handed on last."""
        self._actions: deque[core.Action] = deque()
        self._woken = asyncio.Event()
        self._attempts: dict[int, asyncio.Task[core.AttemptEnded]] = {}
        self._answers: dict[int, asyncio.Future[core.RequestAnswer]] = {}
        self._requests = 0
        self._ended: Done | None = None
        """With `once`: how it ended."""
        self._shown: dict[str, Any] = {}
        """What /status says of the rollouts."""
        before = remembered(self._output, self._state_file)
        self.rollouts = Rollouts(policy(settings, once=once), before, monotonic())
        self._show()

    async def run(self) -> None:
        """Run until the stop, and end at once: what is pending is not in the state file, so the next start does it."""
        self._ctx.admin.status(self._status)
        self._ctx.admin.trigger("reload", self._reload_by_hand)
        try:
            await self._start()
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watcher.run(self._seen, lambda: self.rollouts.debounce.look_at))
                work = tasks.create_task(self._work())
                await self._ctx.stop.wait()
                watch.cancel()
                work.cancel()
        finally:
            self._watcher.close()

    async def once(self) -> ExitStatus:
        """Render, validate and publish, notify nobody. DONE when the content is good."""
        try:
            snapshot = await self._watcher.take()
            if absent := _absent(snapshot):
                print(f"cannot read {absent}: {'; '.join(too_large_paths(snapshot)) or 'not there'}")
                return ExitStatus.FAILED
            self._on(core.Seen(snapshot))
            await self._work()
        finally:
            self._watcher.close()
        if self._ended is None or self._ended.result is not RolloutResult.APPLIED:
            print(f"cannot use the content: {self._ended.reason if self._ended else ''}")
            return ExitStatus.FAILED
        print(f"ok: the content {self.rollouts.applied} is good")
        return ExitStatus.DONE

    async def _start(self) -> None:
        """Take the first snapshot."""
        self._watcher.report_frozen()
        snapshot = await self._watcher.take()
        self._names = snapshot.names
        self._ctx.log.info(
            f"watching {', '.join(self._settings.watched)}",
            action="watch.started",
            hash=snapshot.hash,
            mode=self._watcher.mode,
        )
        self._seen(snapshot)

    def _seen(self, snapshot: Snapshot, asked: int | None = None) -> None:
        before = self.rollouts.debounce.present
        self._on(core.Seen(snapshot) if asked is None else core.Asked(asked, snapshot))
        found = "unchanged" if self.rollouts.debounce.present == before else "changed"
        self._metrics.looks.labels(found).inc()

    def _on(self, event: core.Event) -> None:
        """Hand an event to the state machine, and what it asks for to the loop."""
        self._actions.extend(self.rollouts.on(event, monotonic(), random.random()))
        self._woken.set()

    async def _work(self) -> None:
        """Do what the state machine asks for; until cancelled, or with `once` until it ended."""
        async with asyncio.TaskGroup() as tasks:
            while self._ended is None:
                while self._actions:
                    await self._do(self._actions.popleft(), tasks)
                self._show()  # what is shown is written down
                await self._wait()

    async def _wait(self) -> None:
        if self._ended is not None:
            return
        self._woken.clear()
        at = self.rollouts.wake_at
        try:
            async with asyncio.timeout(None if at == math.inf else seconds_until(at)):
                await self._woken.wait()
        except TimeoutError:
            self._on(core.TimePassed())

    async def _do(self, action: core.Action, tasks: asyncio.TaskGroup) -> None:
        match action:
            case core.StepAttempt():
                task = tasks.create_task(self._attempt(action, tasks), name=action.step.kind.value)
                self._attempts[action.number] = task
                task.add_done_callback(partial(self._attempt_over, action.number))
            case core.Cancel():
                if begun := self._attempts.get(action.number):
                    begun.cancel()
            case core.WriteState():
                await self._state_file.write(action.remembered, tasks)
            case core.Keep() if self._output:
                await self._output.keep(action.folder)
            case core.Discard() if self._output:
                await self._output.discard(action.folder)
            case core.RequestAnswer():
                answer = self._answers.pop(action.request, None)
                if answer and not answer.done():
                    answer.set_result(action)
            case core.ContentChanged() | core.StepReport() | core.RolloutReport() | core.RolledBack():
                self._report(action)

    def _attempt_over(self, number: int, task: asyncio.Task[core.AttemptEnded]) -> None:
        del self._attempts[number]
        if self._ctx.stop.requested:
            return
        if task.cancelled():
            self._on(core.AttemptEnded(number, None))
        elif task.exception() is None:
            self._on(task.result())

    async def _attempt(self, attempt: core.StepAttempt, tasks: asyncio.TaskGroup) -> core.AttemptEnded:
        """Attempt a step once."""
        number, step = attempt.number, attempt.step
        change = Change(attempt.hash, attempt.folder or self._watcher.folder)
        match step.kind:
            case StepKind.RENDER | StepKind.PUBLISH | StepKind.PUT_BACK if self._output:
                return await self._write_output(attempt, self._output)
            case StepKind.HOLD:
                for other in attempt.others:
                    if await self._notifier.ready(other.options):
                        return core.AttemptEnded(number, OK)
                return core.AttemptEnded(number, Outcome(Result.UNREACHABLE) if attempt.others else OK)
            case StepKind.OBSERVE:
                seen = {
                    other.index: await self._notifier.observe(other.options, change)
                    for other in attempt.others
                    if isinstance(other.options, Confirm)
                }
                return core.AttemptEnded(number, OK, observed=seen)
            case StepKind.CONFIRM if isinstance(step.options, Confirm):
                pause = self._ctx.stop.pause
                return core.AttemptEnded(
                    number, await self._notifier.confirm(step.options, change, attempt.observed, pause)
                )
            case _:
                return core.AttemptEnded(number, await self._notifier.act(step.options, change, tasks))

    async def _write_output(self, attempt: core.StepAttempt, output: OutputFolder) -> core.AttemptEnded:
        folder = ""
        match attempt.step.kind:
            case StepKind.RENDER:
                outcome, folder = await output.render(attempt.hash, self._watcher.contents)
            case StepKind.PUBLISH:
                outcome = await output.publish(attempt.folder)
            case _:
                outcome, folder = await output.put_back()
        return core.AttemptEnded(attempt.number, outcome, folder, hash_of(folder))

    async def _reload_by_hand(self) -> Mapping[str, object]:
        """Roll the present content out for POST /reload, whatever the app has, and without debounce and splay."""
        snapshot = await self._watcher.take()
        if absent := _absent(snapshot):
            why = "".join(f"; {text}" for text in too_large_paths(snapshot))
            raise Transient(f"cannot read {absent}: a part of the content is not rolled out{why}")
        self._requests += 1
        answer = self._answers[self._requests] = asyncio.get_running_loop().create_future()
        self._seen(snapshot, asked=self._requests)
        await self._first_of(answer)
        if not answer.done():
            raise Transient("still pending: the sidecar stops; the next start tries it again")
        hash_, done = answer.result().hash, answer.result().done
        if done is None:
            raise Transient(f"still pending: {answer.result().blocked}; it is tried again")
        if done.result is RolloutResult.APPLIED:
            return {"hash": hash_, "result": done.result.value}
        if done.result is RolloutResult.SUPERSEDED:
            raise Transient("newer content came, which is rolled out instead")
        raise Permanent(f"{done.result}: {done.reason}")

    async def _first_of(self, answer: asyncio.Future[core.RequestAnswer]) -> None:
        """Wait for the answer; not when we stop."""
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(self._ctx.stop.wait(), name="stop")
            waits: set[asyncio.Future[Any]] = {answer, stop}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()

    def _report(self, fact: core.Fact) -> None:
        """Log and count what happened."""
        self._metrics.count(fact)
        match fact:
            case core.ContentChanged():
                self._report_change(fact.hash)
            case core.StepReport():
                self._report_step(fact)
            case core.RolledBack():
                text = f"put the last good generation back: {fact.done.reason}"
                self._ctx.log.warning(text, action="reload.rolled_back", hash=fact.content.hash)
            case core.RolloutReport():
                if self._once:
                    self._ended = fact.done
                else:
                    self._report_end(fact)

    def _report_change(self, content: str) -> None:
        before, self._names = self._names, self._watcher.last.names if self._watcher.last else {}
        files = changed(before, self._names)
        more = f" and {len(files) - _NAMED_FILES} more" if len(files) > _NAMED_FILES else ""
        text = f"the content changed: {', '.join(files[:_NAMED_FILES])}{more}"
        self._ctx.log.info(text, action="change.seen", hash=content)

    def _report_step(self, report: core.StepReport) -> None:
        kind, outcome = report.step.kind, report.outcome
        fields = {"step": kind.value, "outcome": outcome.result.value, "attempt": report.attempts}
        if kind in UNCOUNTED:
            return
        if outcome.ok:
            self._ctx.log.info(f"{kind}: {outcome.detail or 'done'}", action="step.done", **fields)
            if outcome.doubt:
                self._ctx.log.warning(outcome.doubt, action="step.doubtful", every_seconds=_DOUBT_SECONDS, **fields)
        elif outcome.result is Result.REJECTED and report.repeated:
            pass  # asked again, and still no: that was said
        elif outcome.result is not Result.SUPERSEDED or report.given_up:
            self._ctx.log.warning(
                f"cannot {kind}: {outcome.detail or outcome.result}",
                action=f"step.{outcome.result}",
                every_seconds=_SAY_SECONDS if report.attempts > 1 else 0.0,
                **fields,
            )

    def _report_end(self, report: core.RolloutReport) -> None:
        done, content = report.done, report.content.hash
        if done.result is RolloutResult.APPLIED and report.notified:
            text = "the app has the new content" if self._confirms else "the app was notified of the new content"
            self._ctx.log.info(text, action="reload.applied", hash=content, seconds=round(report.seconds, 3))
        elif done.result not in {RolloutResult.APPLIED, RolloutResult.SUPERSEDED} and not report.repeated:
            self._ctx.log.error(
                f"the newest content is not in force: {why_refused(done)}",
                action=f"reload.{done.result}",
                hash=content,
            )

    def _show(self) -> None:
        """Bring conditions, gauges and /status up to date."""
        rollouts, health = self.rollouts, self._ctx.health
        if rollouts.started:
            health.mark_started()
        refused = rollouts.refused
        bad = State.FAILING if self._settings.unready_when_rejected else State.DEGRADED
        text = f"the newest content is not in force: {why_refused(refused.done)}" if refused else ""
        health.set("content", bad if refused else State.OK, text)
        health.set("reload", State.DEGRADED if rollouts.trouble else State.OK, rollouts.trouble)
        pending_since = _wall(rollouts.pending_since) if rollouts.pending else 0.0
        self._metrics.show(rollouts.applied, refused=refused is not None, pending_since=pending_since)
        self._shown = standing(rollouts)

    def _status(self) -> dict[str, Any]:
        """Return what /status shows."""
        snapshot = self._watcher.last
        return {
            **self._shown,
            "mode": self._watcher.mode,
            "watch": [
                {"path": entry.path, "kind": entry.kind.value, "state": entry.state.value, "files": entry.files}
                for entry in (snapshot.entries if snapshot else ())
            ],
            "problems": [
                *(too_large_paths(snapshot) if snapshot else ()),
                *(f"{path.path}: {path.reason}" for path in (snapshot.unreadable if snapshot else ())),
            ],
            "steps": [step_text(step) for step in self._settings.all_steps],
        }


def standing(rollouts: Rollouts) -> dict[str, Any]:
    """Return which content is applied, pending and refused, for /status."""
    applied = pending = refused = None
    if rollouts.applied:
        at = None if rollouts.applied_at is None else rfc3339(_wall(rollouts.applied_at))
        applied = {"hash": rollouts.applied, "at": at}
    if rollouts.pending:
        since = rfc3339(_wall(rollouts.pending_since))
        pending = {"hash": rollouts.pending.hash, "since": since, "waiting_for": rollouts.blocked}
    if rollouts.refused:
        refused = {
            "hash": rollouts.refused.content.hash,
            "verdict": rollouts.refused.done.result.value,
            "reason": rollouts.refused.done.reason,
            "at": rfc3339(_wall(rollouts.refused.at)),
        }
    return {"applied": applied, "pending": pending, "refused": refused}


def why_refused(done: Done) -> str:
    """Return why a content is not in force, and what is done about it, for people."""
    more = "its validator is asked again now and then" if done.may_pass else "nothing more is tried until it changes"
    return f"{done.reason}; {more}"


def _absent(snapshot: Snapshot) -> str:
    """Return the watched paths that are not in the snapshot, for people."""
    return ", ".join(entry.path for entry in snapshot.entries if entry.state is not EntryState.OK)


def _wall(at: float) -> float:
    """Return the wall clock of a monotonic time."""
    return now() - (monotonic() - at)


async def main(settings: ConfigReloaderSettings, ctx: Context) -> None:
    """Watch and notify until the stop."""
    await Reloader(settings, ctx).run()


async def once(settings: ConfigReloaderSettings, ctx: Context) -> ExitStatus:
    """Prepare one content for an init container (`--once`)."""
    return await Reloader(settings, ctx, once=True).once()


SIDECAR = Sidecar(
    name="config-reloader",
    settings=ConfigReloaderSettings,
    main=main,
    oneshots=(
        OneShot(
            "once", "render and validate once, notify nobody, and exit: 0 good, 1 not (for an init container)", once
        ),
    ),
    refuse_start=refuse_start,
    metrics=ReloaderMetrics,
    check=findings,
    aliases={
        # configmap-reload's; its other flags have the names of settings
        "web.listen-address": "listen_address",
        "web.telemetry-path": "telemetry_path",
        # prometheus-config-reloader's
        "config-file": "watch",
        "watched-dir": "watch",
        "reload-url": "webhook_url",
        "process-executable-name": "process",
        "delay-interval": "quiet_seconds",
        "watch-interval": "resync_seconds",
    },
)
