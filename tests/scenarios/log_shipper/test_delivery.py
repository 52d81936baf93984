"""Delivery over real connections: answers that are cut off, outages in little memory, nodes that die, credentials that
nobody sees. What is decided for each answer: tests/core/log_shipper/test_bulk.py and test_evidence.py,
tests/agents/log_shipper/test_delivery.py; which node is asked: test_attempt.py and test_node.py.
"""

import json
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.server import ServerOptions
from tests.support.books import arrived, assert_balanced, messages
from tests.support.elastic import StartStandIn
from tests.support.log_stage import LogStage, Paced
from tests.support.scale import scaled
from tests.support.stand_in import StandInProcess

OUTAGE_SECONDS = scaled(3, 60)
LINES_PER_SECOND = 5000
GROWTH_LIMIT_BYTES = 10 << 20
PADDING = " and a hundred characters of what an app says when it has served another request of another user "
USER, PASSWORD, API_KEY = "shipper", "planted-password-1", "planted-id:planted-key-2"

SPOILT = ("cut_before_store", "cut_after_store", "cut_reply", "garbage_reply", "wrong_item_count", "empty_reply")
WHOLE = (400, 401, 404, 405, 408, 413, 418, 429, 500, 503)
SPLIT = (400, 413)


def test_whatever_a_server_answers_or_cuts_off_every_line_ends_once(tmp_path: Path, seed: int) -> None:
    with LogStage(tmp_path, batch_bytes=8192) as stage:
        stage.shipper.start()
        for fault in SPOILT:
            before = stage.outcomes().get("duplicate", 0)
            stage.backend.faults(**{f"{fault}_odds": 0.5}, seed=seed)
            stage.write(300)
            stage.until_delivered()
            assert stage.backend.struck.get(fault, 0) > 0, f"{fault} never struck: the test tested nothing"
            duplicates = stage.outcomes().get("duplicate", 0) - before
            assert (duplicates > 0) is (fault != "cut_before_store"), f"{fault}: {duplicates} were stored already"
        for status in WHOLE:
            retried = stage.shipper.metric("retried_records_total")
            stage.backend.faults(request_status=status, request_times=2)
            stage.write(20)
            stage.until_delivered()
            assert stage.backend.struck == {f"request_{status}": 2}, status
            is_retry = stage.shipper.metric("retried_records_total") > retried
            assert is_retry is (status not in SPLIT), f"{status}: a split is no retry"
        stage.assert_all_arrived()
        assert sum(stage.outcomes().values()) == len(stage.lines)
        assert stage.letters() == []


def test_a_refused_record_is_a_dead_letter_and_is_in_no_log(tmp_path: Path) -> None:
    """Payloads may hold anything; the shipper's own log goes elsewhere."""
    with LogStage(tmp_path, parse="json") as stage:
        rule = {"match": "planted-4711", "status": 400, "reason": "failed to parse field [a] of type [long]"}
        stage.backend.faults(item_rules=[rule, {"match": "x" * 9000, "status": 413}])
        stage.shipper.start()
        large = "x" * 9000
        stage.append(['{"card": "planted-4711", "a": "x"}', "planted-4711 is no JSON", "an innocent line", large])
        stage.until_delivered()
        assert stage.outcomes() == {"indexed": 1, "rejected": 3}
        assert stage.shipper.metric("dead_letter_bytes_total") == stage.bytes_written - len("an innocent line\n")
        assert sorted(letter["error"]["status"] for letter in stage.letters()) == [400, 400, 413]
        assert stage.shipper.terminate() == 0
        assert "planted-4711" not in stage.shipper.stderr
        assert len(stage.shipper.logged("records.rejected")) == 1


