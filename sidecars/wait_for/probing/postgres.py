"""PostgreSQL targets: does the server take connections? As pg_isready asks, and encrypted where that is offered."""

import asyncio
import contextlib
import socket
import ssl

from sidecars.runtime import Transient
from sidecars.wait_for.core import postgres as protocol
from sidecars.wait_for.core.address import ascii_name
from sidecars.wait_for.core.postgres import Encryption, NotPostgres, PostgresError
from sidecars.wait_for.core.target import Postgres
from sidecars.wait_for.settings import WaitForSettings

from .dial import Lookup, dial
from .tls import refused_certificate, tls_context


async def ask(target: Postgres, settings: WaitForSettings, lookup: Lookup, deadline: float) -> None:
    """Return when it takes connections. Raise Transient, Permanent, OSError, or TimeoutError at the deadline (on the
    loop's clock).
    """
    context = tls_context(settings, verify=bool(settings.ca_file))
    async with asyncio.timeout_at(deadline):
        connection = await dial(lookup)
    with connection:
        try:
            async with asyncio.timeout_at(deadline):
                offered = await _offered(connection)
            if offered is not None:
                await _greet(target, connection, context if offered is Encryption.OFFERED else None, deadline)
        except NotPostgres as error:
            raise Transient(str(error)) from None


async def _offered(connection: socket.socket) -> Encryption | None:
    """Ask for encryption; None means that nothing more has to be asked. Raise Transient when the server refuses
    everybody, NotPostgres when it is none.
    """
    loop = asyncio.get_running_loop()
    answer = b""
    with contextlib.suppress(ConnectionError):  # closed by the other side, like the empty answer
        await loop.sock_sendall(connection, protocol.SSL_REQUEST)
        answer = await loop.sock_recv(connection, 1)
    if not answer:
        raise Transient("it closed the connection before an answer")
    with contextlib.suppress(BlockingIOError, ConnectionError):
        answer += connection.recv(1, socket.MSG_PEEK)
    offered = protocol.encryption(answer)
    if offered is not None:
        return offered
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        refusal = await _error(reader, answer[:1])
    except asyncio.IncompleteReadError:
        raise NotPostgres from None
    finally:
        writer.transport.abort()
    if refusal.is_about_us:
        return None
    raise Transient(f"it refuses connections: {refusal.sqlstate} {refusal.message}")


async def _greet(target: Postgres, connection: socket.socket, context: ssl.SSLContext | None, deadline: float) -> None:
    """Begin a session as far as the question who we are.

    Who has answered SSLRequest speaks the protocol: if it then closes, wants another TLS than ours, or says nothing
    until the deadline, it is a pooler or a small server that wants a login first, and counts as ready.
    """
    try:
        async with asyncio.timeout_at(deadline):
            await _talk(target, connection, context)
    except ssl.SSLCertVerificationError as error:
        raise refused_certificate(error, "it is not for this host") from None
    except (TimeoutError, ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        return


async def _talk(target: Postgres, connection: socket.socket, context: ssl.SSLContext | None) -> None:
    # without the dot of an absolute name, which no certificate has
    name = (ascii_name(target.host) or target.host).removesuffix(".") if context else None
    reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
    try:
        writer.write(protocol.startup(target.user, target.database))
        while True:
            kind = await reader.readexactly(1)
            if kind == b"E":
                refusal = await _error(reader, kind)
                if refusal.is_starting:
                    raise Transient(f"it takes no connections yet: {refusal.message}")
                return
            body = await _body(reader, kind)
            if kind == b"R":
                # else the protocol allows no Terminate, and the server would log it
                if protocol.is_authenticated(body):
                    writer.write(protocol.TERMINATE)
                return
    finally:
        writer.transport.abort()


async def _error(reader: asyncio.StreamReader, kind: bytes) -> PostgresError:
    return protocol.refusal(await _body(reader, kind))


async def _body(reader: asyncio.StreamReader, kind: bytes) -> bytes:
    """Read the rest of a message whose type was read."""
    head = kind + await reader.readexactly(protocol.HEAD_BYTES - len(kind))
    return await reader.readexactly(protocol.body_bytes(head))
