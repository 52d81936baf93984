"""An app with a reload URL, as a process of its own: answers 200 to every request and says when its head arrived.

It prints its port first, then CLOCK_MONOTONIC (which all processes of a machine share) in seconds for each request.
Connections stay open for who wants to keep them. It ends with its stdin.
"""

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.figures import Broken

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_END = b"\r\n\r\n"
_PATIENCE_SECONDS = 60.0


class _Requests(asyncio.Protocol):
    """One connection. Bodies are not expected."""

    def __init__(self) -> None:
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        self._head += data
        while _END in self._head:
            self._head = self._head.partition(_END)[2]
            print(f"{at:.6f}", flush=True)
            self._transport.write(_ANSWER)


class Target:
    """The app, seen by the benchmark."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._out = process.stdout.fileno()
        self._rest = b""
        first: list[bytes] = []
        while not first and process.poll() is None:
            first = self._lines(_PATIENCE_SECONDS)
        if not first:
            raise Broken("the app with the reload URL did not start")
        self.port = int(first[0])

    def arrivals(self, within_seconds: float) -> list[float]:
        """The moments of the requests that came since this was asked last; waits for one at most so long."""
        return [float(line) for line in self._lines(within_seconds)]

    def _lines(self, within_seconds: float) -> list[bytes]:
        if select.select([self._out], [], [], within_seconds)[0]:
            self._rest += os.read(self._out, 1 << 16)
        *lines, self._rest = self._rest.split(b"\n")
        return lines


@contextmanager
def target() -> Iterator[Target]:
    """A running one."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe)
    try:
        yield Target(process)
    finally:
        process.communicate()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Requests, "127.0.0.1", 0)
    over = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
