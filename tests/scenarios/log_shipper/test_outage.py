"""Outages: what cannot be sent stays in its file, memory stays small, and afterwards everything catches up."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.books import arrived, assert_balanced, messages
from tests.support.listeners import listening, silent
from tests.support.log_stage import LogStage, Paced
from tests.support.scale import scaled
from tests.support.stand_in import StandInProcess

OUTAGE_SECONDS = scaled(6, 60)
LINES_PER_SECOND = 5000
GROWTH_LIMIT_BYTES = 10 << 20
PADDING = " and a hundred characters of what an app says when it has served another request of another user "
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the discard port of a test machine."""


def test_an_outage_is_caught_up_without_loss_and_in_little_memory(
    tmp_path: Path, table: Callable[[str, str], None]
) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        with Paced(stage, LINES_PER_SECOND, PADDING):
            stage.shipper.until(lambda: stage.arrived_count() > 2 * LINES_PER_SECOND, "steady work")
            usual_bytes = stage.shipper.memory_bytes("VmHWM")
            stage.backend.faults(down_seconds=OUTAGE_SECONDS)
            began = time.monotonic()
            stage.shipper.until(lambda: stage.shipper.logged("delivery.failed"), "the outage to be noticed")
            assert stage.shipper.status()["conditions"], "the outage must show"
            stage.shipper.until(lambda: stage.shipper.logged("delivery.recovered"), "the end of the outage", 180)
            behind = len(stage.lines) - stage.arrived_count()
            back = time.monotonic()
        stage.until_delivered(180)
        catch_up_seconds = time.monotonic() - back
        growth_bytes = stage.shipper.memory_bytes("VmHWM") - usual_bytes
        stage.assert_all_arrived()
        assert growth_bytes < GROWTH_LIMIT_BYTES
        table(
            "outage",
            f"{back - began:.0f} s at {LINES_PER_SECOND} lines/s: {behind} lines behind, caught up in "
            f"{catch_up_seconds:.1f} s ({behind / catch_up_seconds / LINES_PER_SECOND:.1f} times the input rate; "
            f"bar of bench: 5), most memory {growth_bytes / 2**20:+.1f} MiB (limit 10)",
        )


def test_with_one_of_two_nodes_dead_everything_arrives(tmp_path: Path) -> None:
    with LogStage(tmp_path, batch_bytes=8192) as stage:
        stage.shipper.settings["elasticsearch_url"] = f"{NOWHERE},{stage.backend.url}"
        stage.shipper.start()
        stage.write(5000)
        stage.until_delivered()
        stage.assert_all_arrived()
        assert stage.shipper.metric('retried_records_total{reason="connection"}') > 0


def test_a_node_that_dies_is_replaced_by_the_other_and_taken_again_when_it_is_back(tmp_path: Path) -> None:
    with LogStage(tmp_path, batch_bytes=8192) as stage, StandInProcess() as other:
        stage.shipper.settings["elasticsearch_url"] = f"{stage.backend.url},{other.url}"
        stage.shipper.start()
        stage.write(5000)
        stage.until_delivered()
        assert stage.backend.counters()["received_bytes"] > 0
        assert other.counters()["received_bytes"] > 0
        first = stage.arrived() + messages(arrived(other.url))
        assert_balanced(stage.lines, first)
        other.kill()
        stage.write(5000)
        stage.until_delivered()
        assert set(stage.lines[5000:]) <= set(stage.arrived()), "the living node must take all of it"
        other.start()

        def used_again() -> bool:
            stage.write(200)
            return bool(other.counters()["items"])

        stage.shipper.until(used_again, "the node that is back to be used again")
        stage.until_delivered()


def test_a_node_that_accepts_and_never_answers_is_left_for_the_other_and_that_is_counted(tmp_path: Path) -> None:
    """Which node comes first is drawn by lot, so lines are written until the silent one had its turn."""
    timeouts = 'retried_records_total{reason="timeout"}'
    with LogStage(tmp_path, request_timeout_seconds=1, batch_bytes=4096) as stage, listening(silent) as hung:
        stage.shipper.settings["elasticsearch_url"] = f"http://{hung.place},{stage.backend.url}"
        stage.shipper.start()

        def met() -> bool:
            stage.write(10)
            return stage.shipper.metric(timeouts) > 0

        stage.shipper.until(met, "the silent node's turn")
        stage.write(1000)
        stage.until_delivered()
        stage.assert_all_arrived()
        assert stage.outcomes() == {"indexed": len(stage.lines)}
        assert not stage.shipper.logged("delivery.failed"), "the attempt did not fail: another node took it"
        assert stage.shipper.metric("retried_records_total") == stage.shipper.metric(timeouts)


def test_an_only_node_that_never_answers_delays_and_loses_nothing(tmp_path: Path) -> None:
    with LogStage(tmp_path, request_timeout_seconds=0.5) as stage:
        stage.backend.pause()
        stage.shipper.start()
        stage.write(2000)
        reason = 'retried_records_total{reason="timeout"}'
        stage.shipper.until(lambda: stage.shipper.metric(reason) > 0, "a timeout")
        stage.backend.resume()
        stage.until_delivered()
        stage.assert_all_arrived()
