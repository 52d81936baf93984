"""HTTP targets. The only module here that imports aiohttp: who waits for ports only does not pay for it."""

import asyncio
import socket
import ssl

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client import URL  # type: ignore[attr-defined] # yarl's, which aiohttp takes, and nobody else here needs

from sidecars import __version__
from sidecars.runtime import Permanent, Transient

from .alarm import TooLong, within
from .core.conditions import BODY_BYTES, needs_body, unmet
from .core.target import Http
from .dial import Lookup
from .files import bearer_token, tls_context
from .settings import WaitForSettings
from .words import words

_MATCH_SECONDS = 1.0
"""Longest time to look whether a body is as wanted."""


async def ask(target: Http, settings: WaitForSettings, lookup: Lookup, deadline: float) -> None:
    """Return when the answer is as wanted, over a connection of its own. Raise Transient, Permanent, or TimeoutError at
    the deadline (on the loop's clock).
    """
    headers = _headers(target, settings)
    context = tls_context(settings, verify=True) if target.tls else False
    try:
        async with asyncio.timeout_at(deadline):
            status, body = await _answer(target, headers, _connector(lookup, context))
    except aiohttp.ClientConnectorCertificateError as error:
        raise Permanent(f"its certificate is refused: {_refusal(error.certificate_error)}") from None
    except aiohttp.ClientError as error:
        raise Transient(_reason(error)) from None
    try:
        missing = within(
            _MATCH_SECONDS, lambda: unmet(target, status, body[:BODY_BYTES], whole=len(body) <= BODY_BYTES)
        )
    except TooLong:
        raise Transient("the pattern takes too long with this answer; write one that repeats no repetition") from None
    if missing:
        raise Transient(missing)


def _headers(target: Http, settings: WaitForSettings) -> dict[str, str]:
    """What stands nearer to the target wins; names in the spelling that was given."""
    token = bearer_token(settings)
    given = [
        ("User-Agent", f"wait-for/{__version__}"),
        ("Accept-Encoding", "identity"),  # what is unpacked may be of any size
        *([("Authorization", f"Bearer {token}")] if token else []),
    ]
    merged = {name.lower(): (name, value) for name, value in (*given, *settings.headers.items(), *target.headers)}
    return dict(merged.values())


def _connector(lookup: Lookup, context: ssl.SSLContext | bool) -> aiohttp.TCPConnector:  # noqa: FBT001 (what aiohttp takes)
    return aiohttp.TCPConnector(resolver=_Resolver(lookup), use_dns_cache=False, force_close=True, ssl=context)


async def _answer(target: Http, headers: dict[str, str], connector: aiohttp.TCPConnector) -> tuple[int, bytes]:
    """Return the status and, if it matters, the body, one byte more than we look at when it is longer."""
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        ) as session,
        session.request(
            target.method, URL(target.url, encoded=True), headers=headers, allow_redirects=False
        ) as response,
    ):
        body = b""
        if needs_body(target) and response.status in target.statuses:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Transient("its answer is compressed, though we asked for a plain one")
            while len(body) <= BODY_BYTES and (chunk := await response.content.read(BODY_BYTES + 1 - len(body))):
                body += chunk
        return response.status, body


class _Resolver(AbstractResolver):
    """Gives aiohttp the addresses of our own lookup, whose threads cannot pile up."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses, of both families."""
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=found,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for found, address in await self._lookup.addresses()
        ]

    async def close(self) -> None:
        """Nothing is kept here."""


def _refusal(error: Exception) -> str:
    return getattr(error, "verify_message", "") or "it is not for this host"


def _reason(error: aiohttp.ClientError) -> str:
    """Words without the URL, which may hold a secret."""
    match error:
        case aiohttp.ClientConnectorError():
            return words(error.os_error)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection before an answer"
        case aiohttp.ClientOSError():  # made of the arguments of the one that it was
            return words(error.__cause__ if isinstance(error.__cause__, OSError) else error)
        case aiohttp.ClientPayloadError():
            return "its answer was cut short"
        case aiohttp.ClientResponseError():
            return "it answered something that is not HTTP"
        case _:
            return f"no answer ({type(error).__name__})"
