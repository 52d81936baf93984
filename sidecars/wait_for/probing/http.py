"""HTTP targets. The only module here that imports aiohttp: who waits for ports only does not pay for it."""

import asyncio
import socket
import ssl

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client import URL  # type: ignore[attr-defined] # yarl's, which aiohttp takes, and nobody else here needs

from sidecars import __version__
from sidecars.runtime import Transient
from sidecars.wait_for.core.conditions import BODY_BYTES, needs_body, unmet
from sidecars.wait_for.core.target import Http
from sidecars.wait_for.settings import WaitForSettings

from .alarm import TooLong, within
from .dial import Lookup
from .files import bearer_token, refused_certificate, tls_context
from .words import words

_MATCH_SECONDS = 1.0
"""Longest time to look whether a body is as wanted."""
_REST_SECONDS, _LOOK_SECONDS = 0.2, 1.0
"""A body that does not end (an event stream, a log) is looked at when it rests for so long, and else so often."""


async def ask(target: Http, settings: WaitForSettings, lookup: Lookup, deadline: float) -> None:
    """Return when the answer is as wanted, over a connection of its own. Raise Transient, Permanent, or TimeoutError at
    the deadline (on the loop's clock).
    """
    headers = _headers(target, settings)
    context = tls_context(settings, verify=True) if target.tls else False
    try:
        async with asyncio.timeout_at(deadline):
            missing = await _answer(target, headers, _connector(lookup, context), deadline)
    except aiohttp.ClientConnectorCertificateError as error:
        raise refused_certificate(error.certificate_error, "it is not for this host") from None
    except aiohttp.ClientError as error:
        raise Transient(_reason(error)) from None
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


async def _answer(target: Http, headers: dict[str, str], connector: aiohttp.TCPConnector, deadline: float) -> str:
    """Return what the answer lacks, or an empty text. A body is read only if it matters."""
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
        if not needs_body(target) or response.status not in target.statuses:
            return unmet(target, response.status, b"", whole=True)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Transient("its answer is compressed, though we asked for a plain one")
        return await _body_lacks(target, response, deadline)


async def _body_lacks(target: Http, response: aiohttp.ClientResponse, deadline: float) -> str:
    """Read the body until it is as wanted, is over, is longer than we look at, or the attempt's time is up."""
    now = asyncio.get_running_loop().time
    body, rested, looked = b"", True, now()
    deadline -= min(_REST_SECONDS, (deadline - looked) / 4)  # so that what came until then is still looked at
    while len(body) <= BODY_BYTES:
        try:
            async with asyncio.timeout_at(deadline if rested else min(deadline, now() + _REST_SECONDS)):
                chunk = await response.content.read(BODY_BYTES + 1 - len(body))
        except TimeoutError:
            rested = True
            chunk = b""
        else:
            rested = False
            if not chunk:
                return _lacks(target, response.status, body)
        body += chunk
        if not rested and now() - looked < _LOOK_SECONDS:
            continue
        # of JSON only the whole is any
        missing = _lacks(target, response.status, body) if target.json is None else "its JSON does not end"
        if not missing or now() >= deadline:
            return missing
        looked = now()
    return _lacks(target, response.status, body)


def _lacks(target: Http, status: int, body: bytes) -> str:
    """Return what is not as it should be, or an empty text. Raise Transient when the pattern takes too long."""
    try:
        return within(_MATCH_SECONDS, lambda: unmet(target, status, body[:BODY_BYTES], whole=len(body) <= BODY_BYTES))
    except TooLong:
        raise Transient("the pattern takes too long with this answer; write one that repeats no repetition") from None


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
