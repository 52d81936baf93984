"""Send one HTTP request over a connection of its own, and leave nothing of it behind.

No redirects, cookies, proxies of the environment, netrc, decompression or second attempts: what is sent is what the
settings say, once. Deadlines are the caller's (asyncio.timeout_at).
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp.typedefs import StrOrURL

from sidecars import __version__

from .files import read_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent, and how. `url` is requoted unless it is a URL (encoded=True). `tls`: needed for https.
    `server_name`: what the certificate must be for, if not the host of `url`. `unix_socket`: connect there; the host
    of `url` is only a name then. `resolver`: who looks the host up, if not the system.
    """

    method: str
    url: StrOrURL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: BytesIO | str | None = None
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    unix_socket: str = ""
    resolver: AbstractResolver | None = None


@asynccontextmanager
async def send(request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request and yield the answer as soon as its head is there. Raises aiohttp.ClientError, OSError, or
    ValueError (the address or a header cannot be sent). Afterwards the connection is cut, whoever holds it up.
    """
    connector = _connector(request)
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(),  # none: the deadline is the caller's
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    session._retry_connection = False  # no option turns it off: a PUT or GET that is cut would go out twice
    try:
        response = await session.request(
            request.method,
            request.url,
            headers={**_unless_given(request.headers), **request.headers},
            data=request.body,
            allow_redirects=False,
            server_hostname=request.server_name or None,
        )
        try:
            yield response
        finally:
            response.close()  # `async with` would wait until the request's body is taken
    finally:
        connector.cut()
        await session.close()


def _unless_given(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every request, without those that are given in any spelling: one would be sent twice."""
    given = {name.lower() for name in headers}
    ours = {"User-Agent": f"sidecars/{__version__}", "Accept-Encoding": "identity"}
    return {name: value for name, value in ours.items() if name.lower() not in given}


async def read_up_to(response: aiohttp.ClientResponse, body: bytearray, limit_bytes: int) -> None:
    """Append the answer's body to `body`; of one that is longer than the limit a little more than that. What came is
    in `body` however this ends: cancelled, or with aiohttp.ClientError or OSError.
    """
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit_bytes:
            return


def bearer(setting: str, path: str) -> str:
    """Return the value of Authorization for the token in a file, read now. Raises UnusableFile."""
    return f"Bearer {read_secret(setting, path)}"


def basic(username: str, password: str) -> str:
    """Return the value of Authorization for a user."""
    pair = f"{username}:{password}".encode(errors="surrogateescape")
    return f"Basic {base64.b64encode(pair).decode()}"


class _OneConnection(aiohttp.BaseConnector):
    """Remembers its connection: closing politely would wait, for good, for a peer that reads no more."""

    _opened: asyncio.Transport | None = None

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        connection = await super().connect(*args, **kwargs)
        self._opened = connection.transport
        return connection

    def cut(self) -> None:
        """Let go of the connection at once."""
        if self._opened:
            self._opened.abort()


class _Tcp(_OneConnection, aiohttp.TCPConnector):
    """To a host and port."""


class _Unix(_OneConnection, aiohttp.UnixConnector):
    """To a unix socket, with TLS: aiohttp's own has none, and sends what is meant for https in clear text (3.14)."""

    tls: ssl.SSLContext | None = None

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        # A part of aiohttp that is not public: nothing that is makes a connection to a unix socket with TLS.
        del traces, timeout
        name = (req.server_hostname or req.url.raw_host or "").removesuffix(".") if self.tls else None
        _, protocol = await self._loop.create_unix_connection(
            self._factory, self.path, ssl=self.tls, server_hostname=name
        )
        return protocol


def _connector(request: Request) -> _Tcp | _Unix:
    if request.unix_socket:
        connector = _Unix(request.unix_socket)
        connector.tls = request.tls
        return connector
    resolver = request.resolver or aiohttp.ThreadedResolver()
    return _Tcp(ssl=request.tls or True, resolver=resolver, use_dns_cache=False, force_close=True)