def test_refused_credentials_hold_everything_and_say_so_loudly(tmp_path: Path) -> None:
    with LogStage(tmp_path, grace_seconds=3) as stage:
        stage.backend.faults(request_status=403)
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: stage.shipper.metric("delivery_held") == 1, "it to hold")
        (line,) = stage.shipper.logged("delivery.held")
        assert line["level"] == "error"
        status, page = stage.shipper.ask("/readyz")
        assert status == 200, "an unready sidecar would take the app out of its Services"
        told = f"{stage.backend.url}/logs-sidecar-default/_bulk answered HTTP 403"
        for text in (line["message"], page, stage.shipper.status()["delivery"]["message"]):
            assert told in text
            assert "api_key_file" in text, "what a person has to look at"
        assert stage.shipper.terminate() == 0
        (end,) = stage.shipper.logged("stop.undelivered")
        assert "HTTP 403" in end["message"]
        assert end["undelivered_bytes"] == stage.bytes_written
        stage.backend.faults()
        stage.shipper.start()
        stage.until_delivered()
        stage.assert_all_arrived()
        assert stage.letters() == [], "refused credentials are no fault of the records"


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


def test_a_node_that_dies_is_replaced_by_the_other_and_taken_again_when_it_is_back(tmp_path: Path) -> None:
    with LogStage(tmp_path, batch_bytes=8192) as stage, StandInProcess() as other:
        stage.shipper.settings["elasticsearch_url"] = f"{stage.backend.url},{other.url}"
        stage.shipper.start()
        stage.write(2000)
        stage.until_delivered()
        assert stage.backend.counters()["received_bytes"] > 0
        assert other.counters()["received_bytes"] > 0
        assert_balanced(stage.lines, stage.arrived() + messages(arrived(other.url)))
        other.kill()
        stage.write(2000)
        stage.until_delivered()
        assert set(stage.lines[2000:]) <= set(stage.arrived()), "the living node must take all of it"
        other.start()

        def used_again() -> bool:
            stage.write(200)
            return bool(other.counters()["items"])

        stage.shipper.until(used_again, "the node that is back to be used again")
        stage.until_delivered()
        assert stage.shipper.metric('retried_records_total{reason="connection"}') > 0


def everything_shown(stage: LogStage) -> str:
    """All that a stranger sees of the process."""
    pages = [stage.shipper.ask(path)[1] for path in ("/metrics", "/status", "/readyz", "/startupz", "/livez")]
    command_line = Path(f"/proc/{stage.shipper.pid}/cmdline").read_bytes().decode()
    files = [path.read_text("utf-8", "replace") for path in (stage.folder / "state").rglob("*") if path.is_file()]
    return "\n".join([*pages, command_line, *files])


@pytest.mark.parametrize("how", ["variables of other shippers", "in the address", "an API key in a file"])
def test_a_credential_is_never_shown(tmp_path: Path, how: str, start_stand_in: StartStandIn) -> None:
    """Neither when it is used, nor when it is refused, nor when the address that it stands in is told as a failure."""
    backend = start_stand_in(ServerOptions(access=Access(((USER, PASSWORD),), (API_KEY,))))
    key, file = b64encode(API_KEY.encode()).decode(), tmp_path / "key"
    with LogStage(tmp_path, elasticsearch_url=backend.url) as stage:
        given: dict[str, Any] = stage.shipper.settings
        if how == "an API key in a file":
            file.write_text("planted-wrong-one\n", encoding="utf-8")
            given["api_key_file"] = file
        elif how == "in the address":
            given["elasticsearch_url"] = backend.url.replace("//", f"//{USER}:{PASSWORD}@")
        else:
            stage.shipper.environment |= {"ELASTICSEARCH_USERNAME": USER, "ELASTICSEARCH_PASSWORD": PASSWORD}
        stage.shipper.start()
        stage.write(50)
        shown = ""
        if file.exists():
            stage.shipper.until(lambda: stage.shipper.metric("delivery_held") == 1, "the wrong one to be refused")
            shown = everything_shown(stage)
            file.write_text(key, encoding="utf-8")
        stage.until_delivered()
        backend.down()
        stage.write(50)
        stage.shipper.until(lambda: stage.shipper.logged("delivery.failed"), "a failure that names the address")
        shown += everything_shown(stage)
        backend.up()
        stage.until_delivered()
        assert stage.shipper.terminate() == 0
        for secret in (PASSWORD, key, b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "planted"):
            assert secret not in shown + stage.shipper.stderr
        assert_balanced(stage.lines, [json.loads(document.source)["message"] for document in backend.documents()])
