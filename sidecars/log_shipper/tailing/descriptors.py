"""How many log files are held open at once, and which is closed to make room for another."""

import resource
from collections.abc import Iterable

from .tail import Tail

_RESERVED = 40
"""For connections, the admin endpoint, the checkpoint and the interpreter."""
_MOST = 65536
_LEAST = 4


class Descriptors:
    """A budget of open files. Closing one is harmless only when all of it is read and acknowledged."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tails: list[Tail] = []
        self._held = 0
        self._idle: list[Tail] | None = None

    def count(self, tails: Iterable[Tail]) -> None:
        """Take stock, at the beginning of a scan."""
        self._tails = [tail for tail in tails if tail.fd is not None]
        self._held = len(self._tails)
        self._idle = None

    def room(self) -> bool:
        """Whether one more file may be opened; closes the one that was still for longest, if there is one."""
        if self._held < self._limit:
            self._held += 1
            return True
        if self._idle is None:
            self._idle = [tail for tail in self._tails if tail.fd is not None and tail.is_done and not tail.deleted]
            self._idle.sort(key=lambda tail: tail.grown_at, reverse=True)
        while self._idle:
            tail = self._idle.pop()
            if tail.fd is not None and tail.is_done and not tail.deleted:  # it may have grown since
                tail.close()
                return True
        return False

    def give_back(self) -> None:
        """What `room` was asked for is not held after all."""
        self._held -= 1


def allowed() -> int:
    """How many files may be held open; raises the soft limit of the process to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(_LEAST, max(soft, most) - _RESERVED)
