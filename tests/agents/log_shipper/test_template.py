"""`--setup` against a server that is played: what it may not do, and what is no Elasticsearch."""

import json

import pytest

from sidecars.log_shipper.core.index_template import Target, template
from sidecars.log_shipper.sending.template import set_up
from sidecars.log_shipper.settings import LogShipperSettings
from tests.support.scripted_http import Play, ScriptedHttp, answer, answer_json

STREAM = "logs-shop-test"
VERSION = answer_json({"version": {"number": "9.5.3"}})
THERE = answer_json({"index_templates": [{"index_template": template(Target(STREAM, "30d"))}]})
NO_STORE = answer_json(
    {"data_streams": [{"lifecycle": {"data_retention": "30d"}, "failure_store": {"enabled": False}}]}
)
DENIED = answer(
    403, b'{"error":{"type":"security_exception","reason":"unauthorized for [logs-shop-test]"},"status":403}'
)


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
