"""Which documents Elasticsearch takes: with a mapping that grows by itself, and under the template that `--setup` puts.

The stand-in is held to the same answers as the real server, so that a shipper that gets its documents past the one
gets them past the other.
"""

import json
import secrets
from typing import Any

import pytest

from sidecars.log_shipper.core.index_template import Target, template
from tests.support.rest import call
from tests.support.shapes import SHAPES, rotated
from tests.support.timestamps import DATES, NEARLY

NOW = "2026-11-22T10:00:00.000Z"


def statuses(url: str, target: str, documents: list[Any]) -> list[int]:
    """The status of each document, all sent in one request; a text is sent as it is."""
    lines = [each if isinstance(each, str) else json.dumps({"@timestamp": NOW, **each}) for each in documents]
    body = "".join(f'{{"create":{{}}}}\n{line}\n' for line in lines).encode()
    reply = call(url, "POST", f"/{target}/_bulk", body)
    assert reply.status == 200, reply
    found = [item["create"] for item in reply.body["items"]]
    kinds = {item["error"]["type"] for item in found if item["status"] == 400}
    assert kinds <= {"document_parsing_exception", "illegal_argument_exception"}
    return [item["status"] for item in found]


@pytest.fixture
def ours(url: str) -> str:
    """A data stream under our template."""
    name = f"logs-ours-{secrets.token_hex(6)}"
    assert call(url, "PUT", f"/_index_template/{name}", template(Target(name, "30d"))).status == 200
    return name


@pytest.mark.parametrize("first", range(len(SHAPES)), ids=SHAPES.keys())
def test_under_our_template_a_field_takes_every_shape_whatever_came_first(url: str, ours: str, first: int) -> None:
    documents = [{"a": value} for value in rotated(first)]
    assert set(statuses(url, ours, documents)) == {201}


def test_under_our_template_fields_of_the_agent_may_be_as_long_as_they_come(url: str, ours: str) -> None:
    long = "x" * 40_000
    documents = [
        {"message": long, "stream": long, "log": {"level": long, "original": long, "file": {"path": long}}},
        {"kubernetes": {"namespace": long, "node": {"name": long}, "pod": {"name": long, "uid": long}}},
        {"labels": {"a": long}, "log": {"flags": [long], "offset": long}},
    ]
    assert set(statuses(url, ours, documents)) == {201}


def test_under_our_template_there_may_be_any_number_of_fields(url: str, ours: str) -> None:
    documents = [{f"{letter}{number}": {"x": number} for number in range(700)} for letter in "abc"]
    assert statuses(url, ours, documents) == [201, 201, 201]


def test_our_template_reads_back_as_it_was_put(url: str, ours: str) -> None:
    (read,) = call(url, "GET", f"/_index_template/{ours}").body["index_templates"]
    content = template(Target(ours, "30d"))["template"]
    stored = read["index_template"]["template"]
    assert stored["mappings"] == content["mappings"]
    assert stored["settings"] == content["settings"]
    assert stored["data_stream_options"] == content["data_stream_options"]


def test_times_are_taken_as_the_shipper_believes(url: str, stream: str) -> None:
    assert set(statuses(url, stream, [{"@timestamp": text} for text in DATES])) == {201}
    assert set(statuses(url, stream, [{"@timestamp": text} for text in NEARLY])) == {400}


COUNTS = [
    (1795355100000, 201),
    ("1795355100000", 201),
    (1795355100000.5, 201),
    (True, 400),
    ("1.79E12", 400),
    (2**63, 400),
]


@pytest.mark.parametrize(("value", "status"), COUNTS)
def test_counts_as_times(url: str, stream: str, value: object, status: int) -> None:
    assert statuses(url, stream, [{"@timestamp": value}]) == [status]


