"""One Elasticsearch node over HTTP: its address, its connections, and one request to it.

aiohttp does the work. It connects by RFC 8305 ("happy eyeballs"): the next address of the node's name is tried beside
the first after a quarter of a second. What it does not know is which address accepts connections and then says nothing,
and that the connection of a request that was given up must be cut. A redirect is an answer: to follow it would make a
GET of a POST.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from sidecars.log_shipper.core.hedging import ordered
from sidecars.runtime.clock import monotonic

_CONNECT_SECONDS = 5.0
"""For a connection and its TLS handshake, with one address; then the next one is tried."""
_LOOKUP_PATIENCE_SECONDS = 1.0
"""After so long, or when there is no answer, addresses that were known before do."""
_PORTS = {"http": 80, "https": 443}


class Connection:
    """The connection that one request goes over, as soon as there is one. `changed` is called when more is known of it:
    it is made, or its name was looked up.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._transport: asyncio.Transport | None = None
        self.changed = changed

    def taken(self, transport: asyncio.Transport | None) -> None:
        """Note that this is the connection."""
        self._transport = transport
        self.changed()

    @property
    def peer(self) -> str:
        """Return the address of its other end; empty while there is none."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if name else ""

    def cut(self) -> None:
        """Let go at once: a close would first try to send what the other end does not take."""
        if self._transport:
            self._transport.abort()


CONNECTION: ContextVar[Connection] = ContextVar("connection")
"""Set by who makes a request, in a task of its own: the connection is noted here."""


class Addresses(AbstractResolver):
    """Looks names up, and knows which of their addresses were silent lately."""

    def __init__(self, known_seconds: float = 10.0) -> None:
        """`known_seconds`: for so long a name is not looked up again."""
        self._known_seconds = known_seconds
        self._found: dict[str, tuple[float, list[ResolveResult]]] = {}
        self._silent_at: dict[str, float] = {}
        self._turn = 0

    def count(self, host: str) -> int:
        """Return how many addresses a name had the last time; 1 while that is not known."""
        return max(1, len(self._found.get(host, (0.0, []))[1]))

    def silent(self, connection: Connection) -> None:
        """Note that no answer came over this connection for too long."""
        if connection.peer:
            self._silent_at[connection.peer] = monotonic()

    def answered(self, connection: Connection) -> None:
        """Note that an answer came."""
        self._silent_at.pop(connection.peer, None)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return all addresses in the order in which they are to be tried. Raises OSError when none is known."""
        results = {result["host"]: result for result in await self._known(host, port, family)}
        self._turn += 1
        if connection := CONNECTION.get(None):
            connection.changed()
        return [results[address] for address in ordered([*results], self._silent_at, self._turn - 1, monotonic())]

    async def close(self) -> None:
        """Do nothing: connectors come and go, this stays."""

    async def look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        """Ask the name server. Raises OSError."""
        return await aiohttp.ThreadedResolver().resolve(host, port, family)

    async def _known(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        at, known = self._found.get(host, (0.0, []))
        if known and monotonic() - at < self._known_seconds:
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
    """Notes the connection of each request in `CONNECTION`."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Return one from the pool, or a new one."""
        made = await super().connect(*args, **kwargs)
        if connection := CONNECTION.get(None):
            connection.taken(made.transport)
        return made


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is. `prefix`: the path of its address, without a slash at the end. `tls`: for https."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    tls: ssl.SSLContext | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return what an address says, without the credentials in it. Raises ValueError."""
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna" if not url.isascii() else "ascii").decode()
        return cls(parts.scheme, host, parts.port or _PORTS[parts.scheme], parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """Return the address as people know it, with its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


@dataclass(frozen=True, slots=True)
class NodeReply:
    """What a node said. `location`: where to it redirects."""

    status: int
    body: bytes
    location: str = ""


class NoReply(Exception):
    """The node did not answer. `reason`: connection, timeout or tls; the text is that of the HTTP library."""

    def __init__(self, reason: str, text: str, sign: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.sign = f"{text} {sign}"
        """What the text and the kind of the error tell of the other end."""


class Node:
    """A node, and its connections: at most so many at once."""

    def __init__(self, address: NodeAddress, addresses: Addresses, connections: int) -> None:
        self.address = address
        self._addresses = addresses
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    def twin(self) -> "Node":
        """Return the same node with connections of its own, none as yet."""
        return type(self)(self.address, self._addresses, self._connections)

    @property
    def routes(self) -> int:
        """Return how many addresses its name has."""
        return self._addresses.count(self.address.host)

    async def ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], limit_seconds: float
    ) -> NodeReply:
        """Return the answer, whatever its status. Raises NoReply."""
        session = self._session or self._open()
        timeout = aiohttp.ClientTimeout(total=limit_seconds, sock_connect=_CONNECT_SECONDS)
        connection = CONNECTION.get(Connection())
        CONNECTION.set(connection)
        done = False
        try:
            async with session.request(
                method,
                self.address.url + path,
                data=body or None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                data = await response.read()
                done = True
        except TimeoutError:
            raise NoReply("timeout", "Connection timed out during request") from None
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            raise NoReply("tls", str(error), repr(error)) from None
        except (OSError, aiohttp.ClientError) as error:
            raise NoReply("connection", str(error), repr(error)) from None
        finally:
            if not done:
                connection.cut()
        return NodeReply(response.status, data, response.headers.get("Location", ""))

    async def close(self) -> None:
        """Close its connections."""
        session, self._session = self._session, None
        if session:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            headers={"Connection": "keep-alive"},
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=Connector(
                limit_per_host=self._connections,
                ssl=self.address.tls or False,
                resolver=self._addresses,
                use_dns_cache=False,  # `Addresses` has it
            ),
        )
        return self._session
