"""HTTP targets. The only module here that imports aiohttp: who waits for ports only does not pay for it."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client import URL  # type: ignore[attr-defined] # yarl's, which aiohttp takes, and nobody else here needs

from sidecars import __version__
from sidecars.kit import http
from sidecars.runtime import Transient
from sidecars.wait_for.core.conditions import BODY_BYTES, needs_body, unmet
from sidecars.wait_for.core.target import HttpTarget
from sidecars.wait_for.settings import WaitForSettings

from .dial import Lookup
from .reasons import reason
from .tls import refused_certificate, tls_context

T = TypeVar("T")

_MATCH_SECONDS = 1.0
"""Longest time to look whether a body is as wanted."""
_REST_SECONDS, _LOOK_SECONDS = 0.2, 1.0
"""A body that does not end (an event stream, a log) is looked at when it rests for so long, and else so often."""


async def ask(target: HttpTarget, settings: WaitForSettings, lookup: Lookup, deadline: float) -> None:
    """Return when the answer is as wanted, over a connection of its own. Raise Transient, Permanent, UnusableFile, or
    TimeoutError at the deadline (on the loop's clock).
    """
    request = http.Request(
        method=target.method,
        url=URL(target.url, encoded=True),
        headers=_headers(target, settings),
        tls=tls_context(settings, verify=True) if target.tls else None,
        resolver=_Resolver(lookup),
    )
    try:
        async with asyncio.timeout_at(deadline), http.send(request) as response:
            missing = await _missing(target, response, deadline)
    except aiohttp.ClientConnectorCertificateError as error:
        raise refused_certificate(error.certificate_error, "it is not for this host") from None
    except aiohttp.ClientError as error:
        raise Transient(_reason(error)) from None
    if missing:
        raise Transient(missing)


def _headers(target: HttpTarget, settings: WaitForSettings) -> dict[str, str]:
    """Return what stands nearer to the target wins; names in the spelling that was given."""
    path = settings.bearer_token_file
    given = [
        ("User-Agent", f"wait-for/{__version__}"),
        *([("Authorization", http.bearer("bearer_token_file", path))] if path else []),
    ]
    merged = {name.lower(): (name, value) for name, value in (*given, *settings.headers.items(), *target.headers)}
    return dict(merged.values())


async def _missing(target: HttpTarget, response: aiohttp.ClientResponse, deadline: float) -> str:
    """Return what the answer lacks, or an empty text. A body is read only if it matters."""
    if not needs_body(target) or response.status not in target.statuses:
        return unmet(target, response.status, b"", whole=True)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Transient("its answer is compressed, though we asked for a plain one")
    return await _body_lacks(target, response, deadline)


async def _body_lacks(target: HttpTarget, response: aiohttp.ClientResponse, deadline: float) -> str:
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


def _lacks(target: HttpTarget, status: int, body: bytes) -> str:
    """Return what is not as it should be, or an empty text. Raise Transient when the pattern takes too long."""
    try:
        return within(_MATCH_SECONDS, lambda: unmet(target, status, body[:BODY_BYTES], whole=len(body) <= BODY_BYTES))
    except TooLong:
        raise Transient("the pattern takes too long with this answer; write one that repeats no repetition") from None


class TooLong(Exception):
    """The call did not end within its limit."""


def within(limit_seconds: float, call: Callable[[], T]) -> T:
    """Return what the call returns, or raise TooLong. In the main thread only, for there signal handlers run.

    A regular expression that backtracks can take years over 40 bytes, and the loop would stand still meanwhile, SIGTERM
    included. `re` looks for signals while it searches (SRE's MAYBE_CHECK_SIGNALS, Modules/_sre/sre_lib.h), so a handler
    that raises ends it.
    """
    armed = True

    def over(number: int, frame: FrameType | None) -> None:
        del number, frame
        if armed:
            raise TooLong

    before = signal.signal(signal.SIGALRM, over)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, limit_seconds)
            return call()
        finally:
            armed = False  # first: an alarm from here on comes too late
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


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
    """Return what went wrong without the URL, which may hold a secret."""
    match error:
        case aiohttp.ClientConnectorError():
            return reason(error.os_error)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection before an answer"
        case aiohttp.ClientOSError():  # made of the arguments of the one that it was
            return reason(error.__cause__ if isinstance(error.__cause__, OSError) else error)
        case aiohttp.ClientPayloadError():
            return "its answer was cut short"
        case aiohttp.ClientResponseError():
            return "it answered something that is not HTTP"
        case _:
            return f"no answer ({type(error).__name__})"
