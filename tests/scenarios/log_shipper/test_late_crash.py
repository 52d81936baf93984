"""Among other sidecars in one process a shipper that crashes is started again, and goes on where it was."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.books import Samples, assert_law, samples
from tests.support.log_stage import LogStage

WITH_A_TOY = (sys.executable, "-m", "tests.support.crashing_shipper")
"""Before the usual command, which it ignores."""
RESTARTS = 'sidecar_log_shipper_task_restarts_total{task="log-shipper"}'
HELD = "sidecar_log_shipper_delivery_held"


class Pair:
    """The shipper of a stage, with a toy beside it."""

    def __init__(self, stage: LogStage) -> None:
        self.stage = stage
        self.shipper = stage.shipper
        self.shipper.prefix = WITH_A_TOY
        self.shipper.start()

    def scrape(self) -> Samples:
        """All metrics; the page must be one that Prometheus can read: no series is there twice."""
        status, text = self.shipper.ask("/metrics")
        assert status == 200, text
        series = Counter(line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#"))
        assert max(series.values()) == 1, series.most_common(3)
        return samples(text)

    def status(self) -> dict[str, Any]:
        """The shipper's part of /status."""
        whole: dict[str, Any] = json.loads(self.shipper.ask("/status")[1])
        assert whole["sidecars"]["idle"] == {"mode": "safe"}
        part: dict[str, Any] = whole["sidecars"]["log-shipper"]
        return part

    def crash(self) -> None:
        """Nothing arrives for a while, so that lines are in flight; then the crash, and the start after it."""
        stage = self.stage
        stage.write(500)
        self.shipper.until(lambda: self.scrape()["sidecar_log_shipper_in_flight_bytes"] > 0, "lines in flight")
        assert self.shipper.ask("/log-shipper/crash", "POST")[0] == 200

        def crashed() -> list[dict[str, Any]]:
            stage.write(1)  # in case that nothing is tried again at the moment
            return self.shipper.logged("task.crashed")

        self.shipper.until(crashed, "the crash")

    def until_restarted(self) -> None:
        self.shipper.until(lambda: self.scrape()[RESTARTS] == 1, "the restart")
        self.shipper.until(lambda: self.status()["files"], "its first scan")

    def until_delivered(self) -> None:
        """By its own account, to the end of the log."""

        def delivered() -> bool:
            status = self.status()
            ends = [file["acknowledged_offset"] for file in status["files"]]
            return ends == [self.stage.bytes_written] and not status["in_flight_bytes"]

        self.shipper.until(delivered, "all of the log to be delivered")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with LogStage(tmp_path) as stage:
        yield Pair(stage)


def test_a_shipper_that_crashed_beside_others_goes_on_with_its_metrics_and_status(pair: Pair) -> None:
    stage = pair.stage
    stage.write(500)
    pair.until_delivered()
    stage.backend.faults(blocked=True)
    pair.crash()
    stage.backend.faults()
    pair.until_restarted()
    stage.write(500)
    pair.until_delivered()
    stage.assert_all_arrived()
    scrape = pair.scrape()
    assert scrape[f'sidecar_log_shipper_lag_bytes{{file="{stage.log}"}}'] == 0
    assert scrape["sidecar_log_shipper_open_files"] == 1
    assert scrape["sidecar_log_shipper_in_flight_bytes"] == 0
    assert pair.shipper.ask("/readyz")[0] == 200
    assert len(pair.shipper.logged("task.crashed")) == 1
    assert pair.shipper.terminate() == 0
    assert [line["sidecar"] for line in pair.shipper.logged("sidecar.starting")] == ["log-shipper", "idle"]


def test_the_law_of_the_books_holds_over_a_crash(pair: Pair) -> None:
    """Bytes that were in flight are read again, and must not be counted as if they were others."""
    stage = pair.stage
    stage.backend.faults(blocked=True)
    pair.crash()
    stage.backend.faults()
    pair.until_restarted()
    assert_law(pair.scrape())
    pair.until_delivered()
    assert_law(pair.scrape())


def test_a_hold_from_before_a_crash_is_not_shown_for_ever(pair: Pair) -> None:
    stage = pair.stage
    stage.backend.faults(request_status=403)
    stage.write(10)
    pair.shipper.until(lambda: pair.scrape()[HELD] == 1, "the hold to show")
    pair.crash()
    stage.backend.faults()
    pair.until_restarted()
    stage.write(10)
    pair.until_delivered()
    assert pair.scrape()[HELD] == 0
