"""The attempts of steps that are under way. At most one for each step: an app that is being told is told to the end, or
until it hangs and newer content waits, whatever became of the content meanwhile.
"""

import asyncio
import math
import random
from dataclasses import dataclass

from sidecars.kit.notify.core.options import Http
from sidecars.kit.notify.core.outcome import Outcome, Result
from sidecars.kit.notify.core.request import shown
from sidecars.runtime import Context
from sidecars.runtime.clock import monotonic, seconds_until

from .core.plan import Done, Item, Kind, Plan
from .mailbox import Order
from .metrics import ReloaderMetrics

_SAY_SECONDS = 60.0
_DOUBT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One attempt: which step, for which content, since when (monotonic)."""

    item: Item
    order: Order
    plan: Plan
    begun_at: float
    task: asyncio.Task[Outcome]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that came to its end. `end`: its content came to its end with it."""

    attempt: Attempt
    outcome: Outcome
    end: Done | None


class Attempts:
    """Begins them, takes note of their ends, and says and counts these."""

    def __init__(self, ctx: Context, metrics: ReloaderMetrics) -> None:
        self._ctx = ctx
        self._metrics = metrics
        self._under_way: list[Attempt] = []
        self.hung: dict[int, Outcome] = {}
        """The steps (by index) whose last attempt had no answer."""

    def of(self, plan: Plan) -> list[Attempt]:
        """Those of one content."""
        return [attempt for attempt in self._under_way if attempt.plan is plan]

    def others(self, plan: Plan) -> list[Attempt]:
        """Those of former content."""
        return [attempt for attempt in self._under_way if attempt.plan is not plan]

    def begun(self, item: Item, order: Order, plan: Plan, task: asyncio.Task[Outcome]) -> None:
        """This one has just begun."""
        at = monotonic()
        plan.begun(item, at)
        self._under_way.append(Attempt(item, order, plan, at, task))

    async def wait(self, until: float, newer: asyncio.Event) -> None:
        """Until one ended, this time, or `newer` content came (unless that was there before)."""
        seconds = None if until == math.inf else seconds_until(until)
        ends = {attempt.task for attempt in self._under_way}
        if newer.is_set():
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return
        async with asyncio.TaskGroup() as tasks:
            coming = tasks.create_task(newer.wait(), name="newer")
            await asyncio.wait({*ends, coming}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            coming.cancel()

    def cut(self, index: int) -> None:
        """Give up what hangs at this step."""
        for attempt in self._under_way:
            if attempt.item.index == index:
                attempt.task.cancel()

    def drop(self, attempt: Attempt) -> None:
        """Give one up, as if it had not been begun."""
        attempt.task.cancel()
        self._under_way.remove(attempt)

    def take_ended(self) -> list[Ended]:
        """Take note of those that have ended."""
        over = [attempt for attempt in self._under_way if attempt.task.done()]
        self._under_way = [attempt for attempt in self._under_way if not attempt.task.done()]
        return [self._ended(attempt) for attempt in over]

    def _ended(self, attempt: Attempt) -> Ended:
        task, item = attempt.task, attempt.item
        outcome = _given_up(attempt) if task.cancelled() else task.result()
        if task.cancelled() or outcome.result is Result.TIMEOUT:
            self.hung[item.index] = outcome
        else:
            self.hung.pop(item.index, None)
        end = attempt.plan.ended(item, outcome, monotonic(), random.random())
        if item.kind is not Kind.HOLD:
            self._metrics.attempts.labels(item.kind, outcome.result).inc()
            self._say(attempt, outcome)
        return Ended(attempt, outcome, end)

    def _say(self, attempt: Attempt, outcome: Outcome) -> None:
        kind, number = attempt.item.kind, attempt.plan.attempts(attempt.item)
        fields = {"step": kind.value, "outcome": outcome.result.value, "attempt": number}
        if outcome.ok:
            self._ctx.log.info(f"{kind}: {outcome.detail or 'done'}", action="step.done", **fields)
            if outcome.doubt:
                self._ctx.log.warning(outcome.doubt, action="step.doubtful", every_seconds=_DOUBT_SECONDS, **fields)
        elif outcome.result is Result.REJECTED and attempt.order.ended.done():
            pass  # asked again, and still no: that was said
        elif outcome.result is not Result.SUPERSEDED or attempt.task.cancelled():
            self._ctx.log.warning(
                f"cannot {kind}: {outcome.detail or outcome.result}",
                action=f"step.{outcome.result}",
                every_seconds=_SAY_SECONDS if number > 1 else 0.0,
                **fields,
            )


def _given_up(attempt: Attempt) -> Outcome:
    who = shown(attempt.item.options.url) if isinstance(attempt.item.options, Http) else attempt.item.kind.value
    seconds = round(monotonic() - attempt.begun_at, 1)
    return Outcome(Result.SUPERSEDED, f"{who} did not answer for {seconds:g} s, and newer content came")
