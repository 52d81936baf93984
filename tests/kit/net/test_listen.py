"""Connections are accepted through exhaustion and pauses, and their PROXY headers are read from any pieces."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecars.kit.net.core.proxy_header import NotProxied, Origin
from sidecars.kit.net.leg import Leg
from sidecars.kit.net.listen import Listener, listen_tcp, listen_unix, take_origin
from sidecars.kit.net.poller import Poller
from tests.support.limits import descriptors_left
from tests.support.waiting import until_async


class Accepting:
    """A listener on a free port, and the legs that it has accepted."""

    def __init__(self, poller: Poller, listening: socket.socket) -> None:
        self.legs: list[Leg] = []
        self.errors: list[OSError] = []
        self.listener = Listener(poller, listening, self.legs.append)
        self.listener.exhausted = self.errors.append
        self.clients: list[socket.socket] = []

    def dial(self) -> socket.socket:
        """One more client."""
        address = self.listener.address
        client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        client.connect(address)
        self.clients.append(client)
        return client

    def close(self) -> None:
        """All of it."""
        self.listener.close()
        for leg in self.legs:
            leg.close()
        for client in self.clients:
            client.close()


@pytest.fixture
async def accepting() -> AsyncIterator[Accepting]:
    with Poller() as poller:
        accepting = Accepting(poller, listen_tcp("127.0.0.1", 0))
        yield accepting
        accepting.close()


async def test_descriptor_exhaustion_is_told_and_gone_through(accepting: Accepting) -> None:
    for _ in range(3):
        accepting.dial()
    with descriptors_left(0):
        await until_async(lambda: len(accepting.errors) >= 2, "two tries to fail")
        assert accepting.legs == []
    await until_async(lambda: len(accepting.legs) == 3, "those that waited to be accepted")


async def test_what_comes_in_a_pause_is_accepted_after_it(accepting: Accepting) -> None:
    accepting.listener.pause()
    accepting.dial()
    for _ in range(20):
        await asyncio.sleep(0)
    assert accepting.legs == []
    accepting.listener.resume()
    await until_async(lambda: len(accepting.legs) == 1, "the one that waited")


async def test_a_unix_socket_takes_the_place_of_a_dead_one_and_of_nothing_else(tmp_path: Path) -> None:
    path = str(tmp_path / ".s.PGSQL.5432")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    with Poller() as poller:
        accepting = Accepting(poller, listen_unix(path, 0o600))
        assert os.stat(path).st_mode & 0o777 == 0o600
        with pytest.raises(OSError, match="in use"):
            listen_unix(path)
        accepting.dial()
        await until_async(lambda: accepting.legs, "a connection")
        accepting.close()
        assert not os.path.exists(path)
    Path(path).write_text("somebody's")
    with pytest.raises(OSError, match="in use"):
        listen_unix(path)
    assert Path(path).read_text() == "somebody's"


HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.7 51000 5432\r\n"


async def test_a_header_is_taken_in_pieces_and_the_rest_is_for_whoever_reads_next(accepting: Accepting) -> None:
    client = accepting.dial()
    await until_async(lambda: accepting.legs, "a connection")
    leg = accepting.legs[0]
    reading = asyncio.gather(take_origin(leg))
    for piece in (HEADER[:3], HEADER[3:20], HEADER[20:] + b"rest"):
        client.sendall(piece)
        await asyncio.sleep(0)
    assert (await reading)[0] == Origin(("192.0.2.1", 51000), ("198.51.100.7", 5432))
    assert await leg.receive() == b"rest"


@pytest.mark.parametrize(
    ("said", "error"),
    [(b"\0\0\0\x08\x04\xd2\x16\x2f", NotProxied), (HEADER[:9], NotProxied), (None, TimeoutError)],
    ids=["no header", "half a header", "silence"],
)
async def test_who_sends_no_header_is_refused(accepting: Accepting, said: bytes | None, error: type[Exception]) -> None:
    client = accepting.dial()
    await until_async(lambda: accepting.legs, "a connection")
    if said is not None:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
    with pytest.raises(error):
        await take_origin(accepting.legs[0], 0.05 if said is None else 60)
