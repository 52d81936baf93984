"""SIGTERM as a process meets it: with a backlog, in its first milliseconds, while a backend hangs. What each step of
the stop may take, and what is said of it: tests/agents/log_shipper/test_stopping.py and test_agent.py.
"""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage, Paced
from tests.support.relay import Relay
from tests.support.scale import scaled

TAILS = scaled(2, 20)
TAIL_LINES = scaled(10_000, 20_000)
EARLY_STOPS = scaled(5, 40)
PADDING = " " + "x" * 120


def test_the_tail_of_a_job_arrives(tmp_path: Path, table: Callable[[str, str], None]) -> None:
    """Also when the stop comes over HTTP."""
    with LogStage(tmp_path) as stage:
        slowest_seconds = 0.0
        for number in range(TAILS):
            stage.shipper.start()
            stage.write(TAIL_LINES)
            began = time.monotonic()
            if number == 0:
                assert stage.shipper.ask("/quit", "POST")[0] == 200
                assert stage.shipper.wait() == 0
            else:
                assert stage.shipper.terminate() == 0
            slowest_seconds = max(slowest_seconds, time.monotonic() - began)
            assert stage.arrived_count() == len(stage.lines)
            assert stage.shipper.logged("stop.drained"), "it must say that everything is delivered"
        stage.assert_all_arrived()
        assert slowest_seconds < 20
        table(
            "stop",
            f"{TAILS} tails of {TAIL_LINES} lines: the slowest exit took {slowest_seconds:.2f} s (bar of bench: 2 s)",
        )


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


@pytest.mark.parametrize("hung_at_sigterm", ["connections", "server"])
def test_a_hang_around_sigterm_costs_no_line_and_doubles_none(tmp_path: Path, hung_at_sigterm: str) -> None:
    """Connections that swallow what is sent; or a server that stands still and then answers all at once, what was sent
    again twice: once for the copy that was given up, and nobody listens any more.
    """
    with LogStage(tmp_path, grace_seconds=20) as stage, Relay(stage.backend.port) as relay:
        hang, recover = stage.backend.pause, stage.backend.resume
        if hung_at_sigterm == "connections":
            stage.shipper.settings["elasticsearch_url"] = relay.url
            hang, recover = relay.hang, relay.recover
        stage.shipper.start()
        with Paced(stage, 2000, PADDING):
            stage.shipper.until(lambda: stage.arrived_count() > 0, "the first lines")
            hang()
            stage.live_for(1.0)
        began = time.monotonic()
        stage.shipper.signal(signal.SIGTERM)
        stage.live_for(1.5)
        recover()
        assert stage.shipper.wait() == 0
        assert time.monotonic() - began < 16
        stage.assert_all_arrived()
        (line,) = stage.shipper.logged("stop.drained")
        assert line["undelivered_bytes"] == 0


def test_a_hang_for_the_whole_grace_is_said_and_the_next_start_delivers_all_of_it_once(tmp_path: Path) -> None:
    with LogStage(tmp_path, grace_seconds=6) as stage, Relay(stage.backend.port) as relay:
        stage.shipper.settings["elasticsearch_url"] = relay.url
        stage.shipper.start()
        stage.write(1000, PADDING)
        stage.until_delivered()
        delivered = stage.bytes_written
        relay.hang()
        stage.write(3000, PADDING)
        began = time.monotonic()
        assert stage.shipper.terminate() == 0
        assert 2 < time.monotonic() - began < 6, "it must try as long as the grace allows"
        (line,) = stage.shipper.logged("stop.undelivered")
        assert line["files"] == {str(stage.log): stage.bytes_written - delivered}
        assert len(stage.shipper.logged("stop.undelivered_so_far")) >= 2
        actions = [each["action"] for each in stage.shipper.logs]
        assert actions[-1] == "sidecar.ended", "the runtime did not have to cancel it"
        assert not {"stop.overrun", "sidecar.abandoned"} & set(actions)
        relay.recover()
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()
