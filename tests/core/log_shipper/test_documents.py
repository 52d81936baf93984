"""Lines become documents: valid JSON, one line each, with the text as it was written."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecars.log_shipper.core.documents import Encoded, Shape, Template, merged, nested, texts_of
from tests.support.records import taken_of

TIME = "2026-11-22T13:45:00.000Z"
PLACES = [Shape({}), Shape({}, with_id=False), Shape({}, action=False), Shape({"a": {"b": "c"}, "log": {"x": '"'}})]
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_characters="\n", exclude_categories=["Cs"]),
        st.sampled_from('",\\[]{}\0\x1f\x7f\x85\u2028\u2029\ufeff\ud7ff😀'),
    ),
    max_size=12,
)


def strict(text: str) -> Any:
    """Parse JSON as Elasticsearch does: a name given twice is an error."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs), f"a name twice in {text}"
        return dict(pairs)

    return json.loads(text, object_pairs_hook=unique)


def documents(encoded: Encoded, shape: Shape) -> list[tuple[Any, Any]]:
    """Action (None without) and document of each record; every one is exactly as many lines as it must be."""
    found = []
    for text in encoded.texts:
        assert text.endswith("\n")
        lines = text.encode().split(b"\n")[:-1]
        assert len(lines) == (2 if shape.action else 1)
        assert text.count("\n") == len(lines)
        action = strict(lines[0].decode()) if shape.action else None
        found.append((action, strict(lines[-1].decode())))
    assert len(found) == len(encoded.spans)
    return found


@given(st.lists(TEXTS, max_size=8), st.sampled_from(PLACES))
@example(['"', '"', '","', '\\","', ",", "", "\\", ',"', '",'], PLACES[0])
@example(["a\u2028b", "a\x85b", "a\x0cb", "\x1e"], PLACES[1])
@example([""], PLACES[2])
@example(["a\\b", 'x",', "y"], PLACES[0])  # splitting the encoded list at `","` would go wrong here
def test_every_text_comes_back(texts: list[str], shape: Shape) -> None:
    taken = taken_of([text.encode() for text in texts], 1)
    encoded = Template(shape, "/logs/a.log", "P" * 16).plain(taken, TIME)
    assert encoded.invalid_utf8_lines == 0
    found = documents(encoded, shape)
    assert [document["message"] for _, document in found] == [text.removesuffix("\r") for text in texts]
    for (action, document), start in zip(found, taken.starts, strict=True):
        assert document["@timestamp"] == TIME
        assert document["log"]["file"] == {"path": "/logs/a.log"}
        assert document["log"]["offset"] == start
        assert action is None or list(action) == ["create"]


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=6), st.sampled_from(PLACES))
def test_any_bytes_become_one_document_a_line(lines: list[bytes], shape: Shape) -> None:
    encoded = Template(shape, "/logs/a.log", "P" * 16).plain(taken_of(lines, 1), TIME)
    found = documents(encoded, shape)
    expected = [line.decode("utf-8", "replace").removesuffix("\r") for line in lines]
    assert [document["message"] for _, document in found] == expected
    assert encoded.invalid_utf8_lines == sum("\ufffd" in text for text in expected) - sum(
        "\ufffd".encode() in line and "\ufffd" not in line.decode("utf-8", "replace").replace("\ufffd", "", 1)
        for line in lines
        if _is_valid(line)
    )


