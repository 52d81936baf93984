"""Counters and gauges of secret-sync."""

from sidecars.runtime import Metrics

from .core.outcome import FailureReason
from .core.sync import Kind

OK = "ok"


class SecretSyncMetrics:
    """What is counted. Secrets are labelled by their names, which the settings give: a closed list."""

    def __init__(self, metrics: Metrics) -> None:
        results = [OK, *FailureReason]
        self.requests = metrics.counter(
            "requests",
            "Requests to the provider, by what they are for and how they ended.",
            {"kind": list(Kind), "result": results},
        )
        self.published = metrics.counter("generations", "Generations of files that were published.")
        self.publish_failures = metrics.counter("publish_failures", "Generations that could not be written.")
        self.unready = metrics.gauge("secrets_unready", "Secrets that keep /readyz from 200.")
        self.read_at = metrics.gauge(
            "secret_read_timestamp_seconds", "When the value of a secret was read; 0: never.", ("secret",)
        )
        self.ends_at = metrics.gauge(
            "secret_ends_timestamp_seconds",
            "When its value ends, by its lease, token or certificate; 0: never.",
            ("secret",),
        )
        self.next_at = metrics.gauge(
            "secret_next_timestamp_seconds",
            "When something is done for it next: a renewal, a read; 0: never.",
            ("secret",),
        )
        self.failing = metrics.gauge(
            "secret_failing", "1 for the reason for which the last request for a secret failed.", ("secret", "reason")
        )
        self.notifications = metrics.counter(
            "notifications", "Attempts to notify the app, by how they ended.", {"outcome": ("ok", "failed")}
        )
