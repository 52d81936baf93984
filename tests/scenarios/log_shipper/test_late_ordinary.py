"""`lifecycle: ordinary` with a grace so short that there is hardly time to wait for quiet: 5 s, of which 3 are used."""

import signal
import time
from pathlib import Path

from tests.support.delivery_stage import Paced, Stage

GRACE_SECONDS = 5
LINES_PER_SECOND = 200
LAST_WORDS = [f"last word {number}" for number in range(100)]


def stage_of(folder: Path) -> Stage:
    """Never quiet long enough: the grace alone ends it."""
    return Stage(folder, lifecycle="ordinary", quiet_seconds=60, grace_seconds=GRACE_SECONDS)


def assert_ended_in_time(stage: Stage, began: float) -> None:
    """Before the kubelet's SIGKILL, and without the runtime having to cancel it."""
    assert stage.shipper.wait() == 0
    took_seconds = time.monotonic() - began
    assert not stage.shipper.logged("stop.overrun")
    assert not stage.shipper.logged("sidecar.abandoned")
    assert took_seconds < GRACE_SECONDS


def test_what_an_app_writes_after_sigterm_is_delivered_also_within_a_short_grace(tmp_path: Path) -> None:
    with stage_of(tmp_path) as stage:
        stage.shipper.start()
        with Paced(stage, LINES_PER_SECOND):
            stage.shipper.until(lambda: stage.arrived_count() > 0, "the first lines")
            began = time.monotonic()
            stage.shipper.signal(signal.SIGTERM)
            stage.shipper.until(lambda: stage.shipper.logged("stop.requested"), "the stop")
            before = len(stage.lines)
            stage.shipper.until(lambda: len(stage.lines) > before + LINES_PER_SECOND, "a second of more lines")
            stage.append(LAST_WORDS)
            assert_ended_in_time(stage, began)
        arrived = stage.arrived()
        assert set(LAST_WORDS) <= set(arrived)
        assert len(set(arrived)) == len(arrived)
        stage.shipper.settings["lifecycle"] = "native"
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()


def test_the_half_line_that_an_app_died_in_is_delivered_within_a_short_grace(tmp_path: Path) -> None:
    """Half lines count as lines for the last moments only, so there must be such moments."""
    with stage_of(tmp_path) as stage:
        stage.shipper.start()
        began = time.monotonic()
        stage.shipper.signal(signal.SIGTERM)
        stage.shipper.until(lambda: stage.shipper.logged("stop.requested"), "the stop")
        stage.write(100)
        stage.shipper.until(lambda: stage.arrived_count() == len(stage.lines), "the lines after SIGTERM")
        with stage.log.open("ab", buffering=0) as file:
            file.write(b"half a line")
        stage.lines.append("half a line")
        assert_ended_in_time(stage, began)
        stage.assert_all_arrived()
