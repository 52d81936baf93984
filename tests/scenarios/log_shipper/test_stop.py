"""SIGTERM: everything is read to its end and sent; and when that cannot be, the exit is clean, in time, and says so."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.log_stage import LogStage, Paced
from tests.support.scale import scaled

TAILS = scaled(3, 20)
EARLY_STOPS = scaled(8, 40)


def stopped_in_time(stage: LogStage) -> None:
    """The runtime did not have to cancel it."""
    actions = [line["action"] for line in stage.shipper.logs]
    assert "stop.overrun" not in actions
    assert "sidecar.abandoned" not in actions
    assert actions[-1] == "sidecar.ended"


def undelivered(stage: LogStage) -> dict[str, Any]:
    (line,) = stage.shipper.logged("stop.undelivered")
    return line


def test_the_tail_of_a_job_arrives(tmp_path: Path, table: Callable[[str, str], None]) -> None:
    with LogStage(tmp_path) as stage:
        slowest_seconds = 0.0
        for _ in range(TAILS):
            stage.shipper.start()
            stage.write(20_000)
            began = time.monotonic()
            assert stage.shipper.terminate() == 0
            slowest_seconds = max(slowest_seconds, time.monotonic() - began)
            assert stage.arrived_count() == len(stage.lines)
            assert stage.shipper.logged("stop.drained"), "it must say that everything is delivered"
        stage.assert_all_arrived()
        assert slowest_seconds < 20
        table(
            "stop", f"{TAILS} tails of 20,000 lines: the slowest exit took {slowest_seconds:.2f} s (bar of bench: 2 s)"
        )


def test_an_ordinary_sidecar_tails_on_until_the_files_are_quiet(tmp_path: Path) -> None:
    """SIGTERM comes together with the app's, and the app has more to say."""
    with LogStage(tmp_path, lifecycle="ordinary", quiet_seconds=3) as stage:
        stage.shipper.start()
        with Paced(stage, 500):
            stage.shipper.until(lambda: stage.arrived_count() > 0, "the first lines")
            stage.shipper.signal(signal.SIGTERM)
            stage.shipper.until(lambda: stage.shipper.logged("stop.requested"), "the stop")
            before = len(stage.lines)
            stage.shipper.until(lambda: len(stage.lines) > before + 1000, "two seconds of last words")
        assert stage.shipper.wait() == 0
        stage.assert_all_arrived()
        stopped_in_time(stage)


def test_a_backend_that_never_answers_does_not_keep_the_pod(tmp_path: Path) -> None:
    with LogStage(tmp_path, grace_seconds=6) as stage:
        stage.shipper.start()
        stage.write(1000)
        stage.until_delivered()
        before = stage.bytes_written
        stage.backend.faults(never_answer=True)
        stage.write(3000)
        stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") > 0, "it to read some")
        began = time.monotonic()
        assert stage.shipper.terminate() == 0
        took_seconds = time.monotonic() - began
        stopped_in_time(stage)
        assert took_seconds > 2, "it must try as long as the grace allows"
        assert undelivered(stage)["undelivered_bytes"] == stage.bytes_written - before
        stage.backend.faults()
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()


def test_a_stop_before_anything_happened_is_a_clean_one(tmp_path: Path, rng: random.Random) -> None:
    """Also in the milliseconds before the handlers of the loop are set."""
    with LogStage(tmp_path) as stage:
        stage.write(2000)
        for _ in range(EARLY_STOPS):
            life_seconds = rng.uniform(0, 2.0 if rng.random() < 0.3 else 0.6)
            stage.shipper.start(wait=False)
            stage.shipper.until(stage.shipper.catches, "its first lines of code")
            stage.live_for(life_seconds)
            assert stage.shipper.terminate() == 0, f"after {life_seconds:.3f} s"
            assert "Traceback" not in stage.shipper.stderr
            stage.write(200)
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()


def test_a_stop_over_http_is_a_stop(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(500)
        assert stage.shipper.ask("/quit", "POST")[0] == 200
        assert stage.shipper.wait() == 0
        stage.assert_all_arrived()
