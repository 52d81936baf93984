"""Tell the newest content, one after the other, and put the last good one back where a confirm step asks for it."""

import asyncio
import math
from dataclasses import replace

from sidecars.runtime.stop import monotonic

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
        self._noting: asyncio.Task[None] | None = None
        self._told_from = 0.0
        self._standing.confirms = any(step.confirm for step in steps)
        self._refusals = 0
        """How often in a row a validator said no to the same content."""
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
        while True:
            order = await self._next(refused)
            refused = None
            known = order.digest == self._standing.applied and not self._shared.touched
            if known and order.tells and not order.forced:
                self._shared.ctx.health.mark_started()
                self._end(order, Done(Verdict.APPLIED), told=False)  # a change was taken back before it was told
                continue
            done = await self.carry_out(order)
            if done.verdict is Verdict.APPLIED and not order.tells and self._shared.touched:
                # Changed while we were down: the app reads another generation than the one that it knows.
                self._tell_after_all(order)
                continue
            if done.verdict is Verdict.APPLIED:
                self._shared.touched = False
                await self._state.save(order.digest)
            self._end(order, done, told=order.tells and bool(self._telling))
            refused = order if done.may_pass else None

    async def _next(self, refused: Order | None) -> Order:
        """The newest content; if none comes for long, once more that which a validator refused."""
        mailbox = self._shared.mailbox
        self._refusals += 1
        if refused and not await mailbox.wait(monotonic() + ask_again_seconds(self._refusals)):
            # The app may run by now, without it: it must hear of what is published behind its back.
            self.put(refused if refused.tells else replace(refused, tells=True))
            self._shared.behind_since = monotonic()
        order = await mailbox.get()
        if refused is None or order.ended is not refused.ended:
            self._refusals = 0
        return order

    def _tell_after_all(self, order: Order) -> None:
        if self._shared.mailbox.arrived.is_set():
            self._end(order, Done(Verdict.SUPERSEDED, "newer content came"), told=False)
        else:
            self.put(replace(order, tells=True))

    async def carry_out(self, order: Order, *, patient: bool = True) -> Done:
        """Take one order through the steps."""
        items = items_of(self._steps, renders=self._shared.generations is not None, tells=order.tells)
        self.plan = Plan(items, patient=patient)
        try:
            done = await Journey(self._shared, order, self.plan).run()
            if done.verdict is Verdict.UNCONFIRMED and self._rolls_back:
                done = await self._roll_back(order, done)
            elif done.verdict is Verdict.APPLIED and (order.tells or not patient or not self._shared.touched):
                await asyncio.to_thread(self._keep)  # not while the app is yet to be told: it may not take it
            return done
        finally:
            self.plan = None

    def _keep(self) -> None:
        """The published generation is good: what a later one that is not would go back to."""
        generations = self._shared.generations
        try:
            if generations and (current := generations.current()):
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

    async def _roll_back(self, order: Order, done: Done) -> Done:
        """Put the last good generation back, and tell the app once."""
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
        self.plan = Plan(self._telling)
        again = await Journey(self._shared, order, self.plan, generations.current() or "").run()
        if again.verdict is Verdict.APPLIED:
            self._shared.touched = False
            if self._standing.applied:
                await self._state.save(self._standing.applied, refused=order.digest)
        return _also(done, "the last good generation is back")


def _also(done: Done, more: str) -> Done:
    return Done(done.verdict, f"{done.reason}; {more}", done.kind)
