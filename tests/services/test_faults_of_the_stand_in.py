"""Each fault of the stand-in does what it says: otherwise a test of the shipper would prove nothing."""

import base64
import http.client
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.faults import Faults, ItemRule
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from tests.support.elastic import StartStandIn
from tests.support.rest import Reply, call, count, creates
from tests.support.waiting import until

BROKEN = (ConnectionError, http.client.HTTPException)
DEADLINE_SECONDS = 30.0


def documents(number: int, first: int = 0) -> bytes:
    return creates({f"id-{n}": {"message": f"line {n}"} for n in range(first, first + number)})


def bulk(server: Served, body: bytes) -> Reply:
    return call(server.url, "POST", "/lines/_bulk", body)


def statuses(reply: Reply) -> list[int]:
    return [item["create"]["status"] for item in reply.body["items"]]


def stored(server: Served) -> int:
    """Looked up in memory, so no fault stands in the way."""
    return len(server.documents())


def test_item_429_odds_refuse_about_that_share_of_the_items_the_same_ones_with_the_same_seed(
    start_stand_in: StartStandIn,
) -> None:
    def outcome(seed: int) -> list[int]:
        server = start_stand_in(ServerOptions(faults=Faults(item_429_odds=0.3, seed=seed)))
        reply = bulk(server, documents(1000))
        found = statuses(reply)
        assert reply.body["errors"] is True
        assert 200 < found.count(429) < 400
        assert stored(server) == 1000 - found.count(429)
        kinds = {item["create"]["error"]["type"] for item in reply.body["items"] if item["create"]["status"] == 429}
        assert kinds == {"es_rejected_execution_exception"}
        return found

    assert outcome(7) == outcome(7) != outcome(8)


def test_an_item_rule_refuses_what_it_matches_and_can_run_out(stand_in: Served) -> None:
    stand_in.set_faults(Faults(item_rules=(ItemRule("line 3", 400, "mapper_parsing_exception"),)))
    reply = bulk(stand_in, documents(5))
    assert statuses(reply) == [201, 201, 201, 400, 201]
    assert reply.body["items"][3]["create"]["error"]["type"] == "mapper_parsing_exception"
    assert stored(stand_in) == 4
    stand_in.set_faults(Faults(item_rules=(ItemRule("line", 503, times=2),)))
    assert statuses(bulk(stand_in, documents(4, first=10))) == [503, 503, 201, 201]


@pytest.mark.parametrize("status", [401, 403, 404, 408, 413, 429, 500, 502, 503, 504])
def test_a_request_status_answers_so_many_requests_and_stores_nothing(stand_in: Served, status: int) -> None:
    stand_in.set_faults(Faults(request_status=status, request_times=2))
    assert [bulk(stand_in, documents(1)).status for _ in range(2)] == [status, status]
    assert stored(stand_in) == 0
    assert bulk(stand_in, documents(1)).status == 200


def test_request_faults_last_until_they_are_cleared_and_leave_searches_alone_unless_told_otherwise(
    stand_in: Served,
) -> None:
    bulk(stand_in, documents(3))
    stand_in.set_faults(Faults(request_status=503))
    assert {bulk(stand_in, documents(1)).status for _ in range(5)} == {503}
    assert count(stand_in.url, "lines") == 3
    stand_in.set_faults(Faults(request_status=503, scope="all"))
    assert call(stand_in.url, "GET", "/lines/_count").status == 503
    stand_in.set_faults()
    assert bulk(stand_in, documents(1)).status == 200


WHOLE: dict[str, tuple[Faults, int, bytes, int]] = {
    "a smaller limit: 413 without a body": (Faults(max_content_length_bytes=100), 413, b"", 0),
    "a garbage reply": (Faults(garbage_reply_odds=1), 200, b"<", 3),
    "an empty reply": (Faults(empty_reply_odds=1), 200, b"", 3),
    "a cut reply": (Faults(cut_reply_odds=1), 0, b'{"errors":false', 3),
    "cut before it was stored": (Faults(cut_before_store_odds=1), 0, b"", 0),
    "cut after it was stored": (Faults(cut_after_store_odds=1), 0, b"", 3),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_spoilt_reply(stand_in: Served, name: str) -> None:
    faults, status, begins, kept = WHOLE[name]
    stand_in.set_faults(faults)
    if status:
        reply = bulk(stand_in, documents(3))
        assert reply.status == status
        assert reply.body == b"" if not begins else isinstance(reply.body, bytes) and reply.body
    else:
        with pytest.raises(BROKEN) as broken:
            bulk(stand_in, documents(3))
        assert getattr(broken.value, "partial", b"").startswith(begins)
    assert stored(stand_in) == kept
    stand_in.set_faults()
    assert set(statuses(bulk(stand_in, documents(3)))) == ({409} if kept else {201})


def test_a_wrong_item_count_is_one_item_short(stand_in: Served) -> None:
    stand_in.set_faults(Faults(wrong_item_count_odds=1))
    assert len(bulk(stand_in, documents(3)).body["items"]) == 2
    assert stored(stand_in) == 3


def test_odds_strike_now_and_then(stand_in: Served) -> None:
    stand_in.set_faults(Faults(empty_reply_odds=0.5, seed=3))
    empty = sum(bulk(stand_in, documents(1, first=n)).body == b"" for n in range(60))
    assert 15 < empty < 45
    assert stand_in.counters()["faults_struck"] == {"empty_reply": empty}


def test_a_delay_comes_before_the_reply(stand_in: Served) -> None:
    stand_in.set_faults(Faults(delay_seconds=0.5))
    began = time.monotonic()
    assert bulk(stand_in, documents(1)).status == 200
    assert time.monotonic() - began >= 0.5


def test_never_answer_holds_the_request_until_it_is_cleared(stand_in: Served) -> None:
    stand_in.set_faults(Faults(never_answer=True))
    broken: list[BaseException] = []

    def ask() -> None:
        try:
            bulk(stand_in, documents(1))
        except BROKEN as error:
            broken.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: stand_in.counters()["faults_struck"].get("never_answer") == 1, "the request to arrive")
    assert asking.is_alive()
    stand_in.set_faults()
    asking.join(DEADLINE_SECONDS)
    assert len(broken) == 1
    assert stored(stand_in) == 0


