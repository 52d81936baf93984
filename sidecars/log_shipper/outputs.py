"""Documents as NDJSON to stdout or into a file: for a laptop, a test, or another agent that reads them.

At least once: after a crash the lines since the last checkpoint are written again.
"""

import asyncio
import os
import select
import stat

from .append import append
from .core.batch import Payload
from .core.bulk import Answer

_STDOUT = 1
_NEWLINE = ord("\n")
_PIPE_CHUNK_BYTES = select.PIPE_BUF
"""A pipe that polls as writable takes at least this much without blocking."""


class Stdout:
    """Writes to stdout, and waits without a thread when its reader is slow: a thread stuck in write(2) would keep the
    process from ending.
    """

    def __init__(self, fd: int = _STDOUT) -> None:
        self._fd = fd
        self._blocks = not stat.S_ISREG(os.fstat(fd).st_mode)
        self._turn = asyncio.Lock()  # several payloads are under way at once, and each is written in pieces
        self._cut = False
        """Whether the last write ended within a line."""

    async def send(self, payload: Payload) -> Answer:
        """Write the payload; accepted when all of it is written."""
        try:
            async with self._turn:
                await self._write(b"\n" + payload.body if self._cut else payload.body)
        except OSError as error:
            return Answer(0, reason="output", detail=f"cannot write to stdout: {error.strerror}")
        return Answer(200, accepted=True)

    async def close(self) -> None:
        """Nothing is held."""

    async def _write(self, body: bytes) -> None:
        view = memoryview(body)
        while view:
            if self._blocks and not select.select([], [self._fd], [], 0)[1]:
                await self._until_writable()
            size = os.write(self._fd, view[:_PIPE_CHUNK_BYTES] if self._blocks else view)
            self._cut = view[size - 1] != _NEWLINE
            view = view[size:]

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


class NdjsonFile:
    """Appends to a file and syncs it, in a thread because a disk may be slow."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = asyncio.Lock()

    async def send(self, payload: Payload) -> Answer:
        """Append the payload; accepted when it is on the disk."""
        try:
            async with self._turn:
                await asyncio.to_thread(append, self._path, payload.body)
        except OSError as error:
            return Answer(0, reason="output", detail=f"cannot write {self._path} (output_path): {error.strerror}")
        return Answer(200, accepted=True)

    async def close(self) -> None:
        """Nothing is held."""
