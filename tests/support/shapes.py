"""Lines of JSON as apps write them: a field of every shape, and what else has made servers refuse documents."""

import json
from typing import Any

SHAPES: dict[str, Any] = {
    "a text": "text",
    "a number": 7,
    "a number as text": "12",
    "a fraction": 0.5,
    "a number beyond 64 bits": 10**30,
    "a number beyond floats of the index": 1.5e300,
    "truth": True,
    "a date": "2026-11-22",
    "a date with slashes": "2026/11/22",
    "a time": "2026-11-22T10:00:00Z",
    "nothing": None,
    "an address": "10.0.0.1",
    "an empty text": "",
    "a long text": "x" * 40_000,
    "an object": {"b": 1},
    "the same object with a text": {"b": "x"},
    "an object in it": {"b": {"c": 1}},
    "an empty object": {},
    "an empty list": [],
    "a list of numbers": [1, 2.5, 10**30],
    "a list of everything": [1, "x", True, None, {"b": 1}, [[2]]],
    "a list of objects": [{"b": 1}, {"b": "x"}],
    "a long text in an object": {"d": "x" * 40_000},
}
"""Values of one field."""


def rotated(start: int) -> list[Any]:
    """All shapes, beginning with another one."""
    values = list(SHAPES.values())
    return values[start:] + values[:start]


ODD_LINES: list[str] = [
    *(json.dumps({"message": f"shape {number}", "a": value}) for number, value in enumerate(SHAPES.values())),
    '{"message":{"text":"kept 1"}}',
    '{"message":[{"text":"kept 2"}]}',
    '{"message":"m","stream":{"name":"kept 3"}}',
    '{"message":"m","log":{"level":{"name":"kept 4"}}}',
    '{"message":"m","log.level":{"name":"kept 5"}}',
    '{"message":"m","log":"kept 6"}',
    '{"message":"m","log":{"file":"kept 7","offset":"kept 8"}}',
    '{"message":"m","kubernetes":{"node":"kept 9","pod":["kept 10"]}}',
    '{"message":"m","kubernetes":"kept 11","labels":"kept 12"}',
    '{"message":"m","log":{"level":"' + "x" * 40_000 + '"}}',
    '{"message":"m","service":"kept 13"}',
    '{"message":"m","service.name":{"x":"kept 14"}}',
    '{"message":"m","a.b":"kept 15","a":{"b":"kept 16","c":1},"a.c":2}',
    '{"message":"m","a":"kept 17","a.b":"kept 18"}',
    '{"message":"m","":"kept 19"," ":"kept 20",".":"kept 21","b.":"kept 22",".c":"kept 23","d..e":"kept 24"}',
    '{"message":"m","_id":"kept 25","_source":{"a":"kept 26"},"_type":"kept 27","_doc_count":"kept 28"}',
    '{"message":"kept 29","__soft_deletes":1,"_tombstone":1,"_primary_term":1}',
    '{"message":"m","twice":"kept 30","twice":"kept 31"}',
    '{"message":"m","n":' + "1" * 1001 + ',"t":"kept 32"}',
    '{"message":"m","n":NaN,"t":"kept 33"}',
    '{"message":"m","n":1e999,"t":"kept 34"}',
    '{"message":"m","t":"kept 35 \\ud800"}',
    '{"message":"m","deep":' + '{"n":' * 60 + '"kept 36"' + "}" * 60 + "}",
    '{"message":"m","deep":' + "[" * 60 + '"kept 37"' + "]" * 60 + "}",
    json.dumps({"message": "m", "n" * 40_000: "kept 38"}),
    json.dumps({"message": "kept 39", **{f"many{number}": number for number in range(1500)}}),
    json.dumps({"message": "kept 40", ".".join("a" * 50): 1}),
    '{"message":"m","@timestamp":null,"t":"kept 41"}',
    '{"message":"m","@timestamp":{"t":"kept 42"}}',
    '{"message":"m","@timestamp":["kept 43"]}',
    '{"message":"m","@timestamp":true,"@timestamp.x":"kept 44"}',
    '{"message":"m","@timestamp":0,"t":"kept 45"}',
    '{"message":"m","@timestamp":1e300,"t":"kept 46"}',
    '["kept 47"]',
    '{"message":"kept 48"',
]
"""Every one of them has to arrive as a document; `kept N` is to be found in it."""
KEPT = [f"kept {number}" for number in range(1, 49)]
