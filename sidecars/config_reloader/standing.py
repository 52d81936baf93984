"""Where the app stands: which content is applied, which is pending, which was refused and why."""

from dataclasses import dataclass
from typing import Any

from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic, now, rfc3339

from .core.plan import Done, Kind, Plan, Verdict
from .mailbox import Order
from .metrics import ReloaderMetrics


@dataclass(frozen=True)
class Refused:
    """Content that was not applied, and why."""

    hash: str
    verdict: Verdict
    reason: str
    at: float


class Standing:
    """Kept up to date by the delivery; shown in /status, the metrics and the conditions."""

    def __init__(self, ctx: Context, metrics: ReloaderMetrics, *, unready_when_rejected: bool) -> None:
        self._ctx = ctx
        self._metrics = metrics
        self._rejected_state = State.FAILING if unready_when_rejected else State.DEGRADED
        self.confirms = False
        """Whether it is seen that the app took the content; otherwise it was told, and that is all that is known."""
        self.applied: str | None = None
        self.refused: Refused | None = None
        self.order: Order | None = None
        """The newest content that has not come to its end."""
        self._refused_order: Order | None = None
        self._applied_at = 0.0
        self._pending_at = 0.0

    def pending(self, order: Order) -> None:
        """This content is to be told."""
        if self.order is None:
            self._pending_at = now()
        self.order = order
        self._metrics.pending.set(1)
        self._metrics.pending_since.set(self._pending_at)

    def ended(self, order: Order, done: Done, *, told: bool) -> None:
        """This content came to its end; `told`: the app heard of it just now."""
        asked_again = done.verdict is Verdict.REJECTED and self._refused_before(order)
        if (told or done.verdict is not Verdict.APPLIED) and not asked_again:
            self._metrics.reloads.labels(done.verdict).inc()
        if done.verdict is Verdict.SUPERSEDED:
            return
        if done.verdict is Verdict.APPLIED:
            self._apply(order, told=told)
        else:
            self.refuse(order, done)
        if self.order is order:
            self.order = None
            self._metrics.pending.set(0)
            self._metrics.pending_since.set(0)
            self._ctx.health.set("reload", State.OK)

    def _apply(self, order: Order, *, told: bool) -> None:
        self.applied, self._applied_at = order.digest, now()
        self._metrics.set_applied(order.digest)
        if self._refused_order is None or self._refused_order.seen_at <= order.seen_at:  # else newer content is refused
            self.refused = None
            self._metrics.rejected.set(0)
            self._metrics.successful.set(1)
            self._ctx.health.set("content", State.OK)
        if told:
            seconds = monotonic() - order.seen_at
            self._metrics.success_seconds.observe(seconds)
            self._metrics.success_at.set(self._applied_at)
            text = "the app has the new content" if self.confirms else "the app was told of the new content"
            self._ctx.log.info(text, action="reload.applied", hash=order.digest, seconds=round(seconds, 3))

    def put_back(self, digest: str) -> None:
        """The app has the last good content again."""
        if digest != self.applied:
            self.applied, self._applied_at = digest, now()
            self._metrics.set_applied(digest)

    def refuse(self, order: Order, done: Done) -> None:
        """This content is not in force, and why; said and counted once."""
        again = self._refused_before(order)
        self._refused_order = order
        self.refused = Refused(order.digest, done.verdict, done.reason, now())
        self._metrics.successful.set(0)
        self._metrics.rejected.set(1)
        if done.kind is not None and not again:
            reason = "unconfirmed" if done.kind is Kind.CONFIRM else done.kind.value
            self._metrics.rejections.labels(reason).inc()
        more = (
            "its validator is asked again now and then" if done.may_pass else "nothing more is tried until it changes"
        )
        text = f"the newest content is not in force: {done.reason}; {more}"
        self._ctx.health.set("content", self._rejected_state, text)
        if not again:
            self._ctx.log.error(text, action=f"reload.{done.verdict}", hash=order.digest)

    def _refused_before(self, order: Order) -> bool:
        """Whether this very order was refused already: put back, or its validator was asked again."""
        return self._refused_order is not None and self._refused_order.ended is order.ended

    def shown(self, plan: Plan | None) -> dict[str, Any]:
        """For /status."""
        applied = {"hash": self.applied, "at": rfc3339(self._applied_at)} if self._applied_at else None
        if self.applied and not applied:
            applied = {"hash": self.applied, "at": None}  # from the state file
        pending = refused = None
        if self.order:
            pending = {
                "hash": self.order.digest,
                "since": rfc3339(self._pending_at),
                "waiting_for": plan.blocked() if plan else "",
            }
        if self.refused:
            refused = {
                "hash": self.refused.hash,
                "verdict": self.refused.verdict.value,
                "reason": self.refused.reason,
                "at": rfc3339(self.refused.at),
            }
        return {"applied": applied, "pending": pending, "refused": refused}
