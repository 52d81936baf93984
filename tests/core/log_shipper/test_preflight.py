"""What `check` makes of the answers of Elasticsearch."""

import json

import pytest

from sidecars.log_shipper.core.bulk import Answer
from sidecars.log_shipper.core.preflight import existence, nodes, rights, target, which_blocks, which_rights

URL = "http://es:9200/"
STREAM = "logs-shop-default"


def answer(status: int, body: object = None, location: str = "") -> Answer:
    return Answer(status, json.dumps(body).encode() if body is not None else b"", url=URL, location=location)


def version(number: str, **more: str) -> dict[str, object]:
    return {"name": "n", "version": {"number": number, **more}}


SECURITY = {"error": {"type": "security_exception", "reason": "unable to authenticate user"}, "status": 401}
NODES: dict[str, tuple[Answer, str, list[str]]] = {
    "Elasticsearch": (answer(200, version("9.1.0")), "ok", [URL, "Elasticsearch 9.1.0"]),
    "OpenSearch": (answer(200, version("2.19.0", distribution="opensearch")), "ok", ["OpenSearch 2.19.0"]),
    "one that is too old": (answer(200, version("7.8.1")), "error", ["7.8.1", "7.9"]),
    "an odd version": (answer(200, version("9.x-SNAPSHOT")), "ok", ["9.x"]),
    "something else": (answer(200, {"hello": "world"}), "error", ["no Elasticsearch", "elasticsearch_url"]),
    "a page": (Answer(200, b"<html>", url=URL), "error", ["no Elasticsearch"]),
    "one without that question": (answer(405, {"error": "Incorrect HTTP method"}), "warning", ["answers"]),
    "another server": (Answer(404, b"not found", url=URL), "error", ["404"]),
    "nobody": (Answer(0, reason="connection", detail="http://es:9200: refused"), "error", ["refused", "check"]),
    "no credentials": (answer(401, SECURITY), "error", ["401", "unable to authenticate", "api_key_file"]),
    "no right to see the version": (answer(403, SECURITY), "ok", ["answers", "monitor"]),
    "a redirect": (answer(302, None, "http://kibana/app"), "error", ["redirects to http://kibana/app"]),
    "a gateway in trouble": (
        Answer(503, b"no healthy upstream", url=URL),
        "error",
        ["503", "no healthy upstream"],
    ),
}


@pytest.mark.parametrize(("given", "level", "words"), NODES.values(), ids=NODES.keys())
def test_a_node_is_told_by_its_answer(given: Answer, level: str, words: list[str]) -> None:
    (finding,) = nodes([given])
    assert finding.level == level
    assert [word for word in words if word not in finding.text] == []


def test_a_node_that_is_away_is_no_error_beside_one_that_answers() -> None:
    away, there = Answer(0, detail="http://b: refused"), answer(200, version("9.1.0"))
    assert [finding.level for finding in nodes([away, there])] == ["warning", "ok"]
    assert [finding.level for finding in nodes([away, away])] == ["error", "error"]


def rights_answer(**given: bool) -> Answer:
    return answer(200, {"username": "shipper", "has_all_requested": False, "index": {STREAM: given}})


RIGHTS: dict[str, tuple[Answer, bool | None, str, list[str]]] = {
    "all": (rights_answer(create_doc=True, auto_configure=True), False, "ok", ["shipper may write", STREAM]),
    "none": (
        rights_answer(create_doc=False, auto_configure=False),
        True,
        "error",
        ["may not write", "create_doc"],
    ),
    "not to make it": (rights_answer(create_doc=True, auto_configure=False), False, "error", ["auto_configure"]),
    "not to add fields": (rights_answer(create_doc=True, auto_configure=False), True, "warning", ["add fields"]),
    "perhaps not": (rights_answer(create_doc=True, auto_configure=False), None, "warning", ["auto_configure"]),
    "no security": (answer(400, {"error": "no handler found for uri"}), None, "ok", ["no credentials"]),
    "refused": (answer(401, SECURITY), None, "error", ["401"]),
    "not told": (answer(403, SECURITY), None, "warning", ["403"]),
}


@pytest.mark.parametrize(("given", "exists", "level", "words"), RIGHTS.values(), ids=RIGHTS.keys())
def test_whether_the_target_may_be_written_to(given: Answer, exists: bool | None, level: str, words: list[str]) -> None:
    finding = rights(given, STREAM, exists=exists)
    assert finding.level == level
    assert [word for word in words if word not in finding.text] == []


def test_a_target_that_is_blocked_is_an_error() -> None:
    blocked = {".ds-1": {"settings": {"index.blocks.read_only_allow_delete": "true"}}, ".ds-2": {"settings": {}}}
    (finding,) = target(answer(200, blocked), STREAM, is_stream=True)
    assert finding.level == "error"
    assert ".ds-1 has index.blocks.read_only_allow_delete" in finding.text


@pytest.mark.parametrize("body", [{}, {".ds-1": {"settings": {"index.blocks.write": "false"}}}, "what"])
def test_a_target_that_is_not_blocked_is_no_finding(body: object) -> None:
    assert target(answer(200, body), STREAM, is_stream=True) == []
    assert existence(answer(200, body)) is True


@pytest.mark.parametrize(
    ("name", "is_stream", "level"),
    [(STREAM, True, "ok"), ("lines", False, "ok"), ("my-stream", True, "warning")],
)
def test_a_target_that_is_not_there_yet(name: str, is_stream: bool, level: str) -> None:
    (finding,) = target(answer(404), name, is_stream=is_stream)
    assert (finding.level, name in finding.text) == (level, True)


@pytest.mark.parametrize("status", [0, 400, 401, 403, 500])
def test_what_is_not_told_is_not_known(status: int) -> None:
    assert existence(answer(status)) is None
    assert target(answer(status), STREAM, is_stream=True) == []


def test_a_name_is_quoted_in_the_question() -> None:
    assert which_blocks("a%b").path.startswith("/a%25b/_settings/")
    assert json.loads(which_rights("a").body)["index"][0]["names"] == ["a"]
