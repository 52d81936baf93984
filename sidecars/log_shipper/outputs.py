"""Documents as NDJSON to stdout or into a file: for a laptop, a test, or another agent that reads them.

At least once: after a crash the lines since the last checkpoint are written again.
"""

import asyncio
import os
import select
import stat

from .append import append, write_all
from .core.batch import Payload
from .core.bulk import Answer

_STDOUT = 1
_PIPE_CHUNK_BYTES = select.PIPE_BUF
"""A pipe that polls as writable takes at least this much without blocking."""


class Stdout:
    """Writes to stdout, and waits without a thread when its reader is slow: a thread stuck in write(2) would keep the
    process from ending.
    """

    def __init__(self, fd: int = _STDOUT) -> None:
        self._fd = fd
        self._blocks = not stat.S_ISREG(os.fstat(fd).st_mode)

    async def send(self, payload: Payload) -> Answer:
        """Write the payload; accepted when all of it is written."""
        try:
            if self._blocks:
                await self._write_as_it_takes(payload.body)
            else:
                write_all(self._fd, payload.body)
        except OSError as error:
            return Answer(0, reason="output", detail=f"cannot write to stdout: {error.strerror}")
        return Answer(200, accepted=True)

    async def close(self) -> None:
        """Nothing is held."""

    async def _write_as_it_takes(self, body: bytes) -> None:
        view = memoryview(body)
        while view:
            if not select.select([], [self._fd], [], 0)[1]:
                await self._until_writable()
            view = view[os.write(self._fd, view[:_PIPE_CHUNK_BYTES]) :]

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
