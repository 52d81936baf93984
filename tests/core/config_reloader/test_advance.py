"""How a value is taken from an answer, and what counts as an advance."""

import math
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.config_reloader.core.advance import Value, advanced, extract, faults
from sidecars.config_reloader.core.steps import Confirm

PROMETHEUS = rb"""
# HELP reloads_total Reloads.
# TYPE reloads_total counter
reloads_total 1.027e+03 1395066363000
 # a comment: up 7
up{job="a",instance="x:1"} 1
up{job="b", instance="y } 5 \"quoted\"",} 2.5 1395066363
up_and_more 9
requests{path="C:\\dir\n"} 4
temperature -5
big +Inf
small -Inf
none NaN
partly{a="1"} NaN
partly{a="2"} 3
bad{a=1} 3
worse
worst x
	indented	6
rpc{quantile="0.5"} 1 # {trace_id="up 8"} 0.67 1
crlf 3CR
# EOF
""".replace(b"CR", b"\r")

METRICS: list[tuple[str, float]] = [
    ("reloads_total", 1027.0),
    (" reloads_total ", 1027.0),
    ("up", 3.5),
    ("up{}", 3.5),
    ('up{job="a"}', 1.0),
    ('up{job="a",}', 1.0),
    ('up { job = "b" }', 2.5),
    ('up{instance="y } 5 \\"quoted\\"",job="b"}', 2.5),
    ('requests{path="C:\\\\dir\\n"}', 4.0),
    ("temperature", -5.0),
    ("big", math.inf),
    ("small", -math.inf),
    ('partly{a="2"}', 3.0),
    ("indented", 6.0),
    ("rpc", 1.0),
    ("crlf", 3.0),
]
NO_METRIC: list[tuple[str, str]] = [
    ("missing", "there is no metric missing"),
    ('up{job="c"}', "there is no metric up"),
    ('up{other="a"}', "there is no metric up"),
    ("reloads", "there is no metric reloads"),
    ("none", "is NaN"),
    ("partly", "is NaN"),
    ("bad", "a line of the metric bad cannot be read"),
    ("worst", "a line of the metric worst cannot be read"),
]

JSON = rb"""{"version": 17, "ok": true, "no": null, "ratio": 0.5, "items": [{"x": ["a", {"b": 1, "a": 2}]}],
 "hash": "123", "empty": "", "large": 12345678901234567}"""
PATHS: list[tuple[str, Value]] = [
    # tests/core/kit/test_http_match.py has where a path may lead
    ("version", 17),
    ("ratio", 0.5),
    ("ok", "true"),
    ("items[0].x", '["a",{"a":2,"b":1}]'),
    ("hash", "123"),
    ("empty", ""),
    ("large", 12345678901234567),
]
NO_VALUE: list[tuple[bytes, str, str]] = [
    (JSON, "missing", "there is no missing in the JSON"),
    (JSON, "items[2]", "there is no items[2] in the JSON"),
    (JSON, "no", "no is null"),
    (b"", "a", "the answer is not JSON"),
    (b'{"a": \xff}', "a", "the answer is not JSON"),
]

TEXTS: list[tuple[str, str]] = [
    ("version=([0-9]+)", "12"),
    ("version=[0-9]+", "version=12"),
    ("(?:loaded|seen) (?P<what>[a-z]+)", "abc"),
    ("(never)?version", "version"),
]

ADVANCES: list[tuple[Value | None, Value | None, str, bool]] = [
    (1, 2, "", True),
    (1.0, 1.5, "", True),
    (1, 1, "", False),
    (2, 1, "", False),
    (1.0, 1, "", False),
    (1, math.inf, "", True),
    (math.inf, math.inf, "", False),
    ("a", "b", "", True),
    ("b", "a", "", True),
    ("a", "a", "", False),
    ("9", "10", "", True),
    (1, "1", "", True),
    (None, 1, "", True),
    (None, 0, "", True),
    (None, "", "", True),
    (None, None, "", False),
    (1, None, "", False),
    ("a", None, "", False),
    ("a", "abc", "abc", True),
    ("abc", "abc", "abc", True),
    (None, "abc", "abc", True),
    ("a", "b", "abc", False),
    (1, 2, "3", False),
    (1, 3, "3", True),
    (1, 3.0, "3", True),
    (1, 3, "3.0", True),
    (1, 3, "three", False),
    ("x", "3.0", "3", False),
    (1, None, "abc", False),
]

FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"metric": "1st"}, "metric"),
    ({"metric": "up{job=a}"}, "metric"),
    ({"metric": 'up{job="a"'}, "metric"),
    ({"metric": 'up{job="a"} 1'}, "metric"),
    ({"metric": 'up{job="a"}{job="b"}'}, "metric"),
    ({"metric": "sum(up)"}, "metric"),
    ({"json": 'a["b'}, "json"),
    ({"metric": "up", "interval_seconds": 10.0, "timeout_seconds": 10.0}, "interval_seconds"),
]


@pytest.mark.parametrize(("metric", "value"), METRICS)
def test_a_metric_is_the_sum_of_its_series(metric: str, value: float) -> None:
    assert extract(Confirm(metric=metric), PROMETHEUS) == value


@pytest.mark.parametrize(("metric", "words"), NO_METRIC)
def test_a_metric_that_is_not_there_is_said(metric: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        extract(Confirm(metric=metric), PROMETHEUS)


@pytest.mark.parametrize(("path", "value"), PATHS)
def test_a_path_leads_to_a_json_value(path: str, value: Value) -> None:
    found = extract(Confirm(json=path), JSON)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("body", "path", "words"), NO_VALUE)
def test_what_is_no_json_value_is_said_without_showing_the_answer(body: bytes, path: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        extract(Confirm(json=path), body)


@pytest.mark.parametrize(("pattern", "value"), TEXTS)
def test_a_pattern_takes_its_first_group_or_the_whole_match(pattern: str, value: str) -> None:
    assert extract(Confirm(text=pattern), b"loaded abc\nversion=12 \xff") == value
    with pytest.raises(ValueError, match="nothing matches version"):
        extract(Confirm(text="version"), b"")


@pytest.mark.parametrize(("before", "after", "equals", "expected"), ADVANCES)
def test_an_advance_is_growth_of_numbers_and_change_of_texts(
    before: Value | None, after: Value | None, equals: str, expected: bool
) -> None:
    assert advanced(before, after, equals) is expected


@pytest.mark.parametrize(("options", "field"), FAULTY)
def test_what_can_never_be_found_is_a_fault_of_its_field(options: dict[str, Any], field: str) -> None:
    assert [found for found, _, _ in faults(Confirm(**options))] == [field]


@pytest.mark.parametrize("options", [{"metric": name} for name, _ in METRICS] + [{"json": path} for path, _ in PATHS])
def test_what_can_be_found_has_no_fault(options: dict[str, Any]) -> None:
    assert list(faults(Confirm(**options))) == []


@given(st.binary(), st.sampled_from([Confirm(metric="up"), Confirm(json="a.b[0]"), Confirm(text="(a|b)c?")]))
def test_any_answer_gives_a_value_or_a_value_error(body: bytes, step: Confirm) -> None:
    with suppress(ValueError):
        assert isinstance(extract(step, body), int | float | str)


def test_a_long_answer_with_many_series_is_read_in_full() -> None:
    body = b"".join(b'up{n="%d"} 1\n' % number for number in range(20_000))
    assert extract(Confirm(metric="up"), body) == 20_000
