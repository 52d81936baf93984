"""Bytes, ends and breaks of a connection pass through a relay as they are, with and without TLS to the upstream."""

import asyncio
import hashlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trustme

from sidecars.kit.net.core.causes import EndCause
from sidecars.kit.net.leg import Leg
from sidecars.kit.net.poller import Poller
from sidecars.kit.net.relay import Relay, RelayEnd, RelayLimits, Side, Taps
from tests.support.scale import scaled
from tests.support.waiting import until_async

PATIENCE_SECONDS = 60.0
KINDS = ("plain", "TLSv1.2", "TLSv1.3")
BULK_BYTES = scaled(24 << 20, 1 << 30)
NO_LIMITS, NO_TAPS = RelayLimits(), Taps()
AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("db.example.com")


@dataclass
class Ends:
    """The far ends of both legs, as blocking sockets, and the relay between them."""

    client: socket.socket
    upstream: socket.socket
    relay: Relay
    running: asyncio.Task[RelayEnd]

    async def end(self) -> RelayEnd:
        """Return how it ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.running


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """A TCP connection: our end, the far end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far = listening.accept()[0]
    far.settimeout(PATIENCE_SECONDS)
    return near, far


def client_context() -> ssl.SSLContext:
    """As kit.certificates makes them (its own tests look at files)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def secured(far: socket.socket, kind: str) -> ssl.SSLSocket:
    """The far end as a TLS server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CERTIFICATE.configure_cert(context)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[kind.replace(".", "_")]
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context.wrap_socket(far, server_side=True, suppress_ragged_eofs=False)


@asynccontextmanager
async def through(
    kind: str = "plain", limits: RelayLimits = NO_LIMITS, taps: Taps = NO_TAPS, unread: bytes = b""
) -> AsyncIterator[Ends]:
    """A relay that runs."""
    with Poller() as poller:
        (near_client, client), (near_upstream, upstream) = tcp_pair(), tcp_pair()
        legs = Leg(poller, near_client), Leg(poller, near_upstream)
        if kind != "plain":
            far = asyncio.to_thread(secured, upstream, kind)
            _, upstream = await asyncio.gather(legs[1].start_tls(client_context(), "db.example.com"), far)
            assert legs[1].tls is not None
            assert legs[1].tls.version == kind
        legs[1].unread(unread)
        relay = Relay(poller, *legs, limits, taps)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(relay.run())
            try:
                yield Ends(client, upstream, relay, running)
            finally:
                running.cancel()
                client.close()
                upstream.close()


def read_all(far: socket.socket) -> bytes:
    """Read to the end, which must be a clean one."""
    data = bytearray()
    while piece := far.recv(65536):
        data += piece
    return bytes(data)


def finish(far: socket.socket) -> None:
    """Say that nothing more comes, and go on reading."""
    if isinstance(far, ssl.SSLSocket):
        far.setblocking(False)
        with suppress(ssl.SSLWantReadError):
            far.unwrap()
        far.settimeout(PATIENCE_SECONDS)
    else:
        far.shutdown(socket.SHUT_WR)


