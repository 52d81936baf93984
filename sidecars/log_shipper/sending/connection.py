"""Connections to Elasticsearch: one that is not made in time is made to the next address of the same name, and one
whose request was given up is cut.

aiohttp does the work. It connects by RFC 8305 ("happy eyeballs"): the next address is tried beside the first after a
quarter of a second. What it does not know is which address accepts connections and then says nothing.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from sidecars.log_shipper.core.hedging import ordered
from sidecars.runtime.stop import monotonic

CONNECT_SECONDS = 5.0
"""For a connection and its TLS handshake, with one address; then the next one is tried."""
_LOOKUP_SECONDS = 10.0
"""For so long a name is not looked up again."""
_LOOKUP_PATIENCE_SECONDS = 1.0
"""After so long, or when there is no answer, addresses that were known before do."""


class Line:
    """The connection that one request goes over, as soon as there is one. `told` is called when more is known of it."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self._transport: asyncio.Transport | None = None
        self.told = told

    def taken(self, transport: asyncio.Transport | None) -> None:
        """This is the connection."""
        self._transport = transport
        self.told()

    @property
    def peer(self) -> str:
        """The address of its other end; empty while there is none."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if name else ""

    def cut(self) -> None:
        """Let go at once: a close would first try to send what the other end does not take."""
        if self._transport:
            self._transport.abort()


LINE: ContextVar[Line] = ContextVar("line")
"""Set by who makes a request, in a task of its own: the connection is noted here."""


class Addresses(AbstractResolver):
    """Looks names up, and knows which of their addresses were silent lately."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, list[ResolveResult]]] = {}
        self._silent_at: dict[str, float] = {}
        self._turn = 0

    def count(self, host: str) -> int:
        """How many addresses a name had the last time; 1 while that is not known."""
        return max(1, len(self._found.get(host, (0.0, []))[1]))

    def silent(self, line: Line) -> None:
        """No answer came over this connection for too long."""
        if line.peer:
            self._silent_at[line.peer] = monotonic()

    def answered(self, line: Line) -> None:
        """One came."""
        self._silent_at.pop(line.peer, None)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses in the order in which they are to be tried. Raises OSError when none is known."""
        results = {result["host"]: result for result in await self._known(host, port, family)}
        self._turn += 1
        if line := LINE.get(None):
            line.told()
        return [results[address] for address in ordered([*results], self._silent_at, self._turn - 1, monotonic())]

    async def close(self) -> None:
        """Nothing is held: connectors come and go, this stays."""

    async def look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        """Ask the name server. Raises OSError."""
        return await aiohttp.ThreadedResolver().resolve(host, port, family)

    def forget_age(self) -> None:
        """Look all names up again at the next connection."""
        self._found = {host: (-math.inf, found) for host, (_, found) in self._found.items()}

    async def _known(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        at, known = self._found.get(host, (0.0, []))
        if known and monotonic() - at < _LOOKUP_SECONDS:
            return known
        try:
            async with asyncio.timeout(_LOOKUP_PATIENCE_SECONDS if known else None):
                found = await self.look_up(host, port, family)
        except (OSError, TimeoutError):
            if not known:
                raise
            found = known  # name servers are away now and then, and the end of a pod must not wait for one
        self._found[host] = (monotonic(), found)
        return found


class Connector(aiohttp.TCPConnector):
    """Notes the connection of each request in `LINE`."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """One from the pool, or a new one."""
        connection = await super().connect(*args, **kwargs)
        if line := LINE.get(None):
            line.taken(connection.transport)
        return connection
