"""The listening socket, apart from the server, so that it can go away for a while and come back on the same port.

That is how a backend's absence looks to a client: connections break and new ones are refused, and the data is still
there afterwards.
"""

import asyncio
import ssl

from aiohttp import web


class Listener:
    """Listens for an aiohttp server; remembers the port it was given first."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.port = port
        self._runner = runner
        self._host = host
        self._tls = tls
        self._socket: asyncio.Server | None = None
        self._return: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listens, if it does not yet. Raises: OSError when the port is taken."""
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self._socket is not None:
            return
        server = self._runner.server
        if server is None:
            raise RuntimeError("cannot listen: set the runner up first")
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(
            server, self._host, self.port, ssl=self._tls, reuse_address=True, backlog=1024
        )
        self.port = self._socket.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Refuses new connections and breaks the open ones."""
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    def down(self, seconds: float) -> None:
        """Closes now and listens again after `seconds`."""
        self.close()
        loop = asyncio.get_running_loop()
        self._return = loop.call_later(seconds, self._reopen)

    def _reopen(self) -> None:
        self._return = None
        self._opening = asyncio.get_running_loop().create_task(self.open())