DEFAULT: dict[str, tuple[list[Any], list[int]]] = {
    "a text after a number": ([{"a": 1}, {"a": "x"}, {"a": "2"}], [201, 400, 201]),
    "a text after a date": ([{"a": "2026-11-22"}, {"a": "x"}, {"a": "2026-11-23"}], [201, 400, 201]),
    "a text after a truth": ([{"a": True}, {"a": "x"}, {"a": "false"}], [201, 400, 201]),
    "anything after a text": ([{"a": "x"}, {"a": 1}, {"a": True}, {"a": 0.5}], [201, 201, 201, 201]),
    "an object after a text": ([{"a": "x"}, {"a": {"b": 1}}], [201, 400]),
    "a text after an object": ([{"a": {"b": 1}}, {"a": "x"}], [201, 400]),
    "a text after an empty object": ([{"a": {}}, {"a": "x"}], [201, 400]),
    "an object after nothing": ([{"a": None}, {"a": []}, {"a": {"b": 1}}], [201, 201, 201]),
    "a list that mixes": ([{"a": [1, "x"]}, {"b": ["x", 1]}, {"c": [1, {"d": 1}]}], [400, 201, 400]),
    "a list of objects that mix": ([{"a": [{"b": 1}, {"b": "x"}]}], [400]),
    "of a refused document nothing is learnt": ([{"a": 1, "b": [1, "x"]}, {"a": "x"}], [400, 201]),
    "a dotted name after the nested one": ([{"a": {"b": 1}}, {"a.b": "x"}, {"a.b": 2}], [201, 400, 201]),
    "a dotted name below a value": ([{"a": 1}, {"a.b": 1}], [201, 400]),
    "both in one document": ([{"a.b": 1, "a": {"b": 2}}, {"c": 1, "c.d": 2}], [201, 400]),
    "no name": ([{"": 1}, {"a": {"": 1}}], [400, 400]),
    "a name of spaces": ([{" ": 1}, {"\t": 1}, {"a": {" ": 1}}], [400, 400, 400]),
    "dots at the ends": ([{".a": 1}, {"a.": 1}, {"b..c": 1}, {".": 1}, {"d. .e": 1}], [400, 201, 400, 400, 400]),
    "names of metadata": (
        [{"_id": 1}, {"_source": {"a": 1}}, {"_index.x": 1}, {"a": {"_id": 1}}],
        [400, 400, 400, 201],
    ),
    "other names with an underscore": ([{"_type": 1}, {"_foo": 1}], [201, 201]),
    "numbers beyond their type": ([{"a": 10**30}, {"b": 1.5e300}, {"c": 2**63 - 1}], [400, 400, 201]),
    "a number of 1,001 digits": ([f'{{"@timestamp":"{NOW}","a":{"1" * 1001}}}'], [400]),
    "no number": ([f'{{"@timestamp":"{NOW}","a":NaN}}'], [400]),
    "a name twice": (
        [f'{{"@timestamp":"{NOW}","a":1,"a":2}}', f'{{"@timestamp":"{NOW}","a":{{"b":1,"b":1}}}}'],
        [400, 400],
    ),
    "a name twice in two objects": ([f'{{"@timestamp":"{NOW}","a":[{{"b":1}},{{"b":"\\":"}}]}}'], [400]),
    "19 levels": ([{"a": json.loads('{"n":' * 19 + "1" + "}" * 19)}], [201]),
    "20 levels": ([{"a": json.loads('{"n":' * 20 + "1" + "}" * 20)}], [400]),
    "1,000 fields more": ([{f"a{number}": number for number in range(1000)}, {"b": 1}], [400, 201]),
}


@pytest.mark.parametrize(("documents", "expected"), DEFAULT.values(), ids=DEFAULT.keys())
def test_without_a_template_of_ours(url: str, index: str, documents: list[Any], expected: list[int]) -> None:
    assert [statuses(url, index, [document])[0] for document in documents] == expected


def test_a_keyword_is_refused_when_it_is_too_long_unless_it_may_be_ignored(url: str, index: str) -> None:
    properties = {"a": {"type": "keyword"}, "b": {"type": "keyword", "ignore_above": 1024}}
    assert call(url, "PUT", f"/{index}", {"mappings": {"properties": properties}}).status == 200
    assert statuses(url, index, [{"a": "x" * 32_766}, {"a": "x" * 32_767}, {"b": "x" * 40_000}]) == [201, 400, 201]
