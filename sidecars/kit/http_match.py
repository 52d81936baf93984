"""Sets of HTTP statuses as people write them: `200`, `2xx`, `200-204`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ONE = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StatusSet:
    """Which statuses are expected. `str()` gives the words: `200, 204 or 3xx`."""

    texts: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, status: int) -> bool:
        """Whether the status is expected."""
        return any(first <= status <= last for first, last in self.ranges)

    def __str__(self) -> str:
        *others, last = self.texts
        return f"{', '.join(others)} or {last}" if others else last


def parse(texts: Sequence[str]) -> StatusSet:
    """Read a set. Raises ValueError, with words, for a text that is none, and for an empty list."""
    if not texts:
        raise ValueError("no status is expected, so every answer would be a failure")
    trimmed = tuple(text.strip() for text in texts)
    return StatusSet(trimmed, tuple(_range(text) for text in trimmed))


def _range(text: str) -> tuple[int, int]:
    match = _ONE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no status such as 200, 2xx or 200-204")
    hundreds, first, last = match.groups()
    if hundreds:
        return int(hundreds) * 100, int(hundreds) * 100 + 99
    if last and int(last) < int(first):
        raise ValueError(f"{text!r} ends before it begins")
    return int(first), int(last or first)
