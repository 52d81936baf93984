"""Every answer a bulk request can get: each line ends in exactly one outcome, whatever the server says or cuts off."""

import json
from pathlib import Path
from typing import Any

from tests.support.books import assert_balanced, audit
from tests.support.log_stage import LogStage

REFUSED = {10: 400, 11: 404, 12: 413, 13: 418}
RETRIED = {20: 408, 21: 429, 22: 500, 23: 503, 24: 504}
CONFLICT = 30
WHOLE = (400, 401, 403, 404, 405, 408, 413, 418, 429, 500, 502, 503, 504, 507)
SPLIT = (400, 413)
SPOILT = ("cut_before_store", "cut_after_store", "cut_reply", "garbage_reply", "wrong_item_count", "empty_reply")


def rule(number: int, status: int, times: int | None) -> dict[str, Any]:
    return {"match": f"line {number:07d}", "status": status, "type": f"type_{status}_exception", "times": times}


def test_every_status_of_an_item_is_one_outcome(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        refuse = [rule(number, status, None) for number, status in REFUSED.items()]
        again = [rule(number, status, 2) for number, status in RETRIED.items()]
        stage.backend.faults(item_rules=[*refuse, *again, rule(CONFLICT, 409, None)])
        stage.shipper.start()
        stage.write(100)
        stage.until_delivered()

        refused = [stage.lines[number] for number in REFUSED]
        elsewhere = {*refused, stage.lines[CONFLICT]}
        assert_balanced([line for line in stage.lines if line not in elsewhere], stage.arrived())
        assert stage.outcomes() == {"indexed": 95, "duplicate": 1, "rejected": 4}
        assert stage.shipper.metric("dead_letter_bytes_total") == sum(len(line) + 1 for line in refused)
        assert stage.shipper.metric("rejected_records_total") == 4
        found = {letter["document"]["message"]: letter["error"] for letter in stage.letters()}
        assert {message: error["status"] for message, error in found.items()} == {
            stage.lines[number]: status for number, status in REFUSED.items()
        }
        assert {error["type"] for error in found.values()} == {
            f"type_{status}_exception" for status in REFUSED.values()
        }
        for status, times in {"status_408": 2, "status_429": 2, "status_5xx": 6}.items():
            assert stage.shipper.metric(f'retried_records_total{{reason="{status}"}}') == times, status


def test_every_status_of_a_whole_request_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        for status in WHOLE:
            before = stage.shipper.metric("retried_records_total")
            stage.backend.faults(request_status=status, request_times=2)
            stage.write(200)
            stage.until_delivered()
            assert stage.backend.struck == {f"request_{status}": 2}, status
            assert stage.outcomes() == {"indexed": len(stage.lines)}, status
            retried = stage.shipper.metric("retried_records_total") - before
            assert (retried == 0) is (status in SPLIT), f"{status}: {retried} records retried; a split is no retry"
            assert stage.shipper.metric("delivery_held") == 0, status
        stage.assert_all_arrived()
        assert stage.letters() == []


def test_413_splits_a_batch_down_to_the_one_record_that_is_too_large(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.backend.faults(max_content_length_bytes=6000)
        stage.write(50)
        large = "x" * 8000
        stage.append([large])
        stage.write(50)
        stage.shipper.start()
        stage.until_delivered()
        assert_balanced([line for line in stage.lines if line != large], stage.arrived())
        (letter,) = stage.letters()
        assert letter["document"]["message"] == large
        assert letter["error"]["status"] == 413
        assert stage.shipper.metric('rejected_records_total{type="request_too_large"}') == 1
        assert stage.outcomes() == {"indexed": len(stage.lines) - 1, "rejected": 1}


def test_trouble_of_the_target_holds_everything_and_is_shown_in_its_own_words(tmp_path: Path) -> None:
    """Which refusals are that: tests/agents/log_shipper/test_delivery.py has them all."""
    rule = {"match": "line", "status": 400, "type": "index_closed_exception", "reason": "closed"}
    with LogStage(tmp_path) as stage:
        stage.backend.faults(item_rules=[rule])
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: stage.shipper.metric("delivery_held") == 1, "it to hold")
        (line,) = stage.shipper.logged("delivery.held")
        told = f"{stage.backend.url}/logs-sidecar-default/_bulk answered HTTP {rule['status']} {rule['type']}"
        status, page = stage.shipper.ask("/readyz")
        assert status == 200, "an unready sidecar would take the app out of its Services"
        for text in (line["message"], page, stage.shipper.status()["delivery"]["message"]):
            assert f"{told}: closed" in text
        assert stage.shipper.status()["delivery"]["held"] is True
        assert stage.shipper.terminate() == 0
        (end,) = stage.shipper.logged("stop.undelivered")
        assert "closed" in end["message"]
        assert end["undelivered_bytes"] == stage.bytes_written
        stage.backend.faults()
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()
        assert stage.letters() == []


def test_a_reply_that_cannot_be_understood_is_asked_for_again(tmp_path: Path, seed: int) -> None:
    with LogStage(tmp_path, batch_bytes=8192) as stage:
        stage.shipper.start()
        for fault in SPOILT:
            before = stage.outcomes().get("duplicate", 0)
            stage.backend.faults(**{f"{fault}_odds": 0.5}, seed=seed)
            stage.write(400)
            stage.until_delivered()
            assert stage.backend.struck.get(fault, 0) > 0, f"{fault} never struck: the test tested nothing"
            assert sum(stage.outcomes().values()) == len(stage.lines), fault
            duplicates = stage.outcomes().get("duplicate", 0) - before
            assert (duplicates > 0) is (fault != "cut_before_store"), f"{fault}: {duplicates} were stored already"
        stage.assert_all_arrived()
        assert stage.shipper.metric("retried_records_total") > 0


def test_ids_of_the_server_lose_nothing_and_may_double(tmp_path: Path, seed: int) -> None:
    with LogStage(tmp_path, id_mode="auto", batch_bytes=8192) as stage:
        stage.shipper.start()
        stage.write(500)
        stage.until_delivered()
        stage.assert_all_arrived()
        stage.backend.faults(cut_after_store_odds=0.5, seed=seed)
        stage.write(500)
        stage.until_delivered()
        result = audit(stage.lines, stage.arrived())
        assert not result.lost
        assert not result.strange
        assert stage.outcomes() == {"indexed": 1000}, "no 409 is taken for a success that nobody can vouch for"


def test_the_dead_letter_file_stays_within_its_bounds(tmp_path: Path) -> None:
    with LogStage(tmp_path, dead_letter_bytes=20_000) as stage:
        stage.backend.faults(item_rules=[{"match": "spoilt", "status": 400}])
        stage.shipper.start()
        for _ in range(6):
            stage.write(20, " spoilt" + "x" * 300)
            stage.until_delivered()
        kept = [stage.folder / "state" / name for name in ("dead-letter.ndjson", "dead-letter.ndjson.1")]
        assert all(path.stat().st_size <= 20_000 for path in kept)
        assert stage.shipper.metric("dead_letter_dropped_bytes") > 0
        assert [json.loads(line) for path in kept for line in path.read_text(encoding="utf-8").splitlines()]
        assert stage.outcomes() == {"rejected": 120}
