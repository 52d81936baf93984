"""What people expect of an HTTP answer, as they write it: sets of statuses, paths into JSON, regular expressions. Pure.

Nothing here repeats an answer's body: it may hold anything.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

JsonPath = tuple[str | int, ...]
"""Keys and indices, outermost first."""

_STATUSES = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", re.ASCII | re.IGNORECASE)
_KEY = re.compile(r'(?:^|\.)([^.\[\]"]+)|(?:^|\.)"([^"]+)"|\["([^"]+)"\]|\[([0-9]{1,9})\]', re.ASCII)
_INDEX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class StatusSet:
    """Which statuses are expected. `str()` gives the words: `200, 204 or 3xx`."""

    texts: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, status: int) -> bool:
        """Return whether the status is expected."""
        return any(first <= status <= last for first, last in self.ranges)

    def __str__(self) -> str:
        *others, last = self.texts
        return f"{', '.join(others)} or {last}" if others else last


def status_set(texts: Sequence[str]) -> StatusSet:
    """Read `200`, `2xx`, `200-204`. Raises ValueError, with words, for a text that is none, and for an empty list."""
    if not texts:
        raise ValueError("no status is expected, so every answer would be a failure")
    trimmed = tuple(text.strip() for text in texts)
    return StatusSet(trimmed, tuple(_statuses(text) for text in trimmed))


def json_path(text: str) -> JsonPath:
    """Read `status.items[0].version`, `items.0` or `status["key.with.dots"]`. Raises ValueError for what is none."""
    keys: list[str | int] = []
    at = 0
    while at < len(text):
        match = _KEY.match(text, at)
        if match is None:
            raise ValueError("it is no path of keys")
        bare, quoted, bracketed, index = match.groups()
        keys.append(int(index) if index else bare or quoted or bracketed)
        at = match.end()
    return tuple(keys)


def json_value(body: bytes, path: JsonPath) -> Any:
    """Return what stands at the path. Raises LookupError when there is nothing, and ValueError when the body is not
    JSON.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the answer is not JSON") from None
    for key in path:
        value = _within(value, key)
    return value


def pattern_fault(pattern: str) -> str:
    """Return why this is no regular expression, or an empty text."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    except (RecursionError, OverflowError):
        return "it is too large"
    return ""


def _statuses(text: str) -> tuple[int, int]:
    match = _STATUSES.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no status such as 200, 2xx or 200-204")
    hundreds, first, last = match.groups()
    if hundreds:
        return int(hundreds) * 100, int(hundreds) * 100 + 99
    if last and int(last) < int(first):
        raise ValueError(f"{text!r} ends before it begins")
    return int(first), int(last or first)


def _within(value: Any, key: str | int) -> Any:
    """Go one key down: a list takes numbers in either form (`items.0` is `items[0]`), an object their text too."""
    text = str(key)
    if isinstance(value, dict):
        return value[text]
    if isinstance(value, list) and text.isascii() and text.isdigit() and len(text) <= _INDEX_DIGITS:
        return value[int(text)]
    raise LookupError(text)