def _is_valid(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


FORGERIES = [
    '{"create":{"_id":"x"}}',
    '"}\n{"create":{}}',
    'x"}\r{"delete":{"_id":"1"}}',
    '\u2028{"create":{}}',
    '\\n{"create":{}}',
    '","x","',
]


@pytest.mark.parametrize("text", FORGERIES)
@pytest.mark.parametrize("shape", PLACES)
def test_a_line_cannot_forge_an_action(text: str, shape: Shape) -> None:
    lines = [part.encode() for part in text.split("\n")]
    encoded = Template(shape, f"/logs/{text}.log", "P" * 16).plain(taken_of([b"before", *lines, b"after"]), TIME)
    assert len(documents(encoded, shape)) == len(lines) + 2


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\\b", "\u2028", "ä", b"caf\xe9".decode("utf-8", "surrogateescape")])
def test_any_file_name_can_be_told(name: str) -> None:
    encoded = Template(Shape({}), f"/logs/{name}", "P" * 16).plain(taken_of([b"x"]), TIME)
    (_, document), = documents(encoded, Shape({}))  # fmt: skip
    printable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert document["log"]["file"]["path"] == f"/logs/{printable}"


def test_a_cut_line_is_marked_and_the_others_are_not() -> None:
    shape = Shape({"log": {"level": '"log":{'}, "z": '"log":{'})
    taken = taken_of([b'"log":{', b'"log":{', b""], cut=frozenset({1, 2}))
    found = documents(Template(shape, '/"log":{', "P" * 16).plain(taken, TIME), shape)
    assert [document["log"].get("flags") for _, document in found] == [None, ["truncated"], ["truncated"]]
    assert [document["message"] for _, document in found] == ['"log":{', '"log":{', ""]


def test_ids_tell_offsets_and_contents_apart() -> None:
    template = Template(Shape({}), "/a", "P" * 16)
    texts = [
        *template.plain(taken_of([b"same", b"same"]), TIME).texts,
        *template.plain(taken_of([b"othe"]), TIME).texts,
    ]
    ids = [json.loads(text.partition("\n")[0])["create"]["_id"] for text in texts]
    assert len(set(ids)) == 3
    assert all(identity.startswith("P" * 16) for identity in ids)
    again = template.plain(taken_of([b"same"]), "2030-01-01T00:00:00.000Z").texts[0]
    assert json.loads(again.partition("\n")[0])["create"]["_id"] == ids[0]


@given(TEXTS, st.integers(0, 2**63))
def test_the_action_of_a_single_record_is_that_of_a_block(text: str, offset: int) -> None:
    template = Template(Shape({}), "/a", "P" * 16)
    taken = taken_of([text.encode()], offset)
    assert template.plain(taken, TIME).texts[0].startswith(template.action(offset, text.encode()) + '{"@timestamp"')


MARKS: dict[str, tuple[list[bytes], int, list[str]]] = {
    "a byte order mark at the start of the file": ([b"\xef\xbb\xbfone", b"\xef\xbb\xbftwo"], 0, ["one", "\ufefftwo"]),
    "a byte order mark later on is text": ([b"\xef\xbb\xbfone"], 9, ["\ufeffone"]),
    "carriage returns before the newline": ([b"one\r", b"t\rwo", b"\r"], 0, ["one", "t\rwo", ""]),
    "only one carriage return": ([b"one\r\r"], 0, ["one\r"]),
    "a byte order mark alone": ([b"\xef\xbb\xbf"], 0, [""]),
    "half a byte order mark": ([b"\xef\xbb"], 0, ["\ufffd"]),
}


@pytest.mark.parametrize(("lines", "offset", "texts"), MARKS.values(), ids=MARKS.keys())
def test_marks_that_are_not_text_are_left_out(lines: list[bytes], offset: int, texts: list[str]) -> None:
    assert texts_of(taken_of(lines, offset))[0] == texts


def test_each_line_with_invalid_bytes_counts_once_and_spoils_no_other() -> None:
    texts, invalid = texts_of(taken_of([b"\xe2\x82", b"\xac\xff\xff", "gr\u00fcn".encode()]))
    assert invalid == 2
    assert texts[2] == "gr\u00fcn"
    assert all("\ufffd" in text for text in texts[:2])


NESTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"a.b": 1, "a.c": 2, "d": 3}, {"a": {"b": 1, "c": 2}, "d": 3}),
    ({"a": 1, "a.b": 2}, {"a": {"b": 2}}),
    ({"a.b.c": 1, "a.b.d": 2}, {"a": {"b": {"c": 1, "d": 2}}}),
]


@pytest.mark.parametrize(("flat", "expected"), NESTED)
def test_dots_nest(flat: dict[str, Any], expected: dict[str, Any]) -> None:
    assert nested(flat) == expected


@given(*[st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))] * 2)
def test_merging_changes_neither_side(one: Any, other: Any) -> None:
    base, over = {"x": one}, {"x": other}
    before = json.dumps([base, over])
    whole = merged(base, over)
    assert json.dumps([base, over]) == before
    assert merged(whole, over) == whole
    assert merged(base, {}) == base
    if not isinstance(other, dict):
        assert whole == over
