"""Names lead to addresses as this machine knows them; SRV records come from a name server, and the last good answer
stays when it fails.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecars.kit.net.resolve import NotResolved, Resolver

SRV, NO_SUCH_NAME, FAILED = 33, 3, 2
NAME = "_postgres._tcp.db.svc.cluster.local"


class NameServer:
    """Answers every question for NAME with the same records, by UDP and by TCP. `code`: of the answers; `is_long`:
    whether an answer by UDP is truncated.
    """

    def __init__(self) -> None:
        self.records = [(1, 9, 5433, "localhost"), (0, 9, 5432, "localhost"), (2, 9, 1, "nobody.invalid")]
        self.code = 0
        self.is_long = False
        self._stream = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._stream.getsockname()[1])
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._by_udp, self._by_tcp)]
        for thread in self._threads:
            thread.start()

    def _by_udp(self) -> None:
        while True:
            query, peer = self._datagrams.recvfrom(4096)
            if query == b"end":
                return
            self._datagrams.sendto(self._answer(query, by_udp=True), peer)

    def _by_tcp(self) -> None:
        while True:
            connection = self._stream.accept()[0]
            with connection:
                query = connection.recv(4096)[2:]
                if not query:
                    return
                answer = self._answer(query)
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, query: bytes, *, by_udp: bool = False) -> bytes:
        end = query.index(b"\0", 12) + 5
        asked = b".".join(piece for piece in NAME.encode().split(b"."))
        known = b"".join(bytes([len(part)]) + part for part in asked.split(b".")) + b"\0" == query[12 : end - 4]
        records = self.records if known and not (by_udp and self.is_long) else []
        code = self.code if known else NO_SUCH_NAME
        flags = 0x8180 | code | (0x200 if by_udp and self.is_long else 0)
        body = b"".join(map(_record, records if not code else []))
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records) if not code else 0, 0, 0) + query[12:end] + body

    def close(self) -> None:
        """Answer no more."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", self.port))
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._stream.close()
        self._datagrams.close()


def _record(record: tuple[int, int, int, str]) -> bytes:
    priority, weight, port, target = record
    name = b"".join(bytes([len(part)]) + part.encode() for part in target.split(".")) + b"\0"
    body = struct.pack("!HHH", priority, weight, port) + name
    return b"\xc0\x0c" + struct.pack("!HHIH", SRV, 1, 30, len(body)) + body


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def resolver(server: NameServer, tmp_path: Path) -> Resolver:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nsearch other.local cluster.local\noptions ndots:5\n")
    return Resolver(resolv_conf=str(conf), port=server.port)


@pytest.mark.parametrize("is_long", [False, True], ids=["by UDP", "by TCP"])
async def test_a_service_leads_to_its_servers_the_best_first(
    server: NameServer, resolver: Resolver, is_long: bool
) -> None:
    server.is_long = is_long
    found = await resolver.resolve("srv://_postgres._tcp.db.svc")
    ports = [port for _, port in found.places]
    assert ports == sorted(ports)
    assert {("127.0.0.1", 5432), ("127.0.0.1", 5433)} <= set(found.places)
    assert not found.stale


async def test_the_last_good_answer_stays_while_the_name_server_fails(server: NameServer, resolver: Resolver) -> None:
    first = await resolver.resolve("srv://_postgres._tcp.db.svc")
    for server.code in (FAILED, NO_SUCH_NAME):
        again = await resolver.resolve("srv://_postgres._tcp.db.svc")
        assert again.places == first.places
        assert "cannot resolve srv://_postgres._tcp.db.svc" in again.stale
    server.code, server.records = 0, server.records[:1]
    assert {port for _, port in (await resolver.resolve("srv://_postgres._tcp.db.svc")).places} == {5433}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nobody.invalid:5432", "cannot resolve nobody.invalid:5432"),
        ("srv://_none._tcp.db.svc", "there is no such record"),
        ("srv://" + "x" * 64, "is no name"),
    ],
)
async def test_a_name_without_an_answer_says_so(resolver: Resolver, address: str, message: str) -> None:
    with pytest.raises(NotResolved, match=message):
        await resolver.resolve(address)


@pytest.mark.parametrize(("address", "place"), [("127.0.0.1:5432", ("127.0.0.1", 5432)), ("[::1]:5432", ("::1", 5432))])
async def test_an_address_is_its_own_answer(resolver: Resolver, address: str, place: tuple[str, int]) -> None:
    assert (await resolver.resolve(address)).places == (place,)
