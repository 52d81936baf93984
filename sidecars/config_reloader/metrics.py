"""Counters and gauges of the config reloader."""

from sidecars.kit.notify.core.outcome import Result
from sidecars.runtime import Metrics

from .core.plan import Kind, Verdict

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class ReloaderMetrics:
    """All metrics of this sidecar; the names are a contract with users."""

    def __init__(self, metrics: Metrics) -> None:
        counter, gauge = metrics.counter, metrics.gauge
        self.looks = counter(
            "looks_total", "Snapshots of the watched content, by what they found.", {"found": ("changed", "unchanged")}
        )
        self.changes = counter("changes_total", "Changes of the content that began a rollout.")
        self.reloads = counter("reloads_total", "Rollouts by how they ended.", {"result": list(Verdict)})
        self.rejections = counter(
            "rejections_total",
            "Contents that were rejected, by what rejected them.",
            {"reason": ("render", "validate", "unconfirmed")},
        )
        self.rollbacks = counter("rollbacks_total", "Times the last good generation was put back.")
        self.attempts = counter(
            "attempts_total",
            "Attempts of steps.",
            {"step": [kind for kind in Kind if kind is not Kind.HOLD], "outcome": list(Result)},
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

    def set_applied(self, digest: str) -> None:
        """This content is in force."""
        self.applied.clear()
        self.applied.labels(digest).set(1)
