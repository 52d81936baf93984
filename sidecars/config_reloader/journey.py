"""Take one content through one plan: render, validate, publish, tell, confirm."""

import asyncio
import math

from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Permanent, State
from sidecars.runtime.clock import monotonic
from sidecars.runtime.settings.environment import process_environment

from .core.advance import Value
from .core.plan import PATIENCE_SECONDS, PREPARING, TELLING, Cut, Do, Done, Item, Kind, Plan, Verdict, Wait
from .core.steps import Confirm
from .mailbox import Order
from .rendering import render as rendering
from .surroundings import Surroundings
from .watching import volume

_CUT_SHORT = frozenset({Kind.VALIDATE, Kind.HOLD, Kind.CONFIRM})
_READY_SECONDS = 0.5
"""How often it is looked whether somebody is there to be told (`initial: when-ready`)."""
_WRITING = frozenset({Kind.RENDER, Kind.PUBLISH})
_CANNOT_WRITE = frozenset({Result.FAILED, Result.DENIED})
_NAMED = 5
_SUPERSEDED = Outcome(Result.SUPERSEDED, "newer content came")


class Journey:
    """One content on its way. `candidate`: the folder that holds it, rendered or as watched."""

    def __init__(self, shared: Surroundings, order: Order, plan: Plan, candidate: str = "") -> None:
        self._shared = shared
        self._attempts = shared.attempts
        self._order = order
        self._plan = plan
        self._staged = ""
        self._before: dict[Item, Value | None] = {}
        """What each confirm step saw before the app was told."""
        self._looking_before = asyncio.Lock()
        self._failed = False
        self._unwritten = False
        """Whether the output could not be written, by the last attempt."""
        self.candidate = candidate

    async def run(self, tasks: asyncio.TaskGroup) -> Done:
        """Do what the plan says, until it ends or newer content waits. What still tells the app then goes on in `tasks`
        without us.
        """
        for attempt in self._attempts.others(self._plan):
            self._plan.occupied(attempt.item.index, attempt.begun_at)
        try:
            done = await self._follow(tasks)
            return await self._see_off(tasks) or done
        finally:
            for attempt in self._attempts.of(self._plan):
                if attempt.item.kind not in TELLING:
                    self._attempts.drop(attempt)
            if self._staged and self._shared.generations:
                self._shared.generations.discard(self._staged)  # rendered, and never published

    async def _follow(self, tasks: asyncio.TaskGroup) -> Done:
        while True:
            if end := self._take_ends(tasks):
                return end
            step = self._plan.next(monotonic())
            if not (isinstance(step, Do) and step.item.kind in PREPARING) and not self._busy_with(PREPARING):
                self._end_start()  # the app's files are there; the rest needs the app
            if isinstance(step, Done):
                return step  # also when newer content waits: what is done is done
            if self._gives_way(step):
                return Done(Verdict.SUPERSEDED, _SUPERSEDED.detail)
            if isinstance(step, Wait):
                newer = self._shared.mailbox.arrived
                until = monotonic() + PATIENCE_SECONDS if newer.is_set() else math.inf
                await self._attempts.wait(min(until, step.until), newer)
            elif isinstance(step, Cut):
                self._plan.cut(step.item)
                self._attempts.cut(step.item.index)
            else:
                self._begin(step.item, tasks)

    def _end_start(self) -> None:
        """The start is over, unless the app would begin without any files of its own, since they cannot be written."""
        generations = self._shared.generations
        if not self._unwritten or (generations and generations.current()):
            self._shared.ctx.health.mark_started()

    def _gives_way(self, step: Do | Cut | Wait) -> bool:
        """Whether newer content takes over now. Content that comes faster than it can be prepared must not keep the app
        from ever being told: after `max_wait_seconds` what is at work goes on, unless it failed. To hang, and to wait
        for a confirmation, is not work.
        """
        if not self._shared.mailbox.arrived.is_set():
            return False
        if self._failed or monotonic() - self._shared.behind_since <= self._shared.max_wait_seconds:
            return True
        recent = monotonic() - PATIENCE_SECONDS
        tells = any(
            attempt.item.kind in TELLING and attempt.begun_at > recent for attempt in self._attempts.of(self._plan)
        )
        return not (tells or isinstance(step, Do) or self._busy_with(PREPARING))

    def _begin(self, item: Item, tasks: asyncio.TaskGroup) -> None:
        if item.kind is Kind.HOLD and not self._holds:
            self._plan.ended(item, OK, monotonic(), 0.0)
            return
        task = tasks.create_task(self._attempt(item, tasks), name=item.kind.value)
        self._attempts.begun(item, self._order, self._plan, task)

    def _take_ends(self, tasks: asyncio.TaskGroup) -> Done | None:
        """Take note of the attempts that have ended; the end of this content, if that was it."""
        end: Done | None = None
        for ended in self._attempts.take_ended():
            item, outcome = ended.attempt.item, ended.outcome
            if ended.attempt.plan is not self._plan:
                self._shared.former_ended(ended, tasks)
                self._plan.freed(item.index)
                continue
            end = ended.end or end
            if item.kind in _WRITING:
                self._unwritten = outcome.result in _CANNOT_WRITE
            if not outcome.ok and outcome.result is not Result.SUPERSEDED:
                self._failed = True
                self._end_start()  # tried once: the app's start must not depend on more
                self._shared.ctx.health.set("reload", State.DEGRADED, self._plan.blocked())
        return end

    async def _see_off(self, tasks: asyncio.TaskGroup) -> Done | None:
        """At the end: cut what only looks or waits. What is being written is written. Returns the end, if that was
        it.
        """
        for attempt in self._attempts.of(self._plan):
            if attempt.item.kind in _CUT_SHORT:
                self._attempts.drop(attempt)
        if writing := {attempt.task for attempt in self._attempts.of(self._plan) if attempt.item.kind in PREPARING}:
            await asyncio.wait(writing)
        end = self._take_ends(tasks) or self._plan.next(monotonic())
        return end if isinstance(end, Done) else None

    async def _attempt(self, item: Item, tasks: asyncio.TaskGroup) -> Outcome:
        if item.kind in TELLING:
            self._shared.taking_over()
            await self._shared.before_telling(self._order.digest, tasks)
            async with self._looking_before:
                await self._look_before()
        return await self._act(item, tasks)

    def _busy_with(self, kinds: frozenset[Kind]) -> bool:
        return any(attempt.item.kind in kinds for attempt in self._attempts.of(self._plan))

    async def _act(self, item: Item, tasks: asyncio.TaskGroup) -> Outcome:
        match item.kind:
            case Kind.RENDER:
                return await self._render()
            case Kind.PUBLISH:
                return await self._publish()
            case Kind.HOLD:
                return await self._hold()
            case Kind.CONFIRM:
                return await self._confirm(item)
            case _:
                return await self._shared.telling.act(item.options, self._change, tasks)

    @property
    def _change(self) -> Change:
        return Change(self._order.digest, self.candidate or self._shared.detection.folder)

    async def _render(self) -> Outcome:
        """Read the content with its bytes and make a generation of it, not published yet."""
        rules, generations = self._shared.rules, self._shared.generations
        if rules is None or generations is None:
            raise TypeError("cannot render without rules")
        digest, look = await self._shared.detection.contents()
        if digest != self._order.digest:
            too_large = [f"{root.path}: {root.too_large}" for root in look.roots if root.too_large]
            why = "; ".join(too_large) or "the content is changing, or a part of it is not there"
            return Outcome(Result.UNREACHABLE, why)
        if look.clashes:
            return Outcome(Result.REJECTED, volume.clash(look))
        if look.problems:  # a generation without a file that is there would be another configuration
            named = "; ".join(f"cannot read {problem.path}: {problem.reason}" for problem in look.problems[:_NAMED])
            return Outcome(Result.REJECTED, f"{named}; mend it, or watch a glob that leaves it out")
        try:
            files = await asyncio.to_thread(rendering.render, look.files, rules, process_environment())
            if await asyncio.to_thread(generations.same_as_current, files):
                self.candidate = generations.current() or ""
            else:
                self.candidate = self._staged = await asyncio.to_thread(generations.stage, files, digest)
        except rendering.Unrenderable as error:
            return Outcome(Result.REJECTED, str(error))
        except OSError as error:
            return Outcome(Result.FAILED, f"cannot write {rules.output} (render.output): {error.strerror}")
        return OK

    async def _publish(self) -> Outcome:
        generations = self._shared.generations
        if generations is None or not self._staged:
            return Outcome(Result.OK, "the output holds this content already")
        self._shared.taking_over()
        replaced = generations.current() is not None
        staged, self._staged = self._staged, ""  # should we be cancelled, the thread goes on: it must keep its folder
        try:
            await asyncio.to_thread(generations.publish, staged)
        except Permanent as error:
            self._staged = staged
            return Outcome(Result.DENIED, str(error))
        except OSError as error:
            self._staged = staged
            return Outcome(Result.FAILED, f"cannot write the output (render.output): {error.strerror}")
        # What is rendered before the app has ever read anything is not behind its back.
        self._shared.touched = self._shared.touched or self._order.tells or replaced
        return OK

    @property
    def _splayed_until(self) -> float:
        return self._order.since + self._shared.splay_seconds

    @property
    def _holds(self) -> bool:
        """Whether there is anything to wait for."""
        return self._order.when_ready or (not self._order.forced and self._splayed_until > monotonic())

    async def _hold(self) -> Outcome:
        """The splay; and at the first start, until somebody is there to be told."""
        mailbox, newer = self._shared.mailbox, False
        if not self._order.forced and self._splayed_until > monotonic():
            newer = await mailbox.wait(self._splayed_until)
        while self._order.when_ready and not newer and not await self._somebody_ready():
            newer = await mailbox.wait(monotonic() + _READY_SECONDS)
        return _SUPERSEDED if newer else OK

    async def _somebody_ready(self) -> bool:
        """Whether one of those who are to be told is there; the others are told when they come."""
        told = [item.options for item in self._plan.items if item.kind in TELLING]
        for step in told:
            if await self._shared.telling.ready(step):
                return True
        return not told

    async def _look_before(self) -> None:
        """Before the app is told: what do the confirm steps see now?"""
        for item in self._plan.items:
            if isinstance(item.options, Confirm) and item not in self._before:
                self._before[item] = await self._shared.telling.observe(item.options, self._change)

    async def _confirm(self, item: Item) -> Outcome:
        if not isinstance(item.options, Confirm):
            raise TypeError(f"cannot confirm by a {type(item.options).__name__}")
        newer, pause = self._shared.mailbox.arrived, self._shared.ctx.stop.pause
        before = self._before.get(item)
        outcome = await self._shared.telling.confirm(item.options, self._change, before, newer, pause)
        if not outcome.ok:
            self._before.pop(item, None)  # the app is told again, and looked at again before that
        return outcome
