"""What an operator sees: metrics that keep their law under load, a status page with every file and its offsets."""

import re
from pathlib import Path
from typing import Any

from tests.support.log_stage import LogStage, Paced

PROMISED = [
    "read_bytes_total",
    "acknowledged_bytes_total",
    "dead_letter_bytes_total",
    "in_flight_bytes",
    "records_total",
    "retried_records_total",
    "lag_bytes",
    "lag_seconds",
    "checkpoint_age_seconds",
    "rejected_records_total",
    "open_files",
    "pinned_deleted_files",
    "checkpoint_writable",
]


def labels(stage: LogStage, metric: str, label: str) -> set[str]:
    pattern = re.compile(rf'^sidecar_log_shipper_{metric}{{.*{label}="([^"]*)"')
    return {match[1] for name in stage.shipper.metrics() if (match := pattern.match(name))}


def file_of(stage: LogStage) -> dict[str, Any]:
    (entry,) = stage.shipper.status()["files"]
    return dict(entry)


def test_every_promised_metric_is_there_from_the_start(tmp_path: Path) -> None:
    """An alert on a counter that appears with its first event misses that event."""
    with LogStage(tmp_path) as stage:
        stage.write(1)
        stage.shipper.start()
        stage.until_delivered()
        names = {name.partition("{")[0].removeprefix("sidecar_log_shipper_") for name in stage.shipper.metrics()}
        assert set(PROMISED) <= names, f"missing: {set(PROMISED) - names}"
        assert {"status_429", "status_5xx", "status_408", "forbidden", "unknown", "timeout"} <= labels(
            stage, "retried_records_total", "reason"
        )
        assert labels(stage, "records_total", "outcome") == {
            "indexed",
            "duplicate",
            "failure_store",
            "written",
            "rejected",
        }


def test_the_books_keep_their_law_at_every_scrape_under_load(tmp_path: Path, seed: int) -> None:
    with LogStage(tmp_path, in_flight_bytes=256 << 10, batch_bytes=32 << 10) as stage:
        faults = {"item_429_odds": 0.05, "cut_reply_odds": 0.1, "item_rules": [{"match": "line 00007", "status": 400}]}
        stage.backend.faults(**faults, seed=seed)
        stage.shipper.start()
        in_flight: set[float] = set()

        def seen_at_work() -> bool:
            in_flight.add(stage.shipper.metric("in_flight_bytes"))  # each scrape is held to the law
            return len(in_flight) > 10

        with Paced(stage, 5000):
            stage.shipper.until(seen_at_work, "scrapes with ten different numbers in flight")
        stage.until_delivered()
        refused = [line for line in stage.lines if line.startswith("line 00007")]
        assert stage.shipper.metric("dead_letter_bytes_total") == sum(len(line) + 1 for line in refused)
        assert stage.shipper.metric("acknowledged_bytes_total") == stage.bytes_written - sum(
            len(line) + 1 for line in refused
        )
        assert sum(stage.outcomes().values()) == len(stage.lines)


def test_the_status_shows_each_file_with_its_offsets(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(100)
        stage.until_delivered()
        done = stage.bytes_written
        stage.backend.faults(blocked=True)
        stage.write(50)
        stage.shipper.until(lambda: file_of(stage)["read_offset"] == stage.bytes_written, "the rest to be read")
        shown = file_of(stage)
        assert shown["path"] == str(stage.log)
        assert shown["inode"] == stage.log.stat().st_ino
        assert shown["size"] == stage.bytes_written
        assert shown["acknowledged_offset"] == done
        assert shown["lag_bytes"] == stage.bytes_written - done
        assert stage.shipper.status()["in_flight_bytes"] == stage.bytes_written - done
        assert shown["open"]
        assert not shown["deleted"]


def test_the_lag_of_a_file_grows_with_what_is_not_delivered_and_falls_to_zero(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.write(10)
        stage.shipper.start()
        stage.until_delivered()
        lag = {unit: f'lag_{unit}{{file="{stage.log}"}}' for unit in ("bytes", "seconds")}
        assert stage.shipper.metric(lag["bytes"]) == 0
        assert stage.shipper.metric(lag["seconds"]) == 0
        stage.backend.faults(blocked=True)
        stage.write(1000)
        stage.shipper.until(lambda: stage.shipper.metric(lag["seconds"]) > 1, "the lag to grow")
        assert stage.shipper.metric(lag["bytes"]) == 1000 * len("line 0000000\n")
        stage.backend.faults()
        stage.until_delivered()
        assert stage.shipper.metric(lag["bytes"]) == 0
        assert stage.shipper.metric(lag["seconds"]) == 0


def test_no_log_line_carries_what_the_app_wrote(tmp_path: Path) -> None:
    """Payloads may hold anything; the shipper's own log goes elsewhere."""
    with LogStage(tmp_path, parse="json") as stage:
        rule = {"match": "planted-4711", "status": 400, "reason": "failed to parse field [a] of type [long]"}
        stage.backend.faults(item_rules=[rule])
        stage.shipper.start()
        stage.append(['{"card": "planted-4711", "a": "x"}', "planted-4711 is no JSON", "an innocent line"])
        stage.until_delivered()
        assert stage.outcomes() == {"indexed": 1, "rejected": 2}
        assert stage.shipper.terminate() == 0
        assert "planted-4711" not in stage.shipper.stderr
        assert len(stage.shipper.logged("records.rejected")) == 1


def test_an_unfinished_last_line_does_not_lag_and_what_is_before_it_does(tmp_path: Path) -> None:
    """An app that died within a line must not ring for ever; its lines of before must, as long as they wait."""
    with LogStage(tmp_path) as stage:
        stage.backend.faults(blocked=True)
        stage.write(10)
        with stage.log.open("a", encoding="utf-8") as file:
            file.write("the app dies here")
        stage.shipper.start()
        lag = f'lag_seconds{{file="{stage.log}"}}'
        stage.shipper.until(lambda: stage.shipper.metric(lag) > 1.0, "the lines before it to lag")
        stage.backend.faults()
        stage.shipper.until(lambda: stage.arrived_count() == 10, "the lines before it")
        stage.shipper.until(lambda: stage.shipper.metric(lag) == 0.0, "the lag to end")
        stage.live_for(2.5)  # longer than a scan of a file that is not written
        assert stage.shipper.metric(lag) == 0.0
        assert stage.shipper.metric(f'lag_bytes{{file="{stage.log}"}}') == len("the app dies here")
