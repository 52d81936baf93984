"""The values inside a document: by dotted name, as words, in an order; and which JSON values each type of field takes,
as Elasticsearch 9.5 was seen to.
"""

import re
from collections.abc import Callable
from collections.abc import Mapping as Map
from datetime import UTC, date, datetime
from typing import Any

_WORDS = re.compile(r"[^\W_]+(?:[.'_]*[^\W_]+)*")


def values_of(document: Any, field: str) -> list[Any]:
    """Every value of a dotted field, through objects, lists and dotted keys alike."""
    if isinstance(document, list):
        return [value for item in document for value in values_of(item, field)]
    if not isinstance(document, dict):
        return []
    if field in document:
        value = document[field]
        return (
            [item for item in value if item is not None]
            if isinstance(value, list)
            else []
            if value is None
            else [value]
        )
    found: list[Any] = []
    head, dot, tail = field.partition(".")
    while dot:
        if head in document:
            found += values_of(document[head], tail)
        more, dot, tail = tail.partition(".")
        head = f"{head}.{more}"
    return found


def words(text: str) -> list[str]:
    """The terms of a text field, near enough to the standard analyzer."""
    return _WORDS.findall(text.lower())


def sortable(value: Any) -> tuple[int, Any]:
    """A key that orders numbers and dates as numbers, everything else as text."""
    if isinstance(value, bool):
        return 0, int(value)
    if isinstance(value, int | float):
        return 0, value
    text = str(value)
    if text[:4].isdigit():
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return 1, text
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return 0, aware.timestamp() * 1000
    return 1, text


_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(?:(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d{1,9})?)?)?"
    r"(Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?|(?:UTC|GMT|UT)(?:[+-]\d{1,2}(?::?\d\d)?)?|[A-Z][A-Za-z_]+/[A-Za-z_/]+)?)?)?)?)?",
    re.ASCII,
)
_MILLISECONDS = re.compile(r"-?\d{1,18}(\.\d+)?", re.ASCII)
_DETECTED = re.compile(r"\d{4}-\d\d-\d\d(T|$)|\d{4}/\d\d/\d\d( |$)")
_SLASHED = re.compile(r"\d{4}/\d\d/\d\d( \d\d:\d\d:\d\d)?")
_INTEGERS = {"byte": 1 << 7, "short": 1 << 15, "integer": 1 << 31, "long": 1 << 63}
_LARGEST_FLOATS = {"half_float": 65504.0, "float": 3.4028235e38, "double": 1.7976931348623157e308}
_LARGEST_TERM_BYTES = 32_766


def takes(kind: str, value: Any) -> bool:
    """Whether a field of this type takes the value (no object); a type that is not known here takes everything."""
    accepts = _ACCEPTS.get(kind)
    return accepts is None or accepts(value)


def is_immense(value: Any, ignore_above: int | None) -> bool:
    """Whether a keyword is longer than the index can hold; `ignore_above` spares it that."""
    if not isinstance(value, str) or len(value) * 4 <= _LARGEST_TERM_BYTES:
        return False
    return (ignore_above is None or len(value) <= ignore_above) and len(value.encode()) > _LARGEST_TERM_BYTES


def detected_date(text: str) -> bool:
    """Whether a text makes its field a date, where dates are detected."""
    return _DETECTED.match(text) is not None and (_is_date(text) or _SLASHED.fullmatch(text) is not None)


def _number(largest: float) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return False
        return isinstance(value, int | float) and -largest <= value <= largest

    return accepts


def _is_date(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return abs(value) < 1e16 if isinstance(value, float) else -(1 << 63) <= value < 1 << 63
    if not isinstance(value, str):
        return False
    return _MILLISECONDS.fullmatch(value) is not None or _is_written_date(value)


def _is_written_date(text: str) -> bool:
    """strict_date_optional_time, by the calendar."""
    parts = _DATE.fullmatch(text)
    if parts is None:
        return False
    year, month, day, hour, minute, second, zone = parts.groups()
    try:
        date(int(year) or 4, int(month or 1), int(day or 1))  # there is no year 0 in Python; it is a leap year
    except ValueError:
        return False
    return int(hour or 0) < 24 and int(minute or 0) < 60 and int(second or 0) < 60 and _is_zone(zone or "Z")


def _is_zone(zone: str) -> bool:
    if zone[0] not in "+-":
        return True
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":")[:2] or 0)
    return minutes < 60 and (hours, minutes) <= (18, 0)


def _boolean(value: Any) -> bool:
    return isinstance(value, bool) or value in ("true", "false", "")


_ACCEPTS: Map[str, Callable[[Any], bool]] = {
    **{kind: _number(limit - 1) for kind, limit in _INTEGERS.items()},
    **{kind: _number(limit) for kind, limit in _LARGEST_FLOATS.items()},
    "unsigned_long": _number((1 << 64) - 1),
    "date": lambda value: _is_date(value) or (isinstance(value, str) and _SLASHED.fullmatch(value) is not None),
    "date_nanos": _is_date,
    "boolean": _boolean,
}
