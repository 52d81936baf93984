"""What of a file may be forgotten: the ledger of read and acknowledged bytes.

Batches are acknowledged in any order (several requests are under way, some are retried), the checkpoint may
only move over what is acknowledged without a gap. https://github.com/elastic/beats/issues/50738 lost lines
by resuming from the read position instead.
"""

from collections import deque

from .identity import Mark


class Segment:
    """A stretch of one file that was read and handed on: from the previous segment's end to `end`."""

    __slots__ = ("end", "settled", "size_bytes")

    def __init__(self, size_bytes: int, end: Mark) -> None:
        self.size_bytes = size_bytes
        self.end = end
        self.settled = False


class Ledger:
    """Reading position and low watermark of one file.

    Invariant: `committed.offset <= read.offset`, and the difference is the sum of the open segments.
    """

    __slots__ = ("_open", "committed", "read")

    def __init__(self, start: Mark) -> None:
        self.committed = start
        self.read = start
        self._open: deque[Segment] = deque()

    def take(self, end: Mark) -> Segment:
        """Reading went on to `end`; the segment is open until `settle`."""
        if end.offset < self.read.offset:
            message = f"cannot read backwards from {self.read.offset} to {end.offset}"
            raise ValueError(message)
        segment = Segment(end.offset - self.read.offset, end)
        self._open.append(segment)
        self.read = end
        return segment

    def settle(self, segment: Segment) -> bool:
        """All of `segment` is acknowledged; whether the low watermark moved."""
        segment.settled = True
        moved = False
        while self._open and self._open[0].settled:
            self.committed = self._open.popleft().end
            moved = True
        return moved

    @property
    def in_flight_bytes(self) -> int:
        """Bytes read and not yet covered by the low watermark."""
        return self.read.offset - self.committed.offset
