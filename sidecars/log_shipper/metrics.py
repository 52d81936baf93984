"""Counters and gauges of the log shipper.

The law of the books, true at every scrape: read = acknowledged + dead-lettered + in flight (bytes of the files).
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from sidecars.runtime import Metrics

from .core.bulk import OUTCOMES, REJECT_TYPES, RETRY_REASONS, Judgement
from .core.diagnosis import TROUBLE_REASONS, Diagnosis
from .core.documents import printable
from .core.hedging import Hedge
from .core.lag import FileFigures, lags
from .core.lines import Intake
from .core.notices import Notice
from .core.reach import Reach


class ShipperMetrics:
    """All metrics of this sidecar; the names are a contract with users."""

    def __init__(self, metrics: Metrics) -> None:
        counter, gauge = metrics.counter, metrics.gauge
        self._metrics = metrics
        self.read_bytes = counter("read_bytes_total", "Bytes read from the files.")
        self.acknowledged_bytes = counter("acknowledged_bytes_total", "Bytes whose lines are stored, or hold no line.")
        self.dead_letter_bytes = counter("dead_letter_bytes_total", "Bytes whose lines went to the dead-letter file.")
        self.in_flight_bytes = gauge("in_flight_bytes", "Bytes read and not yet acknowledged or dead-lettered.")
        self._read_before_bytes = metrics.registry.get_sample_value(metrics.name("in_flight_bytes")) or 0.0
        """In flight at a crash within this process, and so in the books already when they are read again."""
        self.records = counter("records_total", "Records by how they ended.", {"outcome": OUTCOMES})
        self.rejected = counter(
            "rejected_records_total", "Records that were rejected, by error type.", {"type": REJECT_TYPES}
        )
        self.retries = counter("retried_records_total", "Records sent again, by reason.", {"reason": RETRY_REASONS})
        self._hedges = counter(
            "hedged_requests_total",
            "Requests that were hedged: sent once more beside one without an answer, by why that was allowed.",
            {"reason": list(Hedge)},
        )
        self.held = gauge("delivery_held", "1 while requests are refused as such and a person has to act.")
        self.held.set(0)  # after a crash within this process nothing has been refused yet
        self._trouble = gauge(
            "delivery_trouble", "1 while nothing can be delivered, by why.", {"reason": TROUBLE_REASONS}
        )
        self.diagnosed(None)
        self.request_seconds = metrics.histogram("request_seconds", "Duration of bulk requests.", buckets=_BUCKETS)
        self.dead_letters_dropped = gauge(
            "dead_letter_dropped_bytes",
            "Bytes of old dead letters that were dropped to stay within `dead_letter_bytes`.",
        )
        self._repairs = {field: counter(name, text) for field, (name, text) in _REPAIRS.items()}
        self.file_events = counter(
            "file_events_total", "What happened to files.", {"event": [item.value for item in Notice]}
        )
        self._begin_checkpoint(metrics)

    def _begin_checkpoint(self, metrics: Metrics) -> None:
        counter, gauge = metrics.counter, metrics.gauge
        self.checkpoints = counter("checkpoint_writes_total", "Checkpoint writes.", {"result": ("ok", "failed")})
        self.checkpoint_resets = counter(
            "checkpoint_resets_total",
            "Checkpoints that could not be used.",
            {"reason": ("truncated", "garbage", "schema", "unreadable")},
        )
        self.checkpoint_writable = gauge("checkpoint_writable", "0 while the state folder cannot be written.")
        self.checkpoint_writable.set(1)
        self._reach = {field: gauge(name, text) for field, (name, text) in _REACH.items()}
        self.polling = gauge("watch_polling", "1 while inotify cannot be had and folders are polled.")

    def diagnosed(self, diagnosis: Diagnosis | None) -> None:
        """Show why nothing goes through, or that all is well."""
        self.held.set(diagnosis is not None and diagnosis.held)
        for reason in TROUBLE_REASONS:
            self._trouble.labels(reason).set(diagnosis is not None and diagnosis.reason == reason)

    def taken(self, read: Intake) -> None:
        """Count what was read."""
        again_bytes = min(self._read_before_bytes, read.file_bytes)
        self._read_before_bytes -= again_bytes
        self.read_bytes.inc(read.file_bytes - again_bytes)
        self.in_flight_bytes.inc(read.file_bytes - again_bytes)
        for field, metric in self._repairs.items():
            if count := getattr(read, field):
                metric.inc(count)

    def reached(self, reach: Reach) -> None:
        """Show what the last scan did not reach."""
        for field, metric in self._reach.items():
            metric.set(len(getattr(reach, field)))

    def settled(self, file_bytes: int, dead_bytes: int) -> None:
        """Count a batch that is settled."""
        self.in_flight_bytes.dec(file_bytes)
        self.acknowledged_bytes.inc(file_bytes - dead_bytes)
        self.dead_letter_bytes.inc(dead_bytes)

    def count(self, judgement: Judgement) -> None:
        """Count what became of the records of one request."""
        for outcome in ("indexed", "duplicate", "failure_store", "written"):
            self.records.labels(outcome).inc(getattr(judgement, outcome))
        for refusal in judgement.rejected.values():
            self.records.labels("rejected").inc()
            self.rejected.labels(refusal.type if refusal.type in REJECT_TYPES else "other").inc()
        for reason in judgement.retry.values():
            self.retries.labels(reason).inc()

    def hedged(self, why: Hedge) -> None:
        """Count a copy of a request that went out beside one without an answer."""
        self._hedges.labels(why.value).inc()

    def watch(
        self,
        files: Callable[[], Iterable[FileFigures]],
        closed_files: Callable[[], int],
        checkpoint_age: Callable[[], float],
    ) -> None:
        """Look the per-file values up at each scrape."""

        def collect() -> Iterable[Metric]:
            name = self._metrics.name
            held = list(files())
            pinned = [each for each in held if each.deleted]
            by_file = lags(held)
            lag_bytes = {place: lag[0] for place, lag in by_file.items()}
            yield _by_file(name("lag_bytes"), _LAG_BYTES, lag_bytes)
            yield _by_file(name("lag_seconds"), _LAG_SECONDS, {place: lag[1] for place, lag in by_file.items()})
            yield GaugeMetricFamily(name("open_files"), "Files held open.", len(held))
            yield GaugeMetricFamily(
                name("closed_files"), "Files at rest, closed until something is written to them.", closed_files()
            )
            yield GaugeMetricFamily(
                name("pinned_deleted_files"), "Deleted files held open until they are shipped.", len(pinned)
            )
            yield GaugeMetricFamily(
                name("pinned_deleted_bytes"),
                "Disk space that deleted files take meanwhile.",
                sum(each.size_bytes for each in pinned),
            )
            yield GaugeMetricFamily(
                name("checkpoint_age_seconds"), "For how long a low watermark has not been saved.", checkpoint_age()
            )

        self._metrics.collector("files", collect)


def every_metric(metrics: Metrics) -> None:
    """Make them all, for the reference: those of the files too, of which there are none."""
    ShipperMetrics(metrics).watch(tuple, int, float)


def _by_file(name: str, doc: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, doc, labels=["file"])
    for path, value in values.items():
        family.add_metric([printable(path)], value)
    return family


_REPAIRS = {  # by the field of Intake
    "cut_lines": ("cut_lines_total", "Lines over max_line_bytes, shipped cut."),
    "partial_records": (
        "partial_records_total",
        "Records of several parts (CRI, Docker) shipped without their end, or their beginning.",
    ),
    "invalid_utf8_lines": ("invalid_utf8_lines_total", "Lines with bytes that are not UTF-8, replaced."),
    "unparsed_lines": ("unparsed_lines_total", "Lines that `parse` could not take apart, shipped whole."),
    "skipped_nul_bytes": ("skipped_nul_bytes_total", "NUL bytes of holes, skipped."),
}
_REACH = {  # by the field of Reach
    "unmatched": ("unmatched_paths", "Globs of `paths` that match no file."),
    "closed": ("closed_folders", "Folders that the globs lead into and this process may not enter."),
    "unreadable": ("unreadable_files", "Files that this process may not read."),
}
_LAG_BYTES = "Bytes in the file beyond what is acknowledged; at most 200 files, and one series for all others."
_LAG_SECONDS = "Age of the oldest line that is not acknowledged; one without its end is none yet."
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
