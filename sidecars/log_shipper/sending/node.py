"""One Elasticsearch node over HTTP: where it is, and one request to it.

The connections are ours (`connection`): made within a time limit, to each address of the node's name, and cut when a
request is given up. A redirect is an answer: following it would make a GET of a POST.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from .connection import CONNECT_SECONDS, LINE, Addresses, Connector, Line

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is. `prefix`: the path of its address, without a slash at the end. `tls`: for https."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    tls: ssl.SSLContext | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """From an address, without the credentials in it. Raises ValueError."""
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna" if not url.isascii() else "ascii").decode()
        return cls(parts.scheme, host, parts.port or _PORTS[parts.scheme], parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """The address as people know it, with its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


@dataclass(frozen=True, slots=True)
class Reply:
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

    def __init__(self, place: Place, addresses: Addresses, connections: int) -> None:
        self.place = place
        self._addresses = addresses
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    def twin(self) -> "Node":
        """The same node with connections of its own, none as yet."""
        return type(self)(self.place, self._addresses, self._connections)

    @property
    def routes(self) -> int:
        """How many addresses its name has."""
        return self._addresses.count(self.place.host)

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str], limit_seconds: float) -> Reply:
        """Return the answer, whatever its status. Raises NoReply."""
        session = self._session or self._open()
        timeout = aiohttp.ClientTimeout(total=limit_seconds, sock_connect=CONNECT_SECONDS)
        line = LINE.get(Line())
        LINE.set(line)
        done = False
        try:
            async with session.request(
                method,
                self.place.url + path,
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
                line.cut()
        return Reply(response.status, data, response.headers.get("Location", ""))

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
                ssl=self.place.tls or False,
                resolver=self._addresses,
                use_dns_cache=False,  # `Addresses` has it
            ),
        )
        return self._session
