"""What is said on a leg before bytes are passed through: it arrives whole, or it is told why not."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trustme

from sidecars.kit.net.core.causes import EndCause
from sidecars.kit.net.leg import Leg, LegBroken
from sidecars.kit.net.poller import Poller
from sidecars.kit.net.secured import Sessions
from tests.support.waiting import until_async

AUTHORITY = trustme.CA()
LONG = bytes(8 << 20)
"""More than the kernel takes at once."""


@dataclass
class Ends:
    """A leg, and the far end as a blocking socket."""

    poller: Poller
    leg: Leg
    far: socket.socket

    def reset(self) -> None:
        """Let the far end close with RST."""
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.far.close()


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("db.example.com").configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    with Poller() as poller, socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far = listening.accept()[0]
        far.settimeout(60)
        made = Ends(poller, Leg(poller, near), far)
        yield made
        made.leg.close()
        made.far.close()


async def test_what_is_sent_arrives_whole_and_what_was_put_back_comes_first(ends: Ends) -> None:
    sending = asyncio.gather(ends.leg.send(LONG))
    left = len(LONG)
    while left:
        left -= len(await asyncio.to_thread(ends.far.recv, 1 << 20))
    await sending
    ends.far.sendall(b"answer")
    assert await ends.leg.receive() == b"answer"
    ends.leg.unread(b"swer")
    assert await ends.leg.receive() == b"swer"
    ends.far.shutdown(socket.SHUT_WR)
    assert await ends.leg.receive() == b""


async def test_who_waits_is_told_of_a_reset(ends: Ends) -> None:
    sending = asyncio.gather(ends.leg.send(LONG), return_exceptions=True)
    await until_async(lambda: ends.leg.has_unsent, "the kernel to be full")
    ends.reset()
    (error,) = await sending
    assert isinstance(error, LegBroken)
    assert error.cause is EndCause.RESET


async def test_a_wait_that_was_cancelled_takes_nothing(ends: Ends) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await ends.leg.receive()
    ends.far.sendall(b"late")
    assert await ends.leg.receive() == b"late"


async def test_bytes_that_came_before_the_handshake_are_never_taken_for_secured_ones(ends: Ends) -> None:
    ends.far.sendall(b"Sevil")
    answer = await ends.leg.receive()
    ends.leg.unread(answer[1:])
    with pytest.raises(ValueError, match="before the handshake"):
        await ends.leg.start_tls(client_context(), "db.example.com")


async def test_a_refused_certificate_and_a_closed_door_are_told(ends: Ends) -> None:
    accepting = asyncio.to_thread(_accept, ends.far)
    shaking = ends.leg.start_tls(client_context(), "other.example.com")
    refused, _ = await asyncio.gather(shaking, accepting, return_exceptions=True)
    assert isinstance(refused, ssl.SSLCertVerificationError)


async def test_a_leg_is_a_server_by_its_context(ends: Ends) -> None:
    def dial() -> bytes:
        with client_context().wrap_socket(ends.far, server_hostname="db.example.com") as client:
            client.sendall(b"question")
            return client.recv(100)

    dialling = asyncio.gather(asyncio.to_thread(dial))
    await ends.leg.start_tls(server_context())
    assert await ends.leg.receive() == b"question"
    await ends.leg.send(b"answer")
    assert list(await dialling) == [b"answer"]


def _accept(far: socket.socket, context: ssl.SSLContext | None = None) -> None:
    with (context or server_context()).wrap_socket(far, server_side=True) as server:
        server.sendall(b"hello")
        server.recv(1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed_with_the_same_peer_and_name_only(version: ssl.TLSVersion) -> None:
    sessions, client, server = Sessions(), client_context(), server_context()
    server.maximum_version = version
    resumed = []
    with Poller() as poller, socket.create_server(("127.0.0.1", 0)) as listening:
        for name in ("db.example.com", "db.example.com", "DB.example.com"):
            leg = Leg(poller, socket.create_connection(listening.getsockname()))
            accepting = asyncio.gather(asyncio.to_thread(_accept, listening.accept()[0], server))
            facts = await leg.start_tls(client, name, sessions)
            assert await leg.receive() == b"hello"
            assert ("DNS", "db.example.com") in facts.peer_names
            resumed.append(facts.resumed)
            leg.close()
            await accepting
    assert resumed == [False, True, False]
