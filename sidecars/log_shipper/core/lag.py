"""How long the oldest unacknowledged byte of a file has been waiting.

"Not caught up since" would grow without end on a file that is written all the time; so sizes are remembered with
the time at which they were seen. The beginning of a line does not wait for anybody but its writer, who may have died.
"""

from collections.abc import Iterable

import msgspec

_SAMPLES = 32
_SERIES = 200
"""So many files have series of their own: those that lag most."""
OTHERS = "(all others)"


class Lag:
    """Sizes of a growing file with when they were first seen, oldest first."""

    __slots__ = ("_samples", "_unfinished_bytes")

    def __init__(self) -> None:
        self._samples: list[tuple[int, float]] = []
        self._unfinished_bytes = 0

    def grew(self, size_bytes: int, now: float) -> None:
        """Note that the file was seen with this size."""
        if size_bytes <= self._unfinished_bytes:
            return
        if self._samples and self._samples[-1][0] >= size_bytes:
            return
        if len(self._samples) >= _SAMPLES:
            self._samples[-1] = (size_bytes, self._samples[-1][1])
        else:
            self._samples.append((size_bytes, now))

    def ends_unfinished(self, read_offset: int, size_bytes: int) -> None:
        """From `read_offset` to this size there is only the beginning of a line."""
        self._unfinished_bytes = size_bytes
        while len(self._samples) > 1 and self._samples[-2][0] >= read_offset:
            self._samples.pop()
        if self._samples and self._samples[-1][0] > read_offset:
            self._samples[-1] = (read_offset, self._samples[-1][1])

    def seconds(self, committed_offset: int, now: float) -> float:
        """Return the age of the first byte beyond `committed_offset`; 0 when there is none."""
        while self._samples and self._samples[0][0] <= committed_offset:
            self._samples.pop(0)
        return now - self._samples[0][1] if self._samples else 0.0


class FileFigures(msgspec.Struct, frozen=True, gc=False):
    """What there is to measure of an open file."""

    place: str
    size_bytes: int
    lag_bytes: int
    lag_seconds: float
    deleted: bool


def lags(files: Iterable[FileFigures]) -> dict[str, tuple[int, float]]:
    """Return the bytes and seconds of lag by file name; two generations that had the same name are one. Beyond
    `_SERIES` files the rest is one as well, with the sum of the bytes and the most seconds: sums and maxima over all
    are true.
    """
    by_place: dict[str, tuple[int, float]] = {}
    for each in files:
        _add(by_place, each.place, each.lag_bytes, each.lag_seconds)
    if len(by_place) <= _SERIES:
        return by_place
    ranked = sorted(by_place.items(), key=lambda item: item[1], reverse=True)
    found = dict(ranked[:_SERIES])
    for _, (lag_bytes, lag_seconds) in ranked[_SERIES:]:
        _add(found, OTHERS, lag_bytes, lag_seconds)
    return found


def _add(found: dict[str, tuple[int, float]], place: str, lag_bytes: int, lag_seconds: float) -> None:
    before_bytes, before_seconds = found.get(place, (0, 0.0))
    found[place] = (before_bytes + lag_bytes, max(before_seconds, lag_seconds))
