"""A peer that vanishes without a word is noticed: its packets are dropped, in a network namespace of the test."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import trustme

from sidecars.kit.net.connect import Liveness, connect
from sidecars.kit.net.core.causes import EndCause
from sidecars.kit.net.leg import Leg
from sidecars.kit.net.poller import Poller
from sidecars.kit.net.relay import Relay, RelayEnd, Side
from tests.support.waiting import until

PATIENCE_SECONDS = 60.0
ECHO = """
import socket, ssl, sys, threading
context = None
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
def serve(connection):
    if context:
        connection = context.wrap_socket(connection, server_side=True)
    while data := connection.recv(1000):
        connection.sendall(data)
listening = socket.create_server((sys.argv[1], 5432))
print("listens", flush=True)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""


class Namespace:
    """A network namespace with one address, behind a pair of interfaces."""

    def __init__(self) -> None:
        number = os.getpid() % 250
        self.name = f"sidecars-{os.getpid()}"
        self.here, self.there = f"10.231.{number}.1", f"10.231.{number}.2"
        self._link = f"sc{os.getpid()}"

    def make(self) -> None:
        """Raise subprocess.CalledProcessError or OSError where that is not allowed."""
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self._link, "type", "veth", "peer", "name", "inside", "netns", self.name)
        self._ip("addr", "add", f"{self.here}/30", "dev", self._link)
        self._ip("link", "set", self._link, "up")
        self._ip("-n", self.name, "addr", "add", f"{self.there}/30", "dev", "inside")
        self._ip("-n", self.name, "link", "set", "inside", "up")

    def swallow(self) -> None:
        """From now on nothing comes back from there, not even an acknowledgement."""
        self._ip("-n", self.name, "route", "add", "blackhole", f"{self.here}/32")

    def discard(self) -> None:
        """Leave nothing."""
        subprocess.run(["ip", "link", "del", self._link], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespace(without_server: Callable[[str, str], NoReturn]) -> Iterator[Namespace]:
    made = Namespace()
    try:
        made.make()
    except (OSError, subprocess.CalledProcessError) as error:
        made.discard()
        without_server("network namespace", f"ip netns add: {getattr(error, 'stderr', b'') or error}")
    yield made
    made.discard()


@pytest.fixture(params=["plain", "TLS"])
def context(request: pytest.FixtureRequest, namespace: Namespace, tmp_path: Path) -> Iterator[ssl.SSLContext | None]:
    """A server that echoes in the namespace; what its clients need."""
    words, client = [], None
    if request.param == "TLS":
        authority = trustme.CA()
        authority.issue_cert(namespace.there).private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "all.pem"))
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(client)
        words = [str(tmp_path / "all.pem")]
    command = ["ip", "netns", "exec", namespace.name, sys.executable, "-c", ECHO, namespace.there, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        until(server.stdout.readline, "the server to listen")
        yield client
        server.kill()


class Session:
    """An app, a relay, and the server in the namespace."""

    def __init__(self, app: socket.socket, running: asyncio.Task[RelayEnd]) -> None:
        self.app = app
        self._running = running

    async def end(self) -> RelayEnd:
        """Return how it ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._running


@pytest.fixture
async def session(
    request: pytest.FixtureRequest, namespace: Namespace, context: ssl.SSLContext | None
) -> AsyncIterator[Session]:
    liveness: Liveness = request.param
    app, near = socket.socketpair()
    app.settimeout(PATIENCE_SECONDS)
    with Poller() as poller:
        made = await connect(poller, [(namespace.there, 5432)], 10, liveness)
        if context is not None:
            await made.leg.start_tls(context, namespace.there)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(Relay(poller, Leg(poller, near), made.leg).run())
            app.sendall(b"x")
            assert await asyncio.to_thread(app.recv, 1) == b"x"
            yield Session(app, running)
            running.cancel()
    app.close()


WHILE_BUSY = Liveness(keep_idle_seconds=600, user_timeout_seconds=1.0)
WHILE_IDLE = Liveness(keep_idle_seconds=1, keep_interval_seconds=1, keep_probes=1, user_timeout_seconds=1.5)


@pytest.mark.parametrize("session", [WHILE_BUSY], indirect=True, ids=["busy"])
async def test_a_busy_session_ends(session: Session, namespace: Namespace) -> None:
    namespace.swallow()
    session.app.sendall(b"is anybody there?")
    end = await session.end()
    assert (end.side, end.cause) == (Side.UPSTREAM, EndCause.VANISHED)


@pytest.mark.parametrize("session", [WHILE_IDLE], indirect=True, ids=["idle"])
async def test_an_idle_session_ends(session: Session, namespace: Namespace) -> None:
    namespace.swallow()
    end = await session.end()
    assert (end.side, end.cause) == (Side.UPSTREAM, EndCause.VANISHED)


async def test_a_connect_goes_to_the_next_address(namespace: Namespace) -> None:
    namespace.swallow()
    with Poller() as poller, socket.create_server(("127.0.0.1", 0)) as good:
        made = await connect(poller, [(namespace.there, 5432), good.getsockname()], 60)
        assert made.place == good.getsockname()
        made.leg.close()
