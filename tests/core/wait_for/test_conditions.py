"""What an HTTP answer lacks."""

import pytest

from sidecars.wait_for.core.conditions import unmet
from sidecars.wait_for.core.parse import parse
from sidecars.wait_for.core.target import HttpTarget

ANSWERS = [
    ("", 200, b"", ""),
    ("", 302, b"", "answered 302, expected 2xx"),
    ("status=200,204", 503, b"", "answered 503, expected 200 or 204"),
    ("status=3xx", 302, b"", ""),
    ("body=^ok$", 200, b"ok", ""),
    ("body=^ok$", 200, b"not ok", "its body does not match"),
    ("body=ok", 503, b"ok", "answered 503"),
    ("body=.", 200, b"\xff\xfe", ""),
    ("json=a", 200, b'{"a": null}', ""),
    ("json=a", 200, b'{"b": 1}', "its JSON has no a yet"),
    ("json=a", 200, b"<html>", "its answer is not JSON"),
    ("json=a.0.b=x", 200, b'{"a": [{"b": "x"}]}', ""),
    ("json=a[0].b=x", 200, b'{"a": [{"b": "y"}]}', "another value at a[0].b"),
    ("json=a.1", 200, b'{"a": [1]}', "has no a.1 yet"),
    ("json=a=true", 200, b'{"a": true}', ""),
    ("json=a=true", 200, b'{"a": 1}', "another value"),
    ("json=a=1", 200, b'{"a": true}', "another value"),
    ("json=a=1", 200, b'{"a": 1.0}', ""),
    ("json=a=1", 200, b'{"a": "1"}', ""),
    ("json=a=null", 200, b'{"a": null}', ""),
    ("json=a=", 200, b'{"a": ""}', ""),
    ("json=a=yes", 200, b'{"a": 1}', "another value"),
]


@pytest.mark.parametrize(("options", "status", "body", "words"), ANSWERS)
def test_what_an_answer_lacks(options: str, status: int, body: bytes, words: str) -> None:
    target = parse(f"http://api/?{options}")
    assert isinstance(target, HttpTarget)
    missing = unmet(target, status, body, whole=True)
    assert (words in missing) if words else missing == ""


def test_json_that_is_not_whole_is_not_judged_and_a_beginning_may_match() -> None:
    as_json, as_text = parse("http://api/?json=a"), parse("http://api/?body=a")
    assert isinstance(as_json, HttpTarget)
    assert isinstance(as_text, HttpTarget)
    assert "longer than" in unmet(as_json, 200, b'{"a": 1}', whole=False)
    assert unmet(as_text, 200, b"aaa", whole=False) == ""
