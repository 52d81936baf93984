"""Counters, gauges and histograms of the ambassador.

Labels are listeners and upstreams as the settings name them, so their number is known; the nodes behind one name are
told apart in /status only.
"""

from sidecars.runtime import Metrics

from .core.causes import CONNECT_FAILURES, SIDES, Cause
from .core.upstream import NodeRole

_CONNECT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class AmbassadorMetrics:
    """What is counted."""

    def __init__(self, metrics: Metrics) -> None:
        self.accepted = metrics.counter("connections", "Local connections that were accepted.", ("listener",))
        self.closed = metrics.counter(
            "closed_connections", "Local connections that have ended, by who ended them and why.",
            {"side": SIDES, "cause": list(Cause)},
        )  # fmt: skip
        self.refused = metrics.counter(
            "refused",
            "Local connections that got an error in place of an upstream, by why.",
            {"cause": [Cause.NO_UPSTREAM, Cause.ROOM_FULL, Cause.LIMIT, *CONNECT_FAILURES]},
        )
        self.open = metrics.gauge("open_connections", "Local connections now.", ("listener",))
        self.parked = metrics.gauge("parked_connections", "Local connections that wait now.", ("listener",))
        self.usable = metrics.gauge(
            "usable_upstreams", "Nodes that are up and of the role that the listener wants.", ("listener",)
        )
        self._make_for_upstreams(metrics)
        self.expiry = metrics.gauge(
            "certificate_expiry_timestamp_seconds", "When the client certificate ends; 0: there is none.", ("file",)
        )
        self.reloads = metrics.counter(
            "certificate_loads", "Readings of changed certificate files, by result.", {"result": ("ok", "failed")}
        )

    def _make_for_upstreams(self, metrics: Metrics) -> None:
        self.sessions = metrics.gauge("sessions", "Sessions on an upstream now.", ("upstream",))
        self.bytes = metrics.counter("bytes", "Bytes passed through.", ("upstream", "direction"))
        self.connects = metrics.counter("connects", "Connections to an upstream that were made.", ("upstream",))
        self.connect_seconds = metrics.histogram(
            "connect_seconds", "Time to connect to an upstream, TLS included.", ("upstream",), buckets=_CONNECT_SECONDS
        )
        self.connect_failures = metrics.counter(
            "connect_failures", "Connections to an upstream that could not be made, by why.", ("upstream", "cause")
        )
        self.checks = metrics.counter(
            "checks",
            "Checks of an upstream, by result: `ok`, why it could not be connected to, or `failed` for all else.",
            ("upstream", "result"),
        )
        self.up = metrics.gauge("upstream_up", "Nodes of an upstream that are up.", ("upstream",))
        self.role = metrics.gauge("upstream_role", "Nodes of an upstream by role.", ("upstream", "role"))
        self.ejected = metrics.gauge(
            "upstream_ejected", "Nodes of an upstream that are left out because connects failed.", ("upstream",)
        )
        self.cancels = metrics.counter(
            "cancels",
            "CancelRequests of PostgreSQL, by where they went.",
            {"result": ("forwarded", "unknown", "failed")},
        )

    def begin(self, listeners: list[str], upstreams: list[str]) -> None:
        """Show every series at zero from the start, so that rates see the first increment."""
        for listener in listeners:
            for of_listener in (self.accepted, self.open, self.parked, self.usable):
                of_listener.labels(listener)
        for upstream in upstreams:
            for of_upstream in (self.sessions, self.connects, self.connect_seconds, self.up, self.ejected):
                of_upstream.labels(upstream)
            for direction in ("in", "out"):
                self.bytes.labels(upstream, direction)
            for cause in CONNECT_FAILURES:
                self.connect_failures.labels(upstream, cause)
            for result in ("ok", "failed", *CONNECT_FAILURES):
                self.checks.labels(upstream, result)
            for role in NodeRole:
                self.role.labels(upstream, role)
