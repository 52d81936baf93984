"""Documents as NDJSON to stdout or into a file: for a laptop, a test, or another agent that reads them.

At least once: after a crash the lines since the last checkpoint are written again.
"""

import asyncio
import errno
import fcntl
import os
import select
import stat
import sys
import termios
from collections.abc import Iterable
from contextlib import suppress

from sidecars.kit.files import write_all
from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.bulk import Answer
from sidecars.runtime import Stop

_STDOUT = 1
_NEWLINE = ord("\n")
_PIPE_CHUNK_BYTES = select.PIPE_BUF
"""A pipe that polls as writable takes at least this much without blocking, and all of it or nothing."""
_PIPE_CAP_BYTES = 1 << 20
"""/proc/sys/fs/pipe-max-size, unless somebody changed it (pipe(7))."""
_LOOK_SECONDS = 0.02
"""How often a pipe is looked at whose reader is behind: the kernel does not tell when one has become empty."""


class Stream:
    """Writes to a descriptor, and waits without a thread when its reader is slow: a thread stuck in write(2) would keep
    the process from ending.
    """

    def __init__(self, fd: int, *, cut: bool = False) -> None:
        self.cut = cut
        """Whether the last write ended within a line."""
        self._fd = fd
        self._status = os.fstat(fd)
        self._blocks = not stat.S_ISREG(self._status.st_mode)
        self._poll = select.poll()  # select(2) knows no descriptor from 1024 on
        self._poll.register(fd, select.POLLOUT)

    async def write(self, body: bytes) -> None:
        """Write these lines, on a line of their own if the last one was cut. Raises OSError.

        What fits into a pipe's chunk goes as whole lines, so that no end of this process can leave half of one there.
        """
        if self.cut:
            body = b"\n" + body
        view, start = memoryview(body), 0
        while start < len(view):
            end = len(view)
            if self._blocks:
                if not self._events():
                    await self._until_writable()
                end = body.rfind(b"\n", start, start + _PIPE_CHUNK_BYTES) + 1 or start + _PIPE_CHUNK_BYTES
            start += os.write(self._fd, view[start:end])
            self.cut = view[start - 1] != _NEWLINE

    async def until_taken(self) -> None:
        """Wait until the reader of this pipe has taken all of it. Raises BrokenPipeError when there is none any more:
        what a pipe holds is gone when its last end is closed (pipe(7)).
        """
        while True:
            abandoned = self._events() & select.POLLERR  # looked at first: a reader may take the rest and go
            held = fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4))
            if not int.from_bytes(held, sys.byteorder):
                return
            if abandoned:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            await Stop().pause(_LOOK_SECONDS)

    def end_line(self) -> None:
        """Try to end a line in this pipe that was cut, for whoever writes next does not know of it. A full pipe is made
        larger for that.
        """
        if not self.cut:
            return
        with suppress(OSError):  # nobody reads any more, or the pipe may not grow
            size_bytes = fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ)
            if size_bytes < _PIPE_CAP_BYTES:
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 2 * size_bytes)
            os.write(self._fd, b"\n")
            self.cut = False

    def leads_to(self, path: str) -> bool:
        """Return whether this pipe is the one that is at the path now, and somebody has it open to read."""
        return os.path.samestat(self._status, os.stat(path)) and not self._events() & select.POLLERR

    def close(self) -> None:
        """Close the descriptor. What a pipe still holds is gone then, unless somebody else has it open."""
        os.close(self._fd)

    def _events(self) -> int:
        """Return what poll(2) says of the descriptor now; 0 while a write would block."""
        return sum(events for _, events in self._poll.poll(0))

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_writer(self._fd, ready.set)
        except PermissionError:  # epoll refuses what is always writable (/dev/null)
            return
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._fd)


class PlainTransport:
    """Of an output that takes payloads as they are."""

    def pack(self, pieces: Iterable[bytes]) -> bytes:
        """Return the pieces joined."""
        return b"".join(pieces)

    def unpack(self, body: bytes) -> bytes:
        """Return the same body."""
        return body


class Stdout(PlainTransport):
    """Writes to stdout."""

    def __init__(self) -> None:
        self._stream = Stream(_STDOUT)
        self._turn = asyncio.Lock()  # several payloads are under way at once, and each is written in pieces

    async def send(self, payload: Payload) -> Answer:
        """Write the payload; accepted when all of it is written."""
        try:
            async with self._turn:
                await self._stream.write(payload.body)
        except OSError as error:
            return Answer(0, reason="output", detail=f"cannot write to stdout: {error.strerror}")
        return Answer(200, accepted=True)

    async def close(self) -> None:
        """Do nothing: nothing is held."""


class NdjsonFile(PlainTransport):
    """Appends to a file and syncs it, in a thread because a disk may be slow. Into a named pipe it writes as the only
    one, and only while somebody reads it. The pipe stays open between payloads: to its reader a close is the end.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._pipe: Stream | None = None
        """What it holds has been taken, between two payloads."""
        self._cut = False
        """Whether the last line in the pipe was cut."""

    async def send(self, payload: Payload) -> Answer:
        """Append the payload; accepted when it is on the disk, or taken out of the pipe by its reader."""
        try:
            async with self._turn:
                if is_pipe(self._path):
                    await self._to_pipe(payload.body)
                else:
                    self._let_go()
                    await asyncio.to_thread(append, self._path, payload.body)
        except OSError as error:
            return Answer(0, reason="output", detail=f"cannot write {self._path} (output_path): {error.strerror}")
        return Answer(200, accepted=True)

    async def close(self) -> None:
        """Let the pipe go: its reader sees the end."""
        self._let_go()

    async def _to_pipe(self, body: bytes) -> None:
        """Write into the pipe, and wait until all of it is taken. When it is not, the pipe is closed, or the next
        reader would get what is written once more.
        """
        if self._pipe and not self._pipe.leads_to(self._path):
            self._let_go()
        stream = self._pipe = self._pipe or Stream(_open_pipe(self._path), cut=self._cut)
        try:
            await stream.write(body)
            await stream.until_taken()
        except BaseException:  # a stop, too
            self._let_go()
            raise

    def _let_go(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe:
            pipe.end_line()
            self._cut = pipe.cut
            pipe.close()


def _open_pipe(path: str) -> int:
    """Open the pipe for writing alone. Raises OSError when nobody reads it: opened for both, as append() would, it
    takes lines for nobody.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # fifo(7)
            raise OSError(errno.ENXIO, "nobody reads this named pipe") from error
        raise
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EAGAIN, "it has just been replaced")
    return fd


def append(path: str, data: bytes) -> None:
    """Append whole lines and fsync. Raises OSError, and leaves nothing of `data` behind then; refuses a named pipe."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        status = os.fstat(fd)
        if is_pipe(path):
            raise OSError(errno.EINVAL, "it is a named pipe, which keeps nothing")
        if not stat.S_ISREG(status.st_mode):  # a device knows neither fsync nor going back
            write_all(fd, data)
            return
        start = status.st_size
        try:
            if start and os.pread(fd, 1, start - 1) != b"\n":
                write_all(fd, b"\n")  # a crash left half a line
            write_all(fd, data)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, start)
            raise
    finally:
        os.close(fd)


def is_pipe(path: str) -> bool:
    """Return whether a named pipe is there. What it holds is gone when its last end is closed (pipe(7)); our own stdout
    and stderr stay open as long as we live.
    """
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode) and not os.path.realpath(path).startswith("/proc/")
    except OSError:
        return False
