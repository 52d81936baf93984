"""A node: its address; real connections to one name with several addresses, and what one that does not answer costs."""

import contextlib
import os
import socket
import ssl
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiohttp.abc import ResolveResult

from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.hedging import Hedge
from sidecars.log_shipper.sending.elastic import Elastic
from sidecars.log_shipper.sending.node import Addresses, NodeAddress
from sidecars.runtime import Stop
from tests.support.context import settings
from tests.support.listeners import Listener, Script, closing, response, silent

PAYLOAD = Payload(b'{"create":{}}\n{}\n', 1, array("Q", [10]))
DEAD, LIVE = "127.0.0.2", "127.0.0.3"


def answering(connection: socket.socket) -> None:
    """Take a request to its end, answer, and so on."""
    with connection.makefile("rb") as stream:
        length = 0
        while line := stream.readline():
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
            elif line == b"\r\n":
                stream.read(length)
                connection.sendall(response(200, b"{}"))


class Book(Addresses):
    """`es.invalid` has two addresses, the dead one first; as long as there are answers to look-ups at all."""

    def __init__(self, *hosts: str) -> None:
        super().__init__(known_seconds=0)
        self.hosts = hosts
        self.lookups = 0

    async def look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        self.lookups += 1
        if not self.hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        usual = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": socket.AI_NUMERICHOST}
        return [ResolveResult(host=each, **usual) for each in self.hosts]  # type: ignore[typeddict-item]


class Hosts:
    """Listeners on the two addresses, both on one port."""

    def __init__(self) -> None:
        self.live = Listener(at=(LIVE, 0)).listen(answering)
        self.dead = Listener(at=(DEAD, self.live.port))
        self.hedges: list[Hedge] = []
        self.book = Book(DEAD, LIVE)

    def elastic(self) -> Elastic:
        url = f"http://es.invalid:{self.live.port}"
        return Elastic(settings(elasticsearch_url=(url,)), Stop(), self.hedges.append, self.book)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    with made.live, made.dead:
        yield made


async def timed(elastic: Elastic, payload: Payload = PAYLOAD) -> tuple[float, int, tuple[str, ...]]:
    began = time.monotonic()
    answer = await elastic.send(payload)
    return time.monotonic() - began, answer.status, answer.failovers


async def test_a_first_address_that_swallows_packets_costs_a_quarter_of_a_second(hosts: Hosts) -> None:
    hosts.dead.swallow()
    elastic = hosts.elastic()
    seconds, status, failovers = await timed(elastic)
    assert (status, failovers) == (200, ())
    assert 0.2 < seconds < 2, "the other address is tried beside it"
    await elastic.close()


@pytest.mark.parametrize("script", [silent, closing], ids=["is silent", "closes"])
async def test_a_first_address_that_accepts_and(hosts: Hosts, script: Script) -> None:
    hosts.dead.listen(script)
    elastic = hosts.elastic()
    seconds, status, failovers = await timed(elastic)
    assert status == 200
    assert hosts.dead.accepted >= 1
    assert seconds < 5
    # On a busy machine the close may be heard after the second for which an answer is waited.
    assert failovers[-1] == ("timeout" if script is silent else "connection")
    assert script is closing or hosts.hedges == [Hedge.NODES]
    await elastic.close()


@pytest.mark.parametrize("dead", [True, False], ids=["beside one that is silent amid the handshake", "alone"])
async def test_a_name_with_tls_is_verified_without_the_dot_of_an_absolute_name(tmp_path: Path, dead: bool) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("es.invalid").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    live = Listener(at=(LIVE, 0)).listen(answering, context)
    with live, Listener(at=(DEAD, live.port)).listen(silent) as other:
        given = settings(elasticsearch_url=(f"https://es.invalid.:{live.port}",), ca_file=str(tmp_path / "ca.pem"))
        elastic = Elastic(given, addresses=Book(*([DEAD, LIVE] if dead else [LIVE])))
        seconds, status, failovers = await timed(elastic)
        assert (status, failovers) == (200, ("timeout",) if dead else ())
        assert seconds < 4, "not the 5 s that a connection may take"
        assert other.accepted == dead
        await elastic.close()


async def test_an_address_that_was_silent_comes_last_from_then_on(hosts: Hosts) -> None:
    hosts.dead.listen(silent)
    elastic = hosts.elastic()
    await timed(elastic)
    for _ in range(4):
        seconds, status, failovers = await timed(elastic)
        assert (status, failovers) == (200, ())
        assert seconds < 0.9
    assert hosts.dead.accepted == 1
    await elastic.close()


def connected_to(place: tuple[str, int]) -> int:
    """How many sockets of this process have their other end there."""
    found = 0
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
            found += one.getpeername() == place
    return found


@pytest.mark.filterwarnings("ignore:Sending a large body")  # larger than what the kernel buffers
async def test_a_request_that_is_given_up_leaves_no_connection_though_nobody_reads_what_it_sent(hosts: Hosts) -> None:
    """A close would wait for ever for its data to be taken, and keep the body in memory meanwhile."""
    enough = threading.Event()

    def deaf(_: socket.socket) -> None:
        enough.wait(30)

    hosts.dead.listen(deaf)
    elastic = hosts.elastic()
    assert (await timed(elastic, Payload(bytes(32 << 20), 1, array("Q", [10]))))[1] == 200
    assert hosts.dead.accepted == 1
    assert connected_to((DEAD, hosts.live.port)) == 0
    enough.set()
    await elastic.close()


async def test_addresses_that_were_known_do_when_the_name_server_is_away(hosts: Hosts) -> None:
    hosts.dead.listen(silent)
    elastic = hosts.elastic()
    hosts.book.hosts = (LIVE,)
    assert (await timed(elastic))[1] == 200
    hosts.book.hosts = ()
    await elastic.close()  # its connections are gone; the next request needs a new one
    assert (await timed(elastic))[1] == 200
    assert hosts.book.lookups == 2
    await elastic.close()


async def test_a_name_that_never_was_known_is_a_failed_connection(hosts: Hosts) -> None:
    elastic = hosts.elastic()
    hosts.book.hosts = ()
    answer = await elastic.send(PAYLOAD)
    assert (answer.status, answer.reason) == (0, "connection")
    await elastic.close()


ADDRESSES = {
    "http://es": ("es", 80, "http://es:80"),
    "https://es": ("es", 443, "https://es:443"),
    "http://Es.Lab:9200/": ("es.lab", 9200, "http://es.lab:9200"),
    "https://gate:9200/a/b/": ("gate", 9200, "https://gate:9200/a/b"),
    "http://me:pass%2Fword@es:9200": ("es", 9200, "http://es:9200"),
    "http://[FD00::1]:9200": ("fd00::1", 9200, "http://[fd00::1]:9200"),
    "http://m\u00fcller.example:9200": ("xn--mller-kva.example", 9200, "http://xn--mller-kva.example:9200"),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_a_place_without_credentials(address: str) -> None:
    found = NodeAddress.parse(address)
    assert (found.host, found.port, found.url) == ADDRESSES[address]


def test_the_same_place_is_one_whatever_its_tls() -> None:
    assert len({NodeAddress.parse("https://es:9200/"), NodeAddress.parse("https://ES:9200")}) == 1
