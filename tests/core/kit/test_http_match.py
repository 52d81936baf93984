"""Which statuses are expected, where a JSON path leads, and what is said of texts that are none."""

import json
from typing import Any

import pytest

from sidecars.kit.http_match import json_path, json_value, pattern_fault, status_set

SETS: list[tuple[tuple[str, ...], set[int], str]] = [
    (("200",), {200}, "200"),
    (("2xx",), set(range(200, 300)), "2xx"),
    (("2XX",), set(range(200, 300)), "2XX"),
    (("200-204",), {200, 201, 202, 203, 204}, "200-204"),
    (("204-204",), {204}, "204-204"),
    ((" 200 ", "204"), {200, 204}, "200 or 204"),
    (("200", "204", "3xx"), {200, 204, *range(300, 400)}, "200, 204 or 3xx"),
    (("100-599",), set(range(100, 600)), "100-599"),
]
FAULTS: list[tuple[tuple[str, ...], str]] = [
    ((), "every answer would be a failure"),
    (("",), "'' is no status"),
    (("ok",), "'ok' is no status"),
    (("20",), "'20' is no status"),
    (("2000",), "'2000' is no status"),
    (("099",), "'099' is no status"),
    (("600",), "'600' is no status"),
    (("6xx",), "'6xx' is no status"),
    (("20x",), "'20x' is no status"),
    (("204-200",), "ends before it begins"),
    (("200-",), "'200-' is no status"),
    (("2xx-3xx",), "'2xx-3xx' is no status"),
    (("200", "x"), "'x' is no status"),
    (("٢٠٠",), "is no status"),
    (("200\n200",), "is no status"),
]


@pytest.mark.parametrize(("texts", "statuses", "words"), SETS)
def test_a_set_holds_the_statuses_that_were_written(texts: tuple[str, ...], statuses: set[int], words: str) -> None:
    expected = status_set(texts)
    assert {status for status in range(1000) if status in expected} == statuses
    assert str(expected) == words


@pytest.mark.parametrize(("texts", "words"), FAULTS)
def test_what_is_no_set_is_said(texts: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        status_set(texts)


DOCUMENT = {"a": {"b.c": [1, {"d": None}], "0": "zero"}, "": 5, "²": 2}
PATHS: list[tuple[str, Any]] = [
    ("a", DOCUMENT["a"]),
    (".a", DOCUMENT["a"]),
    ('a["b.c"][0]', 1),
    ('a."b.c".1.d', None),
    ("a.0", "zero"),
    ("a[0]", "zero"),
    ("²", 2),
    ("", DOCUMENT),
]


@pytest.mark.parametrize(("path", "value"), PATHS)
def test_a_path_leads_to_its_value(path: str, value: Any) -> None:
    assert json_value(json.dumps(DOCUMENT).encode(), json_path(path)) == value


@pytest.mark.parametrize(
    "path", ["b", "a.b", 'a."b.c".2', 'a."b.c".-1', 'a."b.c".²', f'a."b.c".{"9" * 5000}', "a.0.x", "²[0]"]
)
def test_a_path_that_leads_nowhere_is_said(path: str) -> None:
    with pytest.raises(LookupError):
        json_value(json.dumps(DOCUMENT).encode(), json_path(path))


@pytest.mark.parametrize("path", ["a..b", "a.", "[x]", 'a"', "a[1", "[]"])
def test_what_is_no_path_is_said(path: str) -> None:
    with pytest.raises(ValueError, match="no path of keys"):
        json_path(path)


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe\xfd", b"[" * 100_000, b""])
def test_what_is_not_json_is_said_and_not_repeated(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^the answer is not JSON$"):
        json_value(body, ())


@pytest.mark.parametrize(("pattern", "is_one"), [("^ok$", True), ("", True), ("(", False), ("a{99999999999}", False)])
def test_what_is_no_pattern_is_said(pattern: str, is_one: bool) -> None:
    assert bool(pattern_fault(pattern)) is not is_one
