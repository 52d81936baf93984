"""Counters and gauges of the config reloader."""

from sidecars.kit.notify.core.outcome import Result
from sidecars.runtime import Metrics
from sidecars.runtime.clock import now

from .core.messages import ContentChanged, Fact, RolledBack, RolloutReport, StepReport
from .core.plan import UNCOUNTED, RolloutResult, StepKind

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class ReloaderMetrics:
    """All metrics of this sidecar; the names are a contract with users."""

    def __init__(self, metrics: Metrics) -> None:
        counter, gauge = metrics.counter, metrics.gauge
        self.looks = counter(
            "looks_total", "Snapshots of the watched content, by what they found.", {"found": ("changed", "unchanged")}
        )
        self.changes = counter("changes_total", "Changes of the content that began a rollout.")
        self.reloads = counter("reloads_total", "Rollouts by how they ended.", {"result": list(RolloutResult)})
        self.rejections = counter(
            "rejections_total",
            "Contents that were rejected, by what rejected them.",
            {"reason": ("render", "validate", "unconfirmed")},
        )
        self.rollbacks = counter("rollbacks_total", "Times the last good generation was put back.")
        self.attempts = counter(
            "attempts_total",
            "Attempts of steps.",
            {"step": [kind for kind in StepKind if kind not in UNCOUNTED], "outcome": list(Result)},
        )
        self.success_seconds = metrics.histogram(
            "change_to_success_seconds", "From a change that is seen to its last step.", buckets=_SECONDS
        )
        self.pending = gauge("pending", "1 while a change is not applied yet.")
        self.pending_since = gauge("pending_since_timestamp_seconds", "Since when; 0 when nothing is pending.")
        self.rejected = gauge("content_rejected", "1 while the newest content is rejected, or was given up.")
        self.successful = gauge("last_reload_successful", "1 when the last rollout that ended was applied.")
        self.success_at = gauge("last_reload_success_timestamp_seconds", "When content was last applied; 0 before.")
        self.applied = gauge("applied_info", "Always 1; the label is the hash of the applied content.", ("hash",))
        self.polling = gauge("watch_polling", "1 while inotify cannot be had and the content is polled.")
        self.missing = gauge("watch_missing", "Watched paths that are not there.")
        self.too_large = gauge(
            "watch_too_large", "Watched paths beyond `max_files` or `max_bytes`: no change of them is rolled out."
        )
        self.frozen = gauge("watch_frozen", "Watched paths that can never change (subPath mounts).")
        self.unreadable = gauge("watch_unreadable", "Files among the watched that cannot be read.")
        self.files = gauge("watched_files", "Files watched.")
        self.state_writable = gauge("state_writable", "0 while the state file cannot be written.")
        self.state_writable.set(1)
        self.successful.set(1)

        self._shown_applied = ""

    def count(self, fact: Fact) -> None:
        """Count what happened."""
        match fact:
            case ContentChanged():
                self.changes.inc()
            case RolledBack():
                self.rollbacks.inc()
            case StepReport() if fact.step.kind not in UNCOUNTED:
                self.attempts.labels(fact.step.kind, fact.outcome.result).inc()
            case RolloutReport():
                self._count_end(fact)

    def _count_end(self, report: RolloutReport) -> None:
        result, kind = report.done.result, report.done.kind
        applied = result is RolloutResult.APPLIED
        asked_again = result is RolloutResult.REJECTED and report.repeated
        if report.ended and not asked_again and (report.notified or not applied):
            self.reloads.labels(result).inc()
        if applied and report.notified:
            self.success_seconds.observe(report.seconds)
            self.success_at.set(now())
        if kind is not None and not report.repeated and result is not RolloutResult.SUPERSEDED:
            self.rejections.labels("unconfirmed" if kind is StepKind.CONFIRM else kind.value).inc()

    def show(self, applied: str, *, refused: bool, pending_since: float) -> None:
        """Show where the app stands; `pending_since` is 0 while nothing is pending."""
        self.pending.set(1 if pending_since else 0)
        self.pending_since.set(pending_since)
        self.rejected.set(refused)
        self.successful.set(not refused)
        if applied != self._shown_applied:  # this content is in force
            self._shown_applied = applied
            self.applied.clear()
            self.applied.labels(applied).set(1)