def test_blocked_refuses_everything(stand_in: Served) -> None:
    stand_in.set_faults(Faults(blocked=True))
    assert bulk(stand_in, documents(1)).status == call(stand_in.url, "GET", "/_cluster/health").status == 503
    assert stored(stand_in) == 0


def refuses_connections(url: str) -> bool:
    where = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((where.hostname, where.port)) != 0


def ask_again(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/_cluster/health")
    connection.getresponse()


def test_going_down_refuses_connections_and_keeps_the_documents(stand_in: Served) -> None:
    bulk(stand_in, documents(3))
    kept_open = http.client.HTTPConnection(urlsplit(stand_in.url).netloc, timeout=DEADLINE_SECONDS)
    kept_open.request("GET", "/_cluster/health")
    kept_open.getresponse().read()
    stand_in.down()
    assert refuses_connections(stand_in.url)
    with pytest.raises(OSError):
        ask_again(kept_open)
    kept_open.close()
    stand_in.up()
    assert count(stand_in.url, "lines") == 3


def test_down_seconds_ends_by_itself(stand_in: Served) -> None:
    bulk(stand_in, documents(3))
    assert call(stand_in.url, "PUT", "/_faults", {"down_seconds": 1}).status == 200
    until(lambda: refuses_connections(stand_in.url), "its end")
    until(lambda: not refuses_connections(stand_in.url), "its return")
    assert count(stand_in.url, "lines") == 3


def test_faults_can_be_set_read_and_cleared_over_http_and_an_unknown_one_is_refused_by_name(stand_in: Served) -> None:
    script = {"seed": 5, "item_rules": [{"match": "line 1", "status": 400}]}
    assert call(stand_in.url, "PUT", "/_faults", script).status == 200
    read = call(stand_in.url, "GET", "/_faults").body
    assert (read["seed"], read["item_rules"][0]["match"]) == (5, "line 1")
    assert statuses(bulk(stand_in, documents(2))) == [201, 400]
    assert call(stand_in.url, "DELETE", "/_faults").status == 200
    assert call(stand_in.url, "GET", "/_faults").body == {}
    reply = call(stand_in.url, "PUT", "/_faults", {"item_4299_odds": 1})
    assert reply.status == 400
    assert "item_4299_odds" in reply.body["error"]["reason"]


def test_counters_tell_outcomes_apart(stand_in: Served) -> None:
    bulk(stand_in, documents(3))
    stand_in.set_faults(Faults(item_rules=(ItemRule("line 5", 400), ItemRule("line 6", 429))))
    bulk(stand_in, documents(5, first=2))
    counters = call(stand_in.url, "GET", "/_stats_devstack").body
    assert counters["items"] == {"indexed": 5, "duplicate": 1, "rejected": 1, "retry": 1}
    assert counters["targets"] == {"lines": 8}
    assert counters["documents"] == {"lines": 5}
    assert counters["requests"] == {"200": 2}


def authorized(url: str, credential: str | None) -> Reply:
    return call(url, "GET", "/", None, **({"Authorization": credential} if credential else {}))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_credentials_are_asked_for(start_stand_in: StartStandIn) -> None:
    access = Access(users=(("shipper", "secret"),), api_keys=("id:key",))
    url = start_stand_in(ServerOptions(access=access)).url
    for good in (f"Basic {encoded('shipper:secret')}", f"ApiKey {encoded('id:key')}"):
        assert authorized(url, good).status == 200
    for bad in (None, f"Basic {encoded('shipper:wrong')}", f"ApiKey {encoded('id:wrong')}"):
        reply = authorized(url, bad)
        assert (reply.status, reply.error_type) == (401, "security_exception")
        assert reply.body["error"]["header"]["WWW-Authenticate"]
        assert "www-authenticate" in reply.headers


def test_it_serves_tls_with_the_context_it_is_given(start_stand_in: StartStandIn) -> None:
    authority = trustme.CA()
    serving_tls, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving_tls)
    authority.configure_trust(trusting)
    url = start_stand_in(ServerOptions(tls=serving_tls)).url
    assert url.startswith("https://")
    with urllib.request.urlopen(url, context=trusting, timeout=DEADLINE_SECONDS) as reply:
        assert reply.headers["X-Elastic-Product"] == "Elasticsearch"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, context=ssl.create_default_context(), timeout=DEADLINE_SECONDS)


def run_command(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sidecars.devstack", "elasticsearch", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_command_prints_its_address_and_exits_0_on_sigterm() -> None:
    with run_command("--port", "0", "--faults", '{"item_429_odds": 1}') as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        reply: Any = call(url, "POST", "/lines/_bulk", documents(2))
        assert statuses(reply) == [429, 429]
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0


def test_the_command_says_that_its_port_is_taken(stand_in: Served) -> None:
    with run_command("--port", stand_in.url.rpartition(":")[2]) as process:
        said, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 1
        assert said.startswith("cannot listen on 127.0.0.1:")
