"""Wires the config reloader: one task sees changes, one tells them, a slot for the newest content between them."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from sidecars.runtime import Context, OneShot, Permanent, Sidecar, Transient
from sidecars.runtime.clock import monotonic, seconds_until

from .check import findings, refuse_start, step_text
from .core.plan import Done, Verdict
from .core.splay import splay_seconds
from .delivery import Delivery
from .mailbox import Order
from .metrics import ReloaderMetrics
from .notifying.notifier import Notifier
from .settings import ConfigReloaderSettings, Initial
from .standing import Standing
from .state import StateFile
from .surroundings import Surroundings
from .watching.detection import Detection

_NAMED_FILES = 10
_BY_HAND_SECONDS = 10.0
"""How long POST /reload waits for the end."""


class Reloader:
    """All parts, and what the app is told at the start."""

    def __init__(self, settings: ConfigReloaderSettings, ctx: Context, telling: Notifier | None = None) -> None:
        metrics = ReloaderMetrics(ctx.metrics)
        self._settings = settings
        self._ctx = ctx
        self._detection = Detection(settings, ctx, metrics)
        self._shared = Surroundings(ctx, metrics, self._detection, telling or Notifier(), settings.render)
        self._shared.max_wait_seconds = settings.max_wait_seconds
        self._shared.splay_seconds = splay_seconds(settings.pod_name or os.uname().nodename, settings.splay_seconds)
        self._state = StateFile(settings.state_file, ctx, metrics)
        self._standing = Standing(ctx, metrics, unready_when_rejected=settings.unready_when_rejected)
        self._delivery = Delivery(self._shared, settings.all_steps, self._standing, self._state)

    async def run(self) -> None:
        """Until the stop, and then at once: what is pending is not in the state file, so the next start tells it."""
        self._ctx.admin.status(self._status)
        self._ctx.admin.trigger("reload", self._reload_by_hand)
        try:
            await self._begin()
            async with asyncio.TaskGroup() as tasks:
                works = [
                    tasks.create_task(self._detection.run(self._hand_on), name="detect"),
                    tasks.create_task(self._delivery.run(), name="deliver"),
                ]
                await self._ctx.stop.wait()
                for work in works:
                    work.cancel()
        finally:
            self._detection.close()

    async def once(self) -> int:
        """Render, validate and publish, tell nobody; 0 when the content is good."""
        try:
            self._recover()
            digest = await self._detection.look()
            if self._detection.absent:
                why = "; ".join(self._detection.too_large) or "not there"
                print(f"cannot read {', '.join(self._detection.absent)}: {why}")
                return 1
            order = Order(digest, monotonic(), monotonic(), tells=False)
            async with asyncio.TaskGroup() as tasks:
                done = await self._delivery.carry_out(order, tasks, patient=False)
            if done.verdict is not Verdict.APPLIED:
                print(f"cannot use the content: {done.reason}")
                return 1
            await self._state.save(digest)
            print(f"ok: the content {digest} is good")
            return 0
        finally:
            self._detection.close()

    async def _begin(self) -> None:
        """Take the first look, and decide what the app is told about it."""
        self._detection.report_frozen()
        self._recover()
        told = self._state.load()
        self._standing.applied = told.hash or None
        generations = self._shared.generations
        # Ended in the middle of a reload: the app may know other content than what is applied.
        self._shared.touched = bool(told.telling) or (generations is not None and generations.previous() is not None)
        if self._standing.applied or (generations is not None and generations.current()):
            self._detection.patient_until = monotonic() + self._settings.max_wait_seconds
        digest = await self._detection.look()
        settings, detection = self._settings, self._detection
        detection.changed_files()  # from here on
        self._ctx.log.info(
            f"watching {', '.join(settings.watched)}", action="watch.started", hash=digest, mode=detection.mode
        )
        if self._standing.applied and digest == told.refused and generations is not None and generations.current():
            self._still_refused(digest)
        elif detection.settling.present is not None:
            self._first()
        elif not detection.has_content:
            self._ctx.health.mark_started()  # nothing to prepare yet

    def _still_refused(self, digest: str) -> None:
        """The app was told this content before the restart, in vain, and has the last good one."""
        self._detection.settling.hand_on()
        self._shared.metrics.set_applied(self._standing.applied or "")
        reason = "it did not take effect before the restart; the last good generation is in force"
        order = Order(digest, monotonic(), monotonic(), tells=False)
        self._standing.refuse(order, Done(Verdict.UNCONFIRMED, reason))
        self._ctx.health.mark_started()

    def _first(self) -> None:
        """The content that is there at the start."""
        settling, initial, applied = self._detection.settling, self._settings.initial, self._standing.applied
        settling.hand_on()
        missed = applied not in (None, settling.told) or self._shared.touched
        wanted = initial is Initial.ALWAYS or (initial is Initial.WHEN_READY and applied is None)
        self._delivery.put(
            Order(
                settling.told or "",
                monotonic(),
                monotonic(),
                tells=missed or wanted,
                when_ready=wanted and initial is Initial.WHEN_READY,
                forced=initial is Initial.ALWAYS,
            )
        )

    def _hand_on(self) -> None:
        """The detection says that the present content is due."""
        settling = self._detection.settling
        at_last = settling.told is None  # nothing was there at the start
        settling.hand_on()
        self._shared.metrics.changes.inc()
        files = self._detection.changed_files()
        more = f" and {len(files) - _NAMED_FILES} more" if len(files) > _NAMED_FILES else ""
        text = f"the content changed: {', '.join(files[:_NAMED_FILES])}{more}"
        self._ctx.log.info(text, action="change.seen", hash=settling.told)
        since = self._standing.order.since if self._standing.order else settling.changed_at
        tells = not at_last or settling.told != self._standing.applied or self._shared.touched
        self._delivery.put(Order(settling.told or "", settling.changed_at, since, tells=tells))

    async def _reload_by_hand(self) -> Mapping[str, object]:
        """POST /reload: tell the present content, whatever was told before, and without debounce and splay."""
        digest = await self._detection.look()
        if self._detection.absent:
            why = "".join(f"; {text}" for text in self._detection.too_large)
            raise Transient(
                f"cannot read {', '.join(self._detection.absent)}: nobody is told a part of the content{why}"
            )
        self._detection.settling.hand_on()
        done = await self._outcome(self._ordered_by_hand(digest))
        if done is None:
            plan = self._delivery.plan
            raise Transient(f"still pending: {plan.blocked() if plan else ''}; it is tried again")
        if done.verdict is Verdict.APPLIED:
            return {"hash": digest, "result": done.verdict.value}
        if done.verdict is Verdict.SUPERSEDED:
            raise Transient("newer content came, which is told instead")
        raise Permanent(f"{done.verdict}: {done.reason}")

    def _ordered_by_hand(self, digest: str) -> Order:
        """An order of this content: that of another request, as long as nothing holds it up, or a new one."""
        newest, plan = self._standing.order, self._delivery.plan
        if newest and newest.forced and newest.digest == digest and not (plan and plan.blocked()):
            return newest
        order = Order(digest, monotonic(), newest.since if newest else monotonic(), forced=True)
        self._delivery.put(order)
        return order

    async def _outcome(self, order: Order) -> Done | None:
        """The end of this content, also when another order of the same took the place of this one; None when that takes
        too long, or we stop.
        """
        until = monotonic() + _BY_HAND_SECONDS
        while await self._ended(order, until):
            done, newest = order.ended.result(), self._standing.order
            if done.verdict is not Verdict.SUPERSEDED:
                return done
            if newest is None or newest is order or newest.digest != order.digest:
                return Done(Verdict.APPLIED) if self._standing.applied == order.digest else done
            order = newest
        return None

    async def _ended(self, order: Order, until: float) -> bool:
        """Wait for the end; not for ever, and not when we stop."""
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(self._ctx.stop.wait(), name="stop")
            waits: set[asyncio.Future[Any]] = {order.ended, stop}
            await asyncio.wait(waits, timeout=seconds_until(until), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
        return order.ended.done()

    def _recover(self) -> None:
        generations, rules = self._shared.generations, self._settings.render
        if generations is None or rules is None:
            return
        try:
            generations.recover()
            self._shared.touched = generations.previous() is not None  # published, and not told to the end
        except (OSError, Permanent) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._ctx.log.error(f"cannot tidy up {rules.output} (render.output): {why}", action="render.unusable")

    def _status(self) -> dict[str, Any]:
        """For /status."""
        look = self._detection.last
        return {
            **self._standing.shown(self._delivery.plan),
            "mode": self._detection.mode,
            "watch": [
                {"path": root.path, "kind": root.kind.value, "state": root.state.value, "files": root.files}
                for root in (look.roots if look else ())
            ],
            "problems": [
                *self._detection.too_large,
                *(f"{problem.path}: {problem.reason}" for problem in (look.problems if look else ())),
            ],
            "steps": [step_text(step) for step in self._settings.all_steps],
        }


async def main(settings: ConfigReloaderSettings, ctx: Context) -> None:
    """Watch and tell until the stop."""
    await Reloader(settings, ctx).run()


async def once(settings: ConfigReloaderSettings, ctx: Context) -> int:
    """`--once`, for an init container."""
    return await Reloader(settings, ctx).once()


SIDECAR = Sidecar(
    name="config-reloader",
    settings=ConfigReloaderSettings,
    main=main,
    oneshots=(
        OneShot("once", "render and validate once, tell nobody, and exit: 0 good, 1 not (for an init container)", once),
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
