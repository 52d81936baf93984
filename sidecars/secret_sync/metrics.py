"""Counters and gauges of secret-sync."""

from sidecars.runtime import Metrics

from .core.outcome import Trouble
from .core.sync import Kind

OK = "ok"


class SecretSyncMetrics:
    """What is counted. Secrets are labelled by their names, which the settings give: a closed list."""

    def __init__(self, metrics: Metrics) -> None:
        results = [OK, *Trouble]
        self.requests = metrics.counter(
            "requests",
            "Requests to the provider, by what they are for and how they ended.",
            {"kind": list(Kind), "result": results},
        )
        self.published = metrics.counter("generations", "Generations of files that were published.")
        self.publish_failures = metrics.counter("publish_failures", "Generations that could not be written.")
        self.notifications = metrics.counter(
            "notifications", "Attempts to notify the app, by how they ended.", {"outcome": ("ok", "failed")}
        )
