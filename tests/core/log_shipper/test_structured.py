"""JSON and CRI lines: what they carry arrives, what they cannot carry does no harm."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.documents import Encoded, Shape, Template
from sidecars.log_shipper.core.lines import Taken
from sidecars.log_shipper.core.structured import cri_documents, json_documents
from tests.support import records
from tests.support.records import AT, taken_of

TIME = "2026-11-22T13:45:00.000Z"
SHAPE = Shape({"kubernetes": {"pod": {"name": "p"}}, "labels": {"team": "t"}})
TEMPLATE = Template(SHAPE, "/a.log", "P" * 16)


def documents(encoded: Encoded) -> list[dict[str, Any]]:
    """The documents; each record is an action of ours and one line of JSON that Elasticsearch takes."""
    found = []
    for text in encoded.texts:
        action, document, nothing = text.encode().decode("utf-8").split("\n")
        assert not nothing
        assert list(json.loads(action)) == ["create"]
        found.append(json.loads(document))
    assert len(found) == len(encoded.spans)
    return found


def from_json(line: str | bytes) -> dict[str, Any]:
    data = line if isinstance(line, bytes) else line.encode()
    (document,) = documents(json_documents(TEMPLATE, taken_of([data], 7), TIME))
    assert document["log"]["offset"] == 7
    assert document["log"]["file"]["path"] == "/a.log"
    assert document["kubernetes"]["pod"]["name"]
    return document


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
NAMES = st.one_of(
    st.sampled_from(["log", "kubernetes", "labels", "@timestamp", "message", "time", "stream", "log.offset"]),
    st.text(max_size=4),
)


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.booleans())
def test_any_json_object_becomes_one_document_of_ours(value: dict[str, Any], ascii_only: bool) -> None:
    document = from_json(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace"))
    assert isinstance(document["@timestamp"], str | int | float)
    assert not isinstance(document["@timestamp"], bool)


PLAIN_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), max_size=4).map("x".__add__)
PLAIN_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(PLAIN_NAMES, inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(PLAIN_NAMES, PLAIN_VALUES, max_size=4))
def test_fields_that_clash_with_none_of_ours_arrive_as_they_are(value: dict[str, Any]) -> None:
    try:
        line = json.dumps(value).encode()
        json.loads(line.decode()) and line.decode().encode("utf-8")
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    document = from_json(line)
    assert {name: document[name] for name in value} == value


@given(st.binary(max_size=40).filter(lambda line: b"\n" not in line))
def test_any_bytes_become_one_document(line: bytes) -> None:
    for data in (line, b"{" + line, b'{"a":"' + line + b'"}'):
        from_json(data)


PLAIN: dict[str, str] = {
    "no object": "[1,2]",
    "a number": "7",
    "nothing": "",
    "half an object": '{"a":1',
    "two objects": '{"a":1}{"b":2}',
    "something after it": '{"a":1} x',
    "not a number": '{"a":NaN}',
    "a number beyond all floats": '{"a":1e999}',
    "a lone high surrogate": '{"a":"\\ud800"}',
    "a lone low surrogate": '{"a":"\\udc00x"}',
    "a lone surrogate for a name": '{"\\ud800":1}',
    "2,000 arrays in each other": '{"a":' + "[" * 2000 + "]" * 2000 + "}",
    "100,000 open arrays": '{"a":' + "[" * 100_000,
}


@pytest.mark.parametrize("line", PLAIN.values(), ids=PLAIN.keys())
def test_what_is_no_object_is_shipped_whole_and_counted(line: str) -> None:
    encoded = json_documents(TEMPLATE, taken_of([line.encode()]), TIME)
    assert encoded.unparsed_lines == 1
    (document,) = documents(encoded)
    assert (document["message"], document["@timestamp"]) == (line, TIME)


def test_any_depth_of_nesting_is_shipped() -> None:
    """Reading takes one call fewer than writing, so that near the limit what could be read could not be written."""
    for depth in [*range(1, 60, 7), *range(850, 1010)]:
        line = '{"a":' + "[" * depth + "]" * depth + "}"
        text = json_documents(TEMPLATE, taken_of([line.encode()]), TIME).texts[0]
        assert text.count("[") == depth


FIELDS: dict[str, tuple[str, dict[str, Any]]] = {  # where each name goes: test_fields.py
    "its time is the document's": (f'{{"@timestamp":"{AT}"}}', {"@timestamp": AT}),
    "a time in milliseconds too": ('{"@timestamp":1795355100000}', {"@timestamp": 1795355100000}),
    "a near date moves aside": (
        '{"@timestamp":"2026-11-22T13:45:00+00:00Z"}',
        {"@timestamp": TIME, "labels": {"team": "t", "@timestamp": "2026-11-22T13:45:00+00:00Z"}},
    ),
    "its own fields of the pod stay beside ours": (
        '{"kubernetes":{"pod":{"name":"q"}},"kubernetes.cluster":"c"}',
        {"kubernetes": {"pod": {"name": "q"}, "cluster": "c"}},
    ),
    "what clashes with our node moves aside": (
        '{"kubernetes":{"node":"n"}}',
        {"kubernetes": {"pod": {"name": "p"}}, "labels": {"team": "t", "kubernetes_node": "n"}},
    ),
    "no time at all: ours": ('{"a":1}', {"@timestamp": TIME, "a": 1}),
    "the last of a name given twice": ('{"a":1,"a":2}', {"a": 2}),
    "integers beyond 64 bits": ('{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    "surrogates in pairs": ('{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
    "a message of its own": ('{"message":"m"}', {"message": "m"}),
    "space around it": (' {"a":1} ', {"a": 1}),
    "docker's format": (
        f'{{"log":"text\\n","stream":"stdout","time":"{AT}"}}',
        {"message": "text", "stream": "stdout", "@timestamp": AT},
    ),
    "docker's format without a newline": (f'{{"log":"te","stream":"x","time":"{AT}"}}', {"message": "te"}),
    "labels of its own beside one that clashes": (
        '{"log":"x","labels":{"a":"b"}}',
        {"labels": {"team": "t", "a": "b", "log": "x"}},
    ),
    **{
        f"{value} is no time": (f'{{"@timestamp":{value}}}', {"@timestamp": TIME})
        for value in ("null", '{"a":1}', "[1]", "true", '"yesterday"', '""')
    },
}


@pytest.mark.parametrize(("line", "expected"), FIELDS.values(), ids=FIELDS.keys())
def test_an_object_gives_its_fields(line: str, expected: dict[str, Any]) -> None:
    document = from_json(line)
    assert {name: document.get(name) for name in expected} == expected


def test_an_object_called_log_joins_ours_and_cannot_move_the_place() -> None:
    log = from_json('{"log":{"level":"info","offset":-1,"file":{"path":"/x","line":3}}}')["log"]
    assert log == {"level": "info", "offset": 7, "file": {"path": "/a.log", "line": 3}}


def test_a_cut_object_is_shipped_whole_and_marked() -> None:
    encoded = json_documents(TEMPLATE, taken_of([b'{"a":1}'], cut=frozenset({0})), TIME)
    (document,) = documents(encoded)
    assert (document["message"], document["log"]["flags"], encoded.unparsed_lines) == ('{"a":1}', ["truncated"], 1)


def cri(text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return records.cri(text, tag, stream).encode()


CRI: dict[str, tuple[bytes, tuple[str, str | None]]] = {
    "a record": (cri("a"), ("a", "stdout")),
    "of the other stream": (cri("b", "F", "stderr"), ("b", "stderr")),
    "a joined one keeps the tag of its first part": (cri("ab", "P"), ("ab", "stdout")),
    "an empty text": (cri(""), ("", "stdout")),
    "an empty text without the space": (cri("").rstrip(), ("", "stdout")),
    "spaces belong to the text": (cri("  a "), ("  a ", "stdout")),
    "more tags": (cri("b", "F:x:y"), ("b", "stdout")),
    "another stream is garbage": (cri("a", "F", "other"), (cri("a", "F", "other").decode(), None)),
    "another tag is garbage": (cri("a", "X"), (cri("a", "X").decode(), None)),
    "a word is no tag": (cri("", "FATAL").rstrip(), (cri("", "FATAL").decode().rstrip(), None)),
    "garbage": (b"garbage", ("garbage", None)),
    "a record that looks like another within": (cri(cri("a").decode()), (cri("a").decode(), "stdout")),
    "an offset of hours": (b"2026-11-22T13:45:00+02:00 stdout F a", ("a", "stdout")),
}


@pytest.mark.parametrize(("line", "expected"), CRI.values(), ids=CRI.keys())
def test_a_cri_line_becomes_a_document(line: bytes, expected: tuple[str, str | None]) -> None:
    taken = taken_of([line], 7)
    encoded = cri_documents(TEMPLATE, taken, TIME)
    (document,) = documents(encoded)
    assert (document["message"], document.get("stream")) == expected
    assert encoded.spans == taken.spans
    assert encoded.unparsed_lines == (expected[1] is None)


@given(st.lists(st.one_of(st.builds(cri, st.text("ab")), st.binary(max_size=10)), max_size=12))
def test_every_cri_line_is_a_document(lines: list[bytes]) -> None:
    taken = taken_of([line.replace(b"\n", b"") for line in lines])
    encoded = cri_documents(TEMPLATE, taken, TIME)
    assert encoded.spans == taken.spans
    assert len(documents(encoded)) == len(lines)


def test_a_time_that_is_none_moves_aside_and_ours_stands_in() -> None:
    """Nearly every line of a broken clock or writer is one: it must not be refused for that."""
    (document,) = documents(cri_documents(TEMPLATE, taken_of([b"2026-13-22T13:45:00Z stdout F a"]), TIME))
    assert (document["@timestamp"], document["message"], document["stream"]) == (TIME, "a", "stdout")
    assert document["labels"] == {"team": "t", "@timestamp": "2026-13-22T13:45:00Z"}


def test_the_time_of_a_cri_record_is_its_own() -> None:
    (document,) = documents(cri_documents(TEMPLATE, taken_of([b"2026-01-01T00:00:00Z stdout F a"]), TIME))
    assert document["@timestamp"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("of", [cri_documents, json_documents])
def test_what_a_record_lacks_stands_in_its_flags(of: Callable[[Template, Taken, str], Encoded]) -> None:
    taken = taken_of([b'{"a":1}'] * 4, cut=frozenset({1, 3}))
    taken.partial = frozenset({2, 3})
    found = [document["log"].get("flags") for document in documents(of(TEMPLATE, taken, TIME))]
    assert found == [None, ["truncated"], ["partial"], ["truncated", "partial"]]