def reset(far: socket.socket) -> None:
    """Close with RST."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


async def is_reset(far: socket.socket) -> bool:
    """Whether the far end sees RST, and no clean end. (Looked at below TLS, which takes it for an early EOF.)"""
    if isinstance(far, ssl.SSLSocket):
        far = socket.socket(fileno=far.detach())
        far.settimeout(PATIENCE_SECONDS)
    try:
        await asyncio.to_thread(read_all, far)
    except ConnectionResetError:
        return True
    finally:
        far.close()
    return False


@pytest.mark.parametrize("kind", KINDS)
async def test_a_late_reply_arrives_after_the_client_has_ended(kind: str) -> None:
    async with through(kind) as ends:
        ends.client.sendall(b"question")
        ends.client.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(read_all, ends.upstream) == b"question"
        assert not ends.running.done()
        await asyncio.to_thread(ends.upstream.sendall, b"late reply")
        await asyncio.to_thread(finish, ends.upstream)
        assert await asyncio.to_thread(read_all, ends.client) == b"late reply"
        assert await ends.end() == RelayEnd(Side.CLIENT, EndCause.FINISHED, 8, 10)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_client_goes_on_after_the_upstream_has_ended(kind: str) -> None:
    async with through(kind) as ends:
        await asyncio.to_thread(ends.upstream.sendall, b"greeting")
        await asyncio.to_thread(finish, ends.upstream)
        assert await asyncio.to_thread(read_all, ends.client) == b"greeting"
        ends.client.sendall(b"late question")
        ends.client.shutdown(socket.SHUT_WR)
        if kind == "plain":  # Python's own TLS reads nothing more after its close_notify was answered
            assert await asyncio.to_thread(read_all, ends.upstream) == b"late question"
        else:
            assert await asyncio.to_thread(ends.upstream.recv, 100) == b"late question"
        assert await ends.end() == RelayEnd(Side.UPSTREAM, EndCause.FINISHED, 13, 8)


def send_in_slices(far: socket.socket, seed: int) -> str:
    """Send BULK_BYTES in pieces of any size; return their hash."""
    chance, digest, left = random.Random(seed), hashlib.sha256(), BULK_BYTES
    block = chance.randbytes(1 << 20)
    while left:
        piece = block[: min(left, chance.choice([1, 7, 1000, 16384, 16385, 200_000, 1 << 20]))]
        far.sendall(piece)
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def receive_slowly(far: socket.socket, seed: int) -> str:
    """Receive BULK_BYTES in pieces of any size; return their hash."""
    chance, digest, left = random.Random(seed), hashlib.sha256(), BULK_BYTES
    while left:
        piece = far.recv(min(left, chance.choice([1, 999, 65536, 1 << 20])))
        assert piece
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", Side)
async def test_bulk_arrives_as_it_was_sent(kind: str, side: Side) -> None:
    """In both directions; at once (for the side that is neither) without TLS: Python's sockets take turns with it."""
    async with through(kind) as ends:
        ways = {Side.CLIENT: (ends.client, ends.upstream), Side.UPSTREAM: (ends.upstream, ends.client)}
        chosen = ways.values() if side is Side.SIDECAR and kind == "plain" else [ways.get(side, ways[Side.CLIENT])]
        moves = [
            asyncio.to_thread(move, far, number)
            for number, way in enumerate(chosen)
            for move, far in zip((send_in_slices, receive_slowly), way, strict=True)
        ]
        digests = await asyncio.gather(*moves)
        assert digests[::2] == digests[1::2]
        ends.client.shutdown(socket.SHUT_WR)
        await asyncio.to_thread(read_all, ends.upstream)
        await asyncio.to_thread(finish, ends.upstream)
        assert (await ends.end()).cause == EndCause.FINISHED


@pytest.mark.parametrize("kind", KINDS[1:])
async def test_the_end_of_the_client_costs_nothing_of_what_is_under_way_from_the_upstream(kind: str) -> None:
    async with through(kind) as ends:
        sending = threading.Thread(target=send_in_slices, args=(ends.upstream, 3), daemon=True)
        sending.start()
        await until_async(lambda: ends.relay.counts[1] > 0, "the first bytes")
        ends.client.shutdown(socket.SHUT_WR)
        digest = await asyncio.to_thread(receive_slowly, ends.client, 4)
        await asyncio.to_thread(sending.join)
        assert digest == send_in_slices_of(3)


