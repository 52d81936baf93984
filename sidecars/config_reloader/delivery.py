"""Tell the newest content, one after the other, and put the last good one back where a confirm step asks for it."""

import asyncio
import math
from dataclasses import replace

from sidecars.kit.generations import hash_of
from sidecars.runtime.clock import monotonic

from .attempts import Ended
from .core.plan import TELLING, Done, Item, Plan, Verdict, ask_again_seconds, items_of
from .core.steps import Confirm, Step
from .journey import Journey
from .mailbox import Order
from .standing import Standing
from .state import StateFile
from .surroundings import Surroundings

_NOTE_SECONDS = 0.25
"""How long an app waits, at most, until it is written down that it is being told."""


class Delivery:
    """Takes orders from the mailbox to their end."""

    def __init__(self, shared: Surroundings, steps: tuple[Step, ...], standing: Standing, state: StateFile) -> None:
        self._shared = shared
        self._steps = steps
        self._standing = standing
        self._state = state
        shared.before_telling = self._before_telling
        shared.taking_over = self._taking_over
        shared.former_ended = self._former_ended
        self._noting: asyncio.Task[None] | None = None
        self._told_from = 0.0
        self._standing.confirms = any(step.confirm for step in steps)
        self._refusals = 0
        """How often in a row a validator said no to the same content."""
        self._overtaken: dict[Plan, Order] = {}
        """Former content that lacks nothing but the answers of who is being told."""
        self._kept = ("", "")
        """The generation to go back to, and the hash of its content."""
        self.plan: Plan | None = None
        """What is under way."""

    def put(self, order: Order) -> None:
        """This content is the newest."""
        self._standing.pending(order)
        self._shared.behind_since = min(self._shared.behind_since, order.seen_at)
        if replaced := self._shared.mailbox.put(order):
            self._end(replaced, Done(Verdict.SUPERSEDED, "newer content came"), told=False)

    async def run(self) -> None:
        """Until cancelled."""
        refused: Order | None = None
        async with asyncio.TaskGroup() as tasks:
            while True:
                order = await self._next(refused, tasks)
                done = await self._take(order, tasks)
                refused = order if done and done.may_pass else None

    async def _take(self, order: Order, tasks: asyncio.TaskGroup) -> Done | None:
        """Take one order to its end; None when that is left open."""
        known = order.digest == self._standing.applied and not self._shared.touched
        if known and order.tells and not order.forced:
            self._shared.ctx.health.mark_started()
            self._end(order, Done(Verdict.APPLIED), told=False)  # a change was taken back before it was told
            return None
        done = await self.carry_out(order, tasks)
        if done.verdict is Verdict.APPLIED and not order.tells and self._shared.touched:
            # Changed while we were down: the app reads another generation than the one that it knows.
            self._tell_after_all(order)
            return None
        if order in self._overtaken.values():
            return None  # it may still be applied
        if done.verdict is Verdict.APPLIED:
            self._shared.touched = False
            await self._state.save(order.digest)
        self._end(order, done, told=order.tells and bool(self._telling))
        return done

    async def _next(self, refused: Order | None, tasks: asyncio.TaskGroup) -> Order:
        """The newest content; if none comes for long, once more that which a validator refused."""
        shared = self._shared
        newer = shared.mailbox.arrived
        self._refusals += 1
        until = monotonic() + ask_again_seconds(self._refusals) if refused else math.inf
        while not newer.is_set() and monotonic() < until:
            await shared.attempts.wait(until, newer)
            for ended in shared.attempts.take_ended():
                self._former_ended(ended, tasks)
        if refused and not newer.is_set():
            # The app may run by now, without it: it must hear of what is published behind its back.
            self.put(refused if refused.tells else replace(refused, tells=True))
            shared.behind_since = monotonic()
        order = await shared.mailbox.get()
        if refused is None or order.ended is not refused.ended:
            self._refusals = 0
        return order

    def _tell_after_all(self, order: Order) -> None:
        if self._shared.mailbox.arrived.is_set():
            self._end(order, Done(Verdict.SUPERSEDED, "newer content came"), told=False)
        else:
            self.put(replace(order, tells=True))

    async def carry_out(self, order: Order, tasks: asyncio.TaskGroup, *, patient: bool = True) -> Done:
        """Take one order through the steps. `tasks` owns who is still being told when newer content takes over."""
        items = items_of(self._steps, renders=self._shared.generations is not None, tells=order.tells)
        self.plan = plan = Plan(items, patient=patient, hung=self._shared.attempts.hung)
        try:
            done = await Journey(self._shared, order, plan).run(tasks)
            if done.verdict is Verdict.SUPERSEDED and plan.only_answers_are_missing:
                self._overtaken[plan] = order
            elif done.verdict is Verdict.UNCONFIRMED and self._rolls_back:
                done = await self._roll_back(order, done, tasks)
            elif done.verdict is Verdict.APPLIED and (order.tells or not patient or not self._shared.touched):
                await asyncio.to_thread(self._keep, order.digest)  # not while the app is yet to be told: it may refuse
            return done
        finally:
            self.plan = None

    def _former_ended(self, ended: Ended, tasks: asyncio.TaskGroup) -> None:
        """An attempt with former content ended. If that was all that was missing, and the app knows nothing newer yet,
        the content is applied all the same.
        """
        plan = ended.attempt.plan
        order = self._overtaken.get(plan)
        if order is None or (ended.outcome.ok and plan.only_answers_are_missing and self._shared.attempts.of(plan)):
            return
        del self._overtaken[plan]
        if plan.next(monotonic()) == Done(Verdict.APPLIED):
            self._shared.touched = False
            tasks.create_task(self._state.save(order.digest), name="remember")
            self._end(order, Done(Verdict.APPLIED), told=True)
        else:
            self._end(order, Done(Verdict.SUPERSEDED, "newer content came"), told=False)

    def _taking_over(self) -> None:
        for order in self._overtaken.values():
            self._end(order, Done(Verdict.SUPERSEDED, "newer content came"), told=False)
        self._overtaken.clear()

    def _keep(self, digest: str) -> None:
        """The published generation is good: what a later one that is not would go back to."""
        generations = self._shared.generations
        try:
            if generations and (current := generations.current()):
                self._kept = (current, digest)
                generations.keep(current)
        except OSError as error:
            text = f"cannot tidy up the output (render.output): {error.strerror}"
            self._shared.ctx.log.warning(text, action="render.untidy")

    async def _before_telling(self, digest: str, tasks: asyncio.TaskGroup) -> None:
        """First it is written down, so that a kill cannot leave an app with content that nobody knows of; but not at
        any price, for the disk may be slow, and who waits for it is the app.
        """
        if not self._shared.touched:
            self._shared.touched = True
            self._noting = tasks.create_task(self._state.telling(self._standing.applied, digest), name="remember")
            self._told_from = monotonic() + _NOTE_SECONDS
        if self._noting is not None and (seconds := self._told_from - monotonic()) > 0:
            await asyncio.wait({self._noting}, timeout=seconds)

    def _end(self, order: Order, done: Done, *, told: bool) -> None:
        self._standing.ended(order, done, told=told)
        if done.verdict is not Verdict.SUPERSEDED:
            newer = self._standing.order
            self._shared.behind_since = newer.seen_at if newer else math.inf
        if not order.ended.done():
            order.ended.set_result(done)

    @property
    def _telling(self) -> list[Item]:
        return [item for item in items_of(self._steps, renders=False) if item.kind in TELLING]

    @property
    def _rolls_back(self) -> bool:
        return any(isinstance(step.confirm, Confirm) and step.confirm.rollback for step in self._steps)

    async def _roll_back(self, order: Order, done: Done, tasks: asyncio.TaskGroup) -> Done:
        """Put the last good generation back, and tell the app once, by the hash of what is good."""
        generations = self._shared.generations
        try:
            put_back = generations is not None and await asyncio.to_thread(generations.put_back)
        except OSError as error:
            return _also(done, f"cannot put the last good generation back: {error.strerror}")
        if generations is None or not put_back:
            return _also(done, "there is no last good generation to put back")
        self._standing.refuse(order, done)
        self._shared.metrics.rollbacks.inc()
        self._shared.ctx.log.warning(
            f"put the last good generation back: {done.reason}", action="reload.rolled_back", hash=order.digest
        )
        folder = generations.current() or ""
        good = self._kept[1] if self._kept[0] == folder else hash_of(folder)
        good = good or self._standing.applied or ""
        self.plan = Plan(self._telling, hung=self._shared.attempts.hung)
        again = await Journey(self._shared, replace(order, digest=good), self.plan, folder).run(tasks)
        if again.verdict is Verdict.APPLIED:
            self._shared.touched = False
            if good:
                self._standing.put_back(good)
                await self._state.save(good, refused=order.digest)
        return _also(done, "the last good generation is back")


def _also(done: Done, more: str) -> Done:
    return Done(done.verdict, f"{done.reason}; {more}", done.kind)
