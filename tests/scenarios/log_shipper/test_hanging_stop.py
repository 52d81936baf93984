"""The end of a pod while the backend hangs: accepts, takes requests, and never answers those of that time."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.listeners import listening, silent
from tests.support.log_stage import LogStage, Paced
from tests.support.relay import Relay

LINES_PER_SECOND = 2000
PADDING = " " + "x" * 120
HANG_SECONDS = 3.0


@contextmanager
def stage_behind_relay(folder: Path, **given: object) -> Iterator[tuple[LogStage, Relay]]:
    with LogStage(folder, **given) as stage, Relay(stage.backend.port) as relay:
        stage.shipper.settings["elasticsearch_url"] = relay.url
        yield stage, relay


def wait_for_arrivals(stage: LogStage) -> None:
    stage.shipper.until(lambda: stage.arrived_count() > 0, "the first lines")


def assert_nothing_is_missing(stage: LogStage, took_seconds: float, grace_seconds: float) -> None:
    stage.assert_all_arrived()
    assert took_seconds < grace_seconds
    (line,) = stage.shipper.logged("stop.drained")
    assert line["undelivered_bytes"] == 0


@pytest.mark.parametrize("before_seconds", [0.0, 1.5, 2.9])
def test_a_hang_of_three_seconds_around_sigterm_costs_no_line(tmp_path: Path, before_seconds: float) -> None:
    """2,000 lines a second; the app ends, then the shipper gets SIGTERM."""
    with stage_behind_relay(tmp_path, grace_seconds=20) as (stage, relay):
        stage.shipper.start()
        with Paced(stage, LINES_PER_SECOND, PADDING):
            wait_for_arrivals(stage)
            stage.live_for(1.0)
            relay.hang()
            hung = time.monotonic()
            stage.live_for(before_seconds)
        began = time.monotonic()
        stage.shipper.signal(signal.SIGTERM)
        while time.monotonic() < hung + HANG_SECONDS:
            time.sleep(0.02)
        relay.recover()
        assert stage.shipper.wait() == 0
        assert_nothing_is_missing(stage, time.monotonic() - began, 16)


def test_a_backend_that_stands_still_and_then_answers_all_at_once_gets_each_line_once(tmp_path: Path) -> None:
    """What was sent again is answered twice: once for the copy that was given up, and nobody listens any more."""
    with LogStage(tmp_path, grace_seconds=20) as stage:
        stage.shipper.start()
        with Paced(stage, LINES_PER_SECOND, PADDING):
            wait_for_arrivals(stage)
            stage.live_for(0.5)
            stage.backend.pause()
            stage.live_for(1.0)
        stage.shipper.signal(signal.SIGTERM)
        stage.live_for(2.0)
        stage.backend.resume()
        assert stage.shipper.wait() == 0
        stage.assert_all_arrived()


def test_a_node_that_hangs_for_ever_beside_a_good_one_does_not_use_up_a_short_grace(tmp_path: Path) -> None:
    with LogStage(tmp_path, grace_seconds=10) as stage, listening(silent) as hung:
        stage.shipper.settings["elasticsearch_url"] = f"http://{hung.place},{stage.backend.url}"
        stage.shipper.start()
        with Paced(stage, LINES_PER_SECOND, PADDING):
            wait_for_arrivals(stage)
            stage.live_for(2.0)
        began = time.monotonic()
        assert stage.shipper.terminate() == 0
        assert_nothing_is_missing(stage, time.monotonic() - began, 8)


def test_a_hang_for_the_whole_grace_is_said_and_the_next_start_delivers_all_of_it_once(tmp_path: Path) -> None:
    with stage_behind_relay(tmp_path, grace_seconds=8) as (stage, relay):
        stage.shipper.start()
        with Paced(stage, LINES_PER_SECOND, PADDING):
            wait_for_arrivals(stage)
            stage.live_for(0.5)
        stage.until_delivered()
        delivered = stage.bytes_written
        relay.hang()
        stage.write(3000, PADDING)
        began = time.monotonic()
        assert stage.shipper.terminate() == 0
        assert time.monotonic() - began < 8
        (line,) = stage.shipper.logged("stop.undelivered")
        assert line["undelivered_bytes"] == stage.bytes_written - delivered
        assert line["files"] == {str(stage.log): stage.bytes_written - delivered}
        assert len(stage.shipper.logged("stop.undelivered_so_far")) >= 2
        assert "stop.overrun" not in [each["action"] for each in stage.shipper.logs]
        relay.recover()
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()


def test_ids_of_the_servers_making_are_never_sent_twice_beside_each_other(tmp_path: Path) -> None:
    with stage_behind_relay(tmp_path, grace_seconds=8, id_mode="auto", compression="none") as (stage, relay):
        stage.shipper.start()
        stage.write(100)
        stage.until_delivered()
        relay.hang()
        stage.write(100)
        stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") > 0, "it to read them")
        stage.shipper.signal(signal.SIGTERM)
        stage.live_for(1.5)
        relay.recover()
        stage.shipper.wait()
        assert stage.arrived_count() == 100
        assert stage.shipper.logged("stop.undelivered")