def send_in_slices_of(seed: int) -> str:
    """The hash of what send_in_slices sends."""

    class Nowhere:
        def sendall(self, data: bytes) -> None:
            """Take it."""

    return send_in_slices(Nowhere(), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reset_goes_through_as_a_reset(kind: str) -> None:
    async with through(kind) as ends:
        ends.client.sendall(b"x")
        await asyncio.to_thread(ends.upstream.recv, 1)
        reset(ends.client)
        end = await ends.end()
        assert (end.side, end.cause) == (Side.CLIENT, EndCause.RESET)
        assert await is_reset(ends.upstream)
    async with through(kind) as ends:
        reset(ends.upstream)
        end = await ends.end()
        assert (end.side, end.cause) == (Side.UPSTREAM, EndCause.RESET)
        assert await is_reset(ends.client)


async def test_a_client_that_is_gone_after_its_half_close_is_noticed() -> None:
    async with through() as ends:
        ends.client.sendall(b"question")
        ends.client.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(read_all, ends.upstream) == b"question"
        reset(ends.client)
        end = await ends.end()
        assert (end.side, end.cause) == (Side.CLIENT, EndCause.RESET)
        with pytest.raises(BrokenPipeError):
            ends.upstream.sendall(b"late reply")


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    ("last", "cause"), [(b"", EndCause.TRUNCATED), (b"no record at all", EndCause.TLS_BROKEN)], ids=["cut", "garbage"]
)
async def test_tls_that_ends_without_close_notify_is_no_clean_end(kind: str, last: bytes, cause: EndCause) -> None:
    async with through(kind) as ends:
        raw = socket.socket(fileno=ends.upstream.detach())
        raw.sendall(last)
        raw.shutdown(socket.SHUT_WR)
        end = await ends.end()
        assert (end.side, end.cause) == (Side.UPSTREAM, cause)
        assert await is_reset(ends.client)
        raw.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_who_does_not_read_holds_the_other_side_back(kind: str) -> None:
    async with through(kind) as ends:
        sending = threading.Thread(target=send_in_slices, args=(ends.upstream, 5), daemon=True)
        sending.start()
        before = -1
        while ends.relay.counts[1] != before:  # until it stands still
            before = ends.relay.counts[1]
            await asyncio.sleep(0.3)
        assert before < BULK_BYTES
        assert await asyncio.to_thread(receive_slowly, ends.client, 6) == send_in_slices_of(5)
        await asyncio.to_thread(sending.join)


async def test_last_words_arrive_though_the_client_had_said_more() -> None:
    async with through() as ends:
        ends.client.sendall(b"x" * 100_000)
        ends.relay.close("demoted", b"the last words")
        assert await asyncio.to_thread(read_all, ends.client) == b"the last words"
        assert (await ends.end()).cause == "demoted"


LIMITS: dict[str, tuple[RelayLimits, Callable[[Ends], None]]] = {
    EndCause.IDLE: (RelayLimits(idle_seconds=0.05), lambda _: None),
    EndCause.AGE: (RelayLimits(age_seconds=0.05, idle_seconds=60), lambda _: None),
    EndCause.HALF_CLOSED: (RelayLimits(half_closed_seconds=0.05), lambda ends: ends.client.shutdown(socket.SHUT_WR)),
}


@pytest.mark.parametrize("cause", LIMITS)
async def test_a_limit_ends_it_cleanly(cause: str) -> None:
    limits, begin = LIMITS[cause]
    async with through(limits=limits) as ends:
        begin(ends)
        end = await ends.end()
        assert (end.side, end.cause) == (Side.SIDECAR, cause)
        assert await asyncio.to_thread(read_all, ends.client) == b""
        assert await asyncio.to_thread(read_all, ends.upstream) == b""


async def test_taps_see_everything_and_may_change_it_and_what_was_put_back_comes_first() -> None:
    seen = bytearray()

    def see(data: memoryview) -> None:
        seen.extend(data)

    taps = Taps(to_upstream=see, to_client=lambda data: bytes(data).upper())
    async with through(taps=taps, unread=b"first, ") as ends:
        await asyncio.to_thread(ends.upstream.sendall, b"second")
        ends.upstream.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(read_all, ends.client) == b"FIRST, SECOND"
        ends.client.sendall(b"question")
        ends.client.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(read_all, ends.upstream) == b"question"
        await ends.end()
        assert seen == b"question"


async def test_a_cancelled_relay_resets_both_sides() -> None:
    async with through() as ends:
        await until_async(lambda: not ends.running.done(), "the relay to run")
        ends.client.sendall(b"x")
        await asyncio.to_thread(ends.upstream.recv, 1)
        ends.running.cancel()
        assert await is_reset(ends.client)
        assert await is_reset(ends.upstream)
