"""Bytes from socket to socket without a copy into this process: splice(2) through a pipe.

Of use for long transfers only: a small message takes two calls more than a copy, and a pipe is two descriptors.
"""

import fcntl
import os

_PIPE_BYTES = 1 << 20
"""What an unprivileged process may ask for (fs.pipe-max-size); given or not, it works."""
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_KEPT = 8


class Pipe:
    """A pipe between two sockets; `held` bytes are in it."""

    __slots__ = ("_from", "_into", "held")

    def __init__(self) -> None:
        self._from, self._into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        try:
            fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:  # the user's pipes have reached fs.pipe-user-pages-soft: a smaller one will do
            return

    def fill(self, source: int) -> int:
        """Move what has come into the empty pipe. Return how many bytes, 0 at the end. Raises OSError (EAGAIN)."""
        self.held = os.splice(source, self._into, _PIPE_BYTES, flags=_FLAGS)
        return self.held

    def drain(self, sink: int) -> None:
        """Move on what is held, as far as the kernel takes it. Raises OSError (EAGAIN)."""
        while self.held:
            self.held -= os.splice(self._from, sink, self.held, flags=_FLAGS)

    def close(self) -> None:
        """What is held is lost."""
        os.close(self._from)
        os.close(self._into)


class Pipes:
    """Pipes that are lent; a few are kept."""

    def __init__(self) -> None:
        self._free: list[Pipe] = []

    def lend(self) -> Pipe | None:
        """Return an empty pipe, or None when there are no descriptors for one."""
        if self._free:
            return self._free.pop()
        try:
            return Pipe()
        except OSError:
            return None

    def take_back(self, pipe: Pipe) -> None:
        """Keep a pipe for the next one, if it is empty."""
        if pipe.held or len(self._free) >= _KEPT:
            pipe.close()
        else:
            self._free.append(pipe)

    def close(self) -> None:
        """Close those that are kept."""
        while self._free:
            self._free.pop().close()
