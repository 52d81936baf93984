"""The values inside a document: by dotted name, as words, and in an order."""

import re
from datetime import UTC, datetime
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
