"""A JSON object becomes fields: one spelling each, ours of their own type, nothing refused and nothing lost."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecars.log_shipper.core.fields import fields_of, places

OURS = places({"service": {"name": "cart"}, "team": "t"})


def of(line: str) -> dict[str, Any]:
    found = fields_of(line, OURS)
    assert found is not None
    return found


NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "dots nest": ('{"a.b":1,"a.c.d":2}', {"a": {"b": 1, "c": {"d": 2}}}),
    "both spellings are one object": ('{"a.b":1,"a":{"c":2}}', {"a": {"b": 1, "c": 2}}),
    "the nested one first": ('{"a":{"c":2},"a.b":1}', {"a": {"c": 2, "b": 1}}),
    "deeper in each": ('{"a.b":{"c":1},"a":{"b.d":2}}', {"a": {"b": {"c": 1, "d": 2}}}),
    "within lists": ('{"a":[{"b.c":1},[{"d.e":2}],3]}', {"a": [{"b": {"c": 1}}, [{"d": {"e": 2}}], 3]}),
    "the same value in both spellings": ('{"a.b":1,"a":{"b":1}}', {"a": {"b": 1}}),
    "two values in two spellings": ('{"a.b":1,"a":{"b":"x"}}', {"a": {"b": [1, "x"]}}),
    "one and true are two values": ('{"a.b":1,"a":{"b":true}}', {"a": {"b": [1, True]}}),
    "lists in two spellings": ('{"a.b":[1,2],"a":{"b":3}}', {"a": {"b": [1, 2, 3]}}),
    "a value where another spelling has an object": ('{"a":1,"a.b":2}', {"a": {"b": 2}, "labels": {"a": 1}}),
    "an object where another spelling has a value": ('{"a.b":2,"a":1}', {"a": {"b": 2}, "labels": {"a": 1}}),
    "the same further in": ('{"x":{"a.b":1,"a.b.c":2}}', {"x": {"a": {"b": {"c": 2}}}, "labels": {"x_a_b": 1}}),
    "no name": ('{"":1,"a":{"":2}}', {"_": 1, "a": {"_": 2}}),
    "nothing but spaces": ('{" ":1,"\\t":2}', {"_": [1, 2]}),
    "dots at the ends": (
        '{".a":1,"b.":2,"c..d":3,".":4}',
        {"_": {"a": 1, "_": 4}, "b": {"_": 2}, "c": {"_": {"d": 3}}},
    ),
    "as many dots as a sentence": (f'{{"{"a." * 30}":1}}', {"a_" * 30 + "_": 1}),
    "of the server's own": (
        '{"_id":"x","_source":{"a":1},"_version":7,"_mine":1}',
        {"_mine": 1, "labels": {"_id": "x", "_source": '{"a":1}', "_version": 7}},
    ),
    "of the server's own in the dotted spelling": ('{"_id.x":1}', {"labels": {"_id": '{"x":1}'}}),
    "of the server's own further in": ('{"a":{"_id":"x"}}', {"a": {"_id": "x"}}),
    "that hide a document from every search": ('{"__soft_deletes":1,"_tombstone":1}', None),  # type: ignore[dict-item]
    "as long as they may be": (f'{{"{"n" * 512}":1}}', {"n" * 512: 1}),
}


@pytest.mark.parametrize(("line", "expected"), NAMES.values(), ids=NAMES.keys())
def test_names(line: str, expected: dict[str, Any] | None) -> None:
    assert of(line) == (expected or {"labels": json.loads(line)})


PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "message as an object": ('{"message":{"a":1}}', {"labels": {"message": '{"a":1}'}}),
    "message as a list of objects": ('{"message":[{"a":1}]}', {"labels": {"message": '[{"a":1}]'}}),
    "message as a list of texts": ('{"message":["a",1,null]}', {"message": ["a", 1, None]}),
    "message as a number": ('{"message":7}', {"message": 7}),
    "stream as an object": ('{"stream":{"a":1}}', {"labels": {"stream": '{"a":1}'}}),
    "level as an object": ('{"log":{"level":{"a":1},"b":2}}', {"log": {"b": 2}, "labels": {"log_level": '{"a":1}'}}),
    "level as an object, dotted": ('{"log.level.a":1}', {"log": {}, "labels": {"log_level": '{"a":1}'}}),
    "level as a number": ('{"log.level":30}', {"log": {"level": 30}}),
    "file as a text": ('{"log":{"file":"x"}}', {"log": {}, "labels": {"log_file": "x"}}),
    "an offset": ('{"log":{"offset":9}}', {"log": {}, "labels": {"log_offset": 9}}),
    "a path": (
        '{"log":{"file":{"path":"/x","line":3}}}',
        {"log": {"file": {"line": 3}}, "labels": {"log_file_path": "/x"}},
    ),
    "node as a text": ('{"kubernetes":{"node":"n"}}', {"kubernetes": {}, "labels": {"kubernetes_node": "n"}}),
    "pod name as an object": (
        '{"kubernetes.pod.name":{"a":1}}',
        {"kubernetes": {"pod": {}}, "labels": {"kubernetes_pod_name": '{"a":1}'}},
    ),
    "kubernetes as a list": ('{"kubernetes":[{"pod":1}]}', {"labels": {"kubernetes": '[{"pod":1}]'}}),
    "labels as a text": ('{"labels":"x"}', {"labels": {"labels": "x"}}),
    "labels as a list": ('{"labels":["x"]}', {"labels": {"labels": '["x"]'}}),
    "an object of the static fields as a text": ('{"service":"x"}', {"labels": {"service": "x"}}),
    "a static field as an object": (
        '{"service":{"name":{"a":1}},"team":{"b":1}}',
        {"service": {}, "labels": {"service_name": '{"a":1}', "team": '{"b":1}'}},
    ),
    "a static field as a value": ('{"service.name":"x","team":7}', {"service": {"name": "x"}, "team": 7}),
    "a label that is taken": ('{"log":"x","labels":{"log":"y"}}', {"labels": {"log": ["y", "x"]}}),
    "a label that is an object": ('{"log":"x","labels":{"log":{"a":1}}}', {"labels": {"log": {"a": 1}, "log_": "x"}}),
    "a near date": ('{"@timestamp":"2026-13-01"}', {"labels": {"@timestamp": "2026-13-01"}}),
    "a list as the time": ('{"@timestamp":["2026-11-22"]}', {"labels": {"@timestamp": '["2026-11-22"]'}}),
    "no time": ('{"@timestamp":null}', {"labels": {"@timestamp": None}}),
    "a time with something in it": (
        '{"@timestamp":"2026-11-22","@timestamp.x":1}',
        {"labels": {"@timestamp": ["2026-11-22", '{"x":1}']}},
    ),
    "seconds": ('{"@timestamp":1795355100}', {"@timestamp": "2026-11-22T13:45:00.000Z"}),
}


@pytest.mark.parametrize(("line", "expected"), PLACES.values(), ids=PLACES.keys())
def test_what_has_another_type_than_ours_is_moved_aside(line: str, expected: dict[str, Any]) -> None:
    assert of(line) == expected


DOUBLES = {
    "at the top": '{"a":1,"a":2}',
    "further in": '{"a":{"b":[{"c":1,"c":2}]}}',
    "spelt differently": '{"a":1,"\\u0061":2}',
    "with spaces": '{"a" : 1, "a" : 2}',
    "beside texts with quotes and colons": '{"a":"\\":\\":","a":2,"b":"x\\\\"}',
}


@pytest.mark.parametrize("line", DOUBLES.values(), ids=DOUBLES.keys())
def test_a_name_given_twice_keeps_the_line_as_it_was(line: str) -> None:
    found = of(line)
    assert found.pop("log") == {"original": line}
    assert found == json.loads(line)


@pytest.mark.parametrize("line", ['{"a":"\\":"}', '{"a" : 1}', '{"a\\\\":1}', '{"a":"{\\"b\\":1}"}', '{"a"  :  1}'])
def test_a_line_without_such_a_name_is_not_kept_twice(line: str) -> None:
    assert of(line) == json.loads(line)


def test_the_original_joins_what_log_says_already() -> None:
    line = '{"log":{"level":"x"},"a":1,"a":2}'
    assert of(line)["log"] == {"level": "x", "original": line}


def nest(levels: int) -> Any:
    value: Any = 7
    for level in range(levels):
        value = {"n": value} if level % 3 else [value]
    return value


@pytest.mark.parametrize("levels", [1, 18, 19, 20, 21, 50, 98])
def test_what_is_deeper_than_servers_map_is_text(levels: int) -> None:
    line = msgspec.json.encode({"a": nest(levels), "b": 1}).decode()
    found = of(line)
    depth, value = 1, found["a"]
    while isinstance(value, dict | list):
        depth += 1
        (value,) = value.values() if isinstance(value, dict) else value
    assert depth == min(levels + 1, 20)
    assert found["b"] == 1
    if levels > 19:
        assert json.loads(value) == nest(levels - 19)


NONE = {
    "a number of 1,001 digits": f'{{"a":{"1" * 1001}}}',
    "a fraction of 1,001 digits": f'{{"a":0.{"1" * 1001}}}',
    "a name of 513 characters": f'{{"{"n" * 513}":1}}',
    "such a name far within": f'{{"a":[{{"b":{{"{"n" * 513}":1}}}}]}}',
    "101 levels": '{"a":' + "[" * 100 + "]" * 100 + "}",
}


@pytest.mark.parametrize("line", NONE.values(), ids=NONE.keys())
def test_what_no_server_reads_is_no_object(line: str) -> None:
    assert fields_of(line, OURS) is None


WORDS = st.sampled_from(["a", "b", "log", "level", "message", "labels", "kubernetes", "node", "_id", "", " "])
KEYS = st.one_of(st.lists(WORDS, min_size=1, max_size=3).map(".".join), st.text("ab.", max_size=4))
TEXTS = st.text("xyz", min_size=8, max_size=8)
ANYTHING = st.recursive(
    st.one_of(TEXTS, st.integers(10**7, 10**8 - 1)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
    return [str(value)]


def every_name(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*(value if isinstance(value, dict) else ()), *(name for item in inner for name in every_name(item))]


@given(st.dictionaries(KEYS, ANYTHING, max_size=5))
@example({"a": "xxxxxxxx", "a.b": "yyyyyyyy", "a.b.a": "zzzzzzzz"})
def test_no_value_is_lost_and_no_name_is_odd(value: dict[str, Any]) -> None:
    found = of(json.dumps(value))
    kept = json.dumps(found)
    assert all(leaf in kept for leaf in leaves(value))
    assert all(name.strip() and "." not in name for name in every_name(found))
    assert "_id" not in found
    assert of(json.dumps(found)) == found, "what is in order stays as it is"
