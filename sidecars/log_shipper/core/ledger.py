"""What of a file may be forgotten: the ledger of read and acknowledged bytes.

Batches are acknowledged in any order (several requests are under way, some are retried), the checkpoint may
only move over what is acknowledged without a gap. https://github.com/elastic/beats/issues/50738 lost lines
by resuming from the read position instead.
"""

from .identity import Mark


class Segment:
    """A stretch of one file that was read and handed on: from the previous segment's end to `end`.

    `clean`: reading can go on at its end after a restart. It cannot amid the parts of a record: what is left of that
    would be taken for a record of its own.
    """

    __slots__ = ("clean", "end", "settled", "size_bytes", "unacknowledged_bytes")

    def __init__(self, size_bytes: int, end: Mark, *, clean: bool) -> None:
        self.size_bytes = size_bytes
        self.unacknowledged_bytes = size_bytes
        """Bytes of lines that go out with it, and are not acknowledged one by one before all of it is settled."""
        self.end = end
        self.clean = clean
        self.settled = False


class Ledger:
    """Reading position and low watermark of one file.

    Invariant: `committed.offset <= read.offset`, and the difference is the sum of the segments that are open, or end
    amid a record.
    """

    __slots__ = ("_former", "_later", "_open", "_reached", "committed", "read")

    def __init__(self, start: Mark) -> None:
        self.committed = start
        self.read = start
        self._open: list[Segment] = []
        self._reached: Mark | None = None
        """The last clean end before which all is acknowledged, where that is beyond `committed`."""
        self._former: Ledger | None = None
        self._later: Ledger | None = None

    def take(self, end: Mark, *, clean: bool = True) -> Segment:
        """Reading went on to `end`; the segment is open until `settle`."""
        if end.offset < self.read.offset:
            message = f"cannot read backwards from {self.read.offset} to {end.offset}"
            raise ValueError(message)
        segment = Segment(end.offset - self.read.offset, end, clean=clean and self._later is None)
        self._open.append(segment)
        self.read = end
        return segment

    def settle(self, segment: Segment) -> bool:
        """Note that all of `segment` is acknowledged. Return whether the low watermark moved."""
        segment.settled = True
        done = 0
        for reached in self._open:
            if not reached.settled:
                break
            done += 1
            if reached.clean:
                self._reached = reached.end
        del self._open[:done]
        moved = self._commit()
        if self._later is not None:
            self._later._commit()  # another ledger, the same class
        return moved

    def continues(self, former: "Ledger") -> None:
        """Note that a record that is open at the end of the `former` generation goes on here: one of the two low
        watermarks without the other would tear it after a restart, so they move over it together.
        """
        if self._former is None and former is not self:
            self._former, former._later = former, self

    def _commit(self) -> bool:
        if self._reached is None or (self._former is not None and not self._former._finish()):
            return False
        self.committed, self._reached, self._former = self._reached, None, None
        return True

    def _finish(self) -> bool:
        """Note that the record at the end of this file was stored: all of it is done, unless something else of it is
        open.
        """
        if self._open or (self._former is not None and not self._former._finish()):
            return False
        self.committed, self._reached = self.read, None
        self._former = self._later = None
        return True

    @property
    def in_flight_bytes(self) -> int:
        """Return the bytes read and not yet covered by the low watermark."""
        return self.read.offset - self.committed.offset

    @property
    def unacknowledged_bytes(self) -> int:
        """Those of them that were handed on and that nobody took yet: without what is acknowledged beyond the low
        watermark.
        """
        return sum(segment.unacknowledged_bytes for segment in self._open if not segment.settled)
