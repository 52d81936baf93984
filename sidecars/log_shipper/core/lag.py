"""How long the oldest unacknowledged byte of a file has been waiting.

"Not caught up since" would grow without end on a file that is written all the time; so sizes are remembered with
the time at which they were seen. The beginning of a line does not wait for anybody but its writer, who may have died.
"""

from collections import deque

_SAMPLES = 32


class Lag:
    """Sizes of a growing file with when they were first seen, oldest first."""

    __slots__ = ("_samples", "_unfinished_bytes")

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float]] = deque()
        self._unfinished_bytes = 0

    def grew(self, size_bytes: int, now: float) -> None:
        """The file was seen with this size."""
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
        """Age of the first byte beyond `committed_offset`; 0 when there is none."""
        while self._samples and self._samples[0][0] <= committed_offset:
            self._samples.popleft()
        return now - self._samples[0][1] if self._samples else 0.0
