"""`--setup`: what it makes and says, what it changes the second time, what it may not do, what is no Elasticsearch."""

import json
from typing import Any

import pytest

from sidecars.devstack.elasticsearch.faults import Faults
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from sidecars.log_shipper.core.index_template import Target, template
from sidecars.log_shipper.sending.template import set_up
from sidecars.log_shipper.settings import LogShipperSettings
from tests.support.elastic import StartStandIn
from tests.support.rest import call, creates
from tests.support.scripted_http import Play, ScriptedHttp, answer, answer_json

STREAM = "logs-shop-test"
NAME = f"sidecars-{STREAM}"
UNCHANGED = f"the index template {NAME} is as it should be; nothing changed"
VERSION = answer_json({"version": {"number": "9.5.3"}})
THERE = answer_json({"index_templates": [{"index_template": template(Target(STREAM, "30d"))}]})
NO_STORE = answer_json(
    {"data_streams": [{"lifecycle": {"data_retention": "30d"}, "failure_store": {"enabled": False}}]}
)
DENIED = answer(
    403, b'{"error":{"type":"security_exception","reason":"unauthorized for [logs-shop-test]"},"status":403}'
)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a setup at this server: its status, the lines of its stdout, its stderr."""

    async def run(url: str, **given: Any) -> tuple[int, list[str], str]:
        settings = LogShipperSettings(elasticsearch_url=tuple(url.split(",")), data_stream=STREAM, **given)
        status = await set_up(settings)
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run


def stored(backend: Served) -> dict[str, Any]:
    (found,) = call(backend.url, "GET", f"/_index_template/{NAME}").body["index_templates"]
    template: dict[str, Any] = found["index_template"]
    return template


def stream(backend: Served) -> dict[str, Any]:
    (found,) = call(backend.url, "GET", f"/_data_stream/{STREAM}").body["data_streams"]
    about: dict[str, Any] = found
    return about


def write_one(backend: Served) -> None:
    body = creates({"a": {"@timestamp": "2026-11-22T10:00:00Z"}})
    assert call(backend.url, "POST", f"/{STREAM}/_bulk", body).body["errors"] is False


async def test_it_makes_the_template_once(stand_in: Served, said: Any) -> None:
    """Of several nodes, in an order drawn by lot, those that are away do not matter."""
    url = ",".join([*(f"http://127.0.0.1:{port}" for port in range(1, 9)), stand_in.url])
    assert await said(url) == (0, [f"created the index template {NAME} for the data stream {STREAM}"], "")
    made = stored(stand_in)
    assert made["template"]["data_stream_options"] == {"failure_store": {"enabled": True}}
    assert made["template"]["lifecycle"]["data_retention"] == "30d"
    assert made["priority"] > 100, "Elastic's own template for logs-*-* has 100"
    assert (await said(url))[1] == [UNCHANGED]
    assert stored(stand_in) == made


async def test_a_stream_that_is_there_gets_another_retention_too(stand_in: Served, said: Any) -> None:
    await said(stand_in.url)
    write_one(stand_in)
    assert (await said(stand_in.url, retention="7d"))[1] == [
        f"updated the index template {NAME}: template.lifecycle.data_retention",
        f"set the retention of the data stream {STREAM} to 7d",
    ]
    assert stream(stand_in)["lifecycle"]["data_retention"] == "7d"
    assert (await said(stand_in.url, retention=""))[1][
        -1
    ] == f"set the retention of the data stream {STREAM} to for ever"
    assert "data_retention" not in stored(stand_in)["template"]["lifecycle"]
    assert (await said(stand_in.url, retention=""))[1] == [UNCHANGED]


async def test_what_an_earlier_version_made_is_brought_up_to_date(stand_in: Served, said: Any) -> None:
    """Its mapping made a date of the first text that looked like one, and refused what came after."""
    earlier = {
        "index_patterns": [STREAM],
        "data_stream": {},
        "priority": 250,
        "template": {"mappings": {"properties": {"message": {"type": "text"}}}, "lifecycle": {"data_retention": "30d"}},
    }
    assert call(stand_in.url, "PUT", f"/_index_template/{NAME}", earlier).status == 200
    write_one(stand_in)
    _, lines, _ = await said(stand_in.url)
    assert lines[0].startswith(f"updated the index template {NAME}: template.settings")
    assert lines[1:] == [
        f"switched on the failure store of the data stream {STREAM}",
        f"{STREAM} keeps its present mapping until it rolls over: POST /{STREAM}/_rollover does it now",
    ]
    assert stream(stand_in)["failure_store"]["enabled"] is True
    assert (await said(stand_in.url))[1] == [UNCHANGED]


async def test_a_plain_index_needs_none(stand_in: Served, said: Any) -> None:
    status, (line,), _ = await said(stand_in.url, index="plain")
    assert (status, "nothing to set up" in line) == (0, True)


async def test_who_says_no_is_quoted(start_stand_in: StartStandIn, said: Any) -> None:
    away = await said("http://127.0.0.1:1")
    assert away[:2] == (1, [])
    assert "(check elasticsearch_url)" in away[2]
    for status, hint in ((403, "manage_index_templates"), (500, "")):
        backend = start_stand_in(ServerOptions(faults=Faults(request_status=status, scope="all")))
        code, lines, text = await said(backend.url)
        assert (code, lines) == (1, [])
        assert f"cannot set up {STREAM}: HTTP {status}: " in text
        assert hint in text
    other = {"index_patterns": [STREAM], "data_stream": {}, "priority": 250}
    backend = start_stand_in(ServerOptions())
    assert call(backend.url, "PUT", "/_index_template/another", other).status == 200
    assert "[another]" in (await said(backend.url))[2]


async def setting_up(*script: Play) -> tuple[int, list[tuple[str, str]]]:
    """Exit status, and the requests that came."""
    async with ScriptedHttp(*script) as server:
        settings = LogShipperSettings(elasticsearch_url=(server.url,), data_stream=STREAM)
        status = await set_up(settings)
        return status, [(each.method, each.target) for each in server.requests]


async def test_a_failure_store_that_may_not_be_switched_on_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status, requests = await setting_up(VERSION, THERE, NO_STORE, DENIED)
    assert status == 0
    assert requests[-1] == ("PUT", f"/_data_stream/{STREAM}/_options")
    said = capsys.readouterr().out
    assert f"the failure store of the data stream {STREAM} stays off: HTTP 403: security_exception" in said


async def test_a_version_that_may_not_be_seen_does_not_matter(capsys: pytest.CaptureFixture[str]) -> None:
    status, requests = await setting_up(DENIED, answer(404, b"{}"), answer_json({"acknowledged": True}), answer(404))
    assert (status, [method for method, _ in requests]) == (0, ["GET", "GET", "PUT", "GET"])
    assert capsys.readouterr().out.startswith("created")


NO_SERVERS: dict[str, tuple[Play, str]] = {
    "a redirect": (answer(302, Location="https://login.example/"), "HTTP 302: redirected to https://login.example/"),
    "a page": (answer(200, b"<html>welcome</html>"), "answers, but not as Elasticsearch does"),
    "another JSON": (answer_json({"hello": "world"}), "answers, but not as Elasticsearch does"),
    "a failure": (answer(500, json.dumps({"error": {"type": "x", "reason": "y"}}).encode()), "HTTP 500: x: y"),
}


@pytest.mark.parametrize(("play", "text"), NO_SERVERS.values(), ids=NO_SERVERS.keys())
async def test_what_is_no_elasticsearch_is_named(play: Play, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = await setting_up(play)
    assert status == 1
    assert text in capsys.readouterr().err
