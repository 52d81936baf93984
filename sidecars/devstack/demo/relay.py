"""A relay between the shipper and its backend, which can be taken away: a backend that is gone, without touching it.

It carries bytes and knows nothing of HTTP. Towards a server with TLS it is the TLS client, so that the server's name is
still checked while the shipper talks to a port of this machine.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

_CHUNK_BYTES = 1 << 16
_HOST = "127.0.0.1"


class Relay:
    """Listens on a free port of the loopback. While it is down, open connections break and new ones are refused."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._far = (host, port, tls)
        self._place = _bound(0)  # never listens: it keeps the port ours while the relay is down
        self.port: int = self._place.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Carries for `host:port` until the block ends."""
        relay = cls(host, port, tls)
        await relay.up()
        try:
            yield relay
        finally:
            relay.down()
            await asyncio.gather(*relay._lines, return_exceptions=True)
            relay._place.close()

    async def up(self) -> None:
        """Listens, if it does not yet."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=_bound(self.port))

    def down(self) -> None:
        """Refuses new connections and breaks the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in self._lines:
            line.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.get_running_loop().create_task(self._carry(reader, writer), name="relay")
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port, tls = self._far
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port, ssl=tls)
            ends.append(far_writer)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            writer.transport.abort()  # the backend is really away: break off, as it would
        except asyncio.CancelledError:
            for end in ends:
                end.transport.abort()
            raise


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its source ends."""
    try:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.close()


def _bound(port: int) -> socket.socket:
    """A socket on the loopback, several of which may share one port."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((_HOST, port))
    return bound
