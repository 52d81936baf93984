"""PostgreSQL on its way to a node: SSLRequest before TLS, and the first answer to a StartupMessage."""

import asyncio

from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.core.postgres import SSL_REQUEST, BrokenServer, MessageReader, error_fields
from sidecars.kit.net.leg import Leg

from .failure import ConnectFailed

_STARTING = "57P03"


async def ask_for_tls(leg: Leg) -> None:
    """Ask the server for TLS. Nothing is ever sent in plain text in place of it. Raise ConnectFailed, LegBroken."""
    await leg.send(SSL_REQUEST)
    answer = await leg.receive()
    if not answer:
        raise ConnectFailed(Cause.REFUSED, "it closed the connection before an answer")
    if answer == b"S":
        return
    if answer[:1] == b"S":
        raise ConnectFailed(Cause.BYTES_BEFORE_TLS, "bytes followed its answer to SSLRequest: somebody is in between")
    if answer[:1] == b"N":
        raise ConnectFailed(Cause.TLS_REFUSED, "it has no TLS (it answers N to SSLRequest)")
    if answer[:1] == b"E":
        raise ConnectFailed(Cause.REFUSED, f"it refuses connections: {await _error_text(leg, answer)}")
    raise ConnectFailed(Cause.BROKEN_UPSTREAM, "it does not speak PostgreSQL")


async def _error_text(leg: Leg, received: bytes) -> str:
    reader = MessageReader()
    try:
        while not (found := reader.feed(received)):
            received = await leg.receive()
            if not received:
                return "without a reason"
    except BrokenServer:
        return "without a reason"
    return error_fields(found[0][1]).get("M", "")


async def begin(leg: Leg, startup: bytes, patience_seconds: float) -> bytes:
    """Send a client's StartupMessage, and return what the server says first; nothing when that takes longer.

    A server that is starting up or shutting down says so only now: then it is as good as not there, and nothing has
    gone to the client yet. Raise ConnectFailed, LegBroken.
    """
    await leg.send(startup)
    reader, received = MessageReader(), b""
    try:
        async with asyncio.timeout(patience_seconds):
            while (first := reader.next()) is None:
                piece = await leg.receive()
                if not piece:
                    raise ConnectFailed(Cause.REFUSED, "it closed the connection before an answer")
                received += piece
                reader.rest = received
    except TimeoutError:
        return received
    except BrokenServer as error:
        raise ConnectFailed(Cause.BROKEN_UPSTREAM, str(error)) from None
    kind, body = first
    if kind == b"E" and error_fields(body).get("C") == _STARTING:
        raise ConnectFailed(Cause.REFUSED, error_fields(body).get("M", "it takes no connections now"))
    return received
