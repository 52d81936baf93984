"""Take one content through one plan: render, validate, publish, tell, confirm."""

import asyncio
import random

from sidecars.runtime import Context, Permanent, State
from sidecars.runtime.settings import process_environment
from sidecars.runtime.stop import monotonic

from . import rendering
from .core.advance import Value
from .core.change import Change
from .core.outcome import OK, Outcome, Result
from .core.plan import PREPARING, TELLING, Do, Done, Item, Kind, Plan, Verdict, Wait
from .core.steps import Confirm, Render
from .detection import Detection
from .generations import Generations
from .mailbox import Mailbox, Order
from .metrics import ReloaderMetrics
from .telling import Telling

_READY_SECONDS = 0.5
"""How often it is looked whether somebody is there to be told (`initial: when-ready`)."""
_SAY_SECONDS = 60.0
_NAMED = 5
_SUPERSEDED = Outcome(Result.SUPERSEDED, "newer content came")


class Surroundings:
    """What all journeys share."""

    def __init__(
        self, ctx: Context, metrics: ReloaderMetrics, detection: Detection, telling: Telling, rules: Render | None
    ) -> None:
        self.ctx = ctx
        self.telling = telling
        self.metrics = metrics
        self.detection = detection
        self.rules = rules
        self.generations = Generations(rules.output, int(rules.mode, 8)) if rules else None
        self.mailbox = Mailbox()
        self.splay_seconds = 0.0
        self.touched = False
        """Whether the app may have been told, or given, other content than what is applied."""


class Journey:
    """One content on its way. `candidate`: the folder that holds it, rendered or as watched."""

    def __init__(self, shared: Surroundings, order: Order, plan: Plan, candidate: str = "") -> None:
        self._shared = shared
        self._order = order
        self._plan = plan
        self._candidate = candidate
        self._staged = ""
        self._before: dict[Item, Value | None] = {}
        """What each confirm step saw before the app was told."""

    async def run(self) -> Done:
        """Do what the plan says, until it ends or newer content waits."""
        try:
            while not self._shared.mailbox.arrived.is_set():
                step = self._plan.next(monotonic())
                if not (isinstance(step, Do) and step.item.kind in PREPARING):
                    self._shared.ctx.health.mark_started()  # the app's files are there; the rest needs the app
                if isinstance(step, Done):
                    return step
                if isinstance(step, Wait):
                    await self._shared.mailbox.wait(step.until)
                elif end := await self._attempt(step.item):
                    return end
            return Done(Verdict.SUPERSEDED, _SUPERSEDED.detail)
        finally:
            if self._staged and self._shared.generations:
                self._shared.generations.discard(self._staged)  # rendered, and never published

    async def _attempt(self, item: Item) -> Done | None:
        if item.kind in TELLING:
            await self._look_before()
            self._shared.touched = True
        outcome = await self._act(item)
        end = self._plan.ended(item, outcome, monotonic(), random.random())
        if item.kind is not Kind.HOLD:
            self._shared.metrics.attempts.labels(item.kind, outcome.result).inc()
            self._say(item, outcome)
        if not outcome.ok and outcome.result is not Result.SUPERSEDED:
            self._shared.ctx.health.mark_started()  # tried once: the app's start must not depend on more
            self._shared.ctx.health.set("reload", State.DEGRADED, self._plan.blocked())
        return end

    def _say(self, item: Item, outcome: Outcome) -> None:
        attempt = self._plan.attempts(item)
        fields = {"step": item.kind.value, "outcome": outcome.result.value, "attempt": attempt}
        if outcome.ok:
            self._shared.ctx.log.info(f"{item.kind}: {outcome.detail or 'done'}", action="step.done", **fields)
        elif outcome.result is not Result.SUPERSEDED:
            self._shared.ctx.log.warning(
                f"cannot {item.kind}: {outcome.detail or outcome.result}",
                action=f"step.{outcome.result}",
                every_seconds=_SAY_SECONDS if attempt > 1 else 0.0,
                **fields,
            )

    async def _act(self, item: Item) -> Outcome:
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
                return await self._shared.telling.act(item.options, self._change)

    @property
    def _change(self) -> Change:
        return Change(self._order.digest, self._candidate or self._shared.detection.folder)

    async def _render(self) -> Outcome:
        """Read the content with its bytes and make a generation of it, not published yet."""
        rules, generations = self._shared.rules, self._shared.generations
        if rules is None or generations is None:
            raise TypeError("cannot render without rules")
        digest, look = await self._shared.detection.contents()
        if digest != self._order.digest:
            return Outcome(Result.UNREACHABLE, "the content is changing, or a part of it is not there")
        if look.clashes:
            return Outcome(Result.REJECTED, f"several watched paths have a file called {', '.join(look.clashes)}")
        if look.problems:  # a generation without a file that is there would be another configuration
            named = "; ".join(f"cannot read {problem.path}: {problem.reason}" for problem in look.problems[:_NAMED])
            return Outcome(Result.REJECTED, f"{named}; mend it, or watch a glob that leaves it out")
        try:
            files = await asyncio.to_thread(rendering.render, look.files, rules, process_environment())
            if await asyncio.to_thread(generations.same_as_current, files):
                self._candidate = generations.current() or ""
            else:
                self._candidate = self._staged = await asyncio.to_thread(generations.stage, files)
        except rendering.Unrenderable as error:
            return Outcome(Result.REJECTED, str(error))
        except OSError as error:
            return Outcome(Result.FAILED, f"cannot write {rules.output} (render.output): {error.strerror}")
        return OK

    async def _publish(self) -> Outcome:
        generations = self._shared.generations
        if generations is None or not self._staged:
            return Outcome(Result.OK, "the output holds this content already")
        replaced = generations.current() is not None
        try:
            await asyncio.to_thread(generations.publish, self._staged)
        except Permanent as error:
            return Outcome(Result.DENIED, str(error))
        except OSError as error:
            return Outcome(Result.FAILED, f"cannot write the output (render.output): {error.strerror}")
        self._staged = ""
        # What is rendered before the app has ever read anything is not behind its back.
        self._shared.touched = self._shared.touched or self._order.tells or replaced
        return OK

    async def _hold(self) -> Outcome:
        """The splay; and at the first start, until somebody is there to be told."""
        mailbox, newer = self._shared.mailbox, False
        if not self._order.forced:
            newer = await mailbox.wait(self._order.since + self._shared.splay_seconds)
        while self._order.when_ready and not newer and not await self._all_ready():
            newer = await mailbox.wait(monotonic() + _READY_SECONDS)
        return _SUPERSEDED if newer else OK

    async def _all_ready(self) -> bool:
        for item in self._plan.items:
            if not await self._shared.telling.ready(item.options):
                return False
        return True

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
