"""TLS that is not as it must be: nothing of the client is sent on, it gets an error of its protocol, and the cause is
counted.
"""

import contextlib
import datetime as dt
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sidecars.ambassador.core.postgres import message, startup
from tests.scenarios.ambassador.conftest import Authority, connected
from tests.support.listeners import Listener, listening
from tests.support.sidecars import AmbassadorProcess

SSL_REQUEST = struct.pack("!II", 8, 80877103)


class Impostor:
    """Takes connections as a PostgreSQL server that is not as it should be, and keeps all that comes after SSLRequest
    outside of TLS, and all that comes within it.
    """

    def __init__(self, answer: bytes, chain: tuple[bytes, bytes] | None) -> None:
        self._answer = answer
        self.received = b""
        self._context: ssl.SSLContext | None = None
        if chain is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile() as file:
                file.write(chain[0] + chain[1])
                file.flush()
                self._context.load_cert_chain(file.name)
        self._listener = Listener().listen(self._talk)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        assert connection.recv(8, socket.MSG_WAITALL) in {SSL_REQUEST, b""}
        connection.sendall(self._answer)
        if self._context is not None and self._answer == b"S":
            with self._context.wrap_socket(connection, server_side=True) as tls:
                self.received += tls.recv(1000)
            return
        while data := connection.recv(1000):
            self.received += data


def expired() -> dict[str, Any]:
    return {"not_after": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}


CASES: dict[str, tuple[bytes, tuple[str, ...], dict[str, Any], bool, dict[str, Any], str]] = {
    # answer, names of the certificate, its options, whether of our CA, settings, cause
    "no TLS": (b"N", ("localhost",), {}, True, {}, "tls_refused"),
    "bytes after S": (b"SX", ("localhost",), {}, True, {}, "bytes_before_tls"),
    "a wrong name": (b"S", ("other.example",), {}, True, {}, "wrong_name"),
    "a wrong SPIFFE id": (
        b"S", ("localhost",), {}, True, {"tls": {"sans": ["uri:spiffe://x/db"]}}, "wrong_name"),
    "an expired certificate": (b"S", ("localhost",), expired(), True, {}, "untrusted"),
    "somebody else's CA": (b"S", ("localhost",), {}, False, {}, "untrusted"),
    "another protocol": (b"HTTP/1.1 400 Bad Request", ("localhost",), {}, True, {}, "broken_upstream"),
}  # fmt: skip


@pytest.fixture
def impostor() -> Iterator[Callable[..., Impostor]]:
    made: list[Impostor] = []

    def make(answer: bytes, chain: tuple[bytes, bytes] | None) -> Impostor:
        made.append(Impostor(answer, chain))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("check", ["postgres", "tcp"])
@pytest.mark.parametrize(("answer", "names", "options", "ours", "settings", "cause"), CASES.values(), ids=CASES.keys())
def test_what_is_not_secured_gets_nothing_of_the_client(
    answer: bytes,
    names: tuple[str, ...],
    options: dict[str, Any],
    ours: bool,
    settings: dict[str, Any],
    cause: str,
    check: str,
    authority: Authority,
    ambassador: Callable[..., AmbassadorProcess],
    impostor: Callable[..., Impostor],
    tmp_path: Path,
) -> None:
    issuer = authority if ours else Authority(tmp_path)
    server = impostor(answer, issuer.server(*names, **options))
    running = ambassador(
        protocol="postgres",
        upstream=f"localhost:{server.port}",
        ca_file=authority.ca_file,
        check={"kind": check, "interval_seconds": 0.2},
        park={"seconds": 0.5},
        **settings,
    ).start()
    label = f"localhost:{server.port}"
    if check == "postgres":
        running.until(lambda: running.nodes()[label]["cause"] == cause, "the check to see it")
        assert running.metric(f'checks_total{{result="{cause}",upstream="{label}"}}') > 0
    else:  # which sees only that something listens: the client's own connection meets it
        running.until_usable()
    with pytest.raises(psycopg.OperationalError, match="ambassador: ") as refused:
        connected(running.port())
    assert server.received == b"", "nothing but SSLRequest and a handshake has come"
    line = running.until(running.closed, "the line")[0]
    if cause == "broken_upstream" and check == "postgres":  # which may be mended while the client is parked
        assert (line["cause"], line["parked_seconds"] >= 0.4) == ("no_upstream", True)
    else:
        assert line["cause"] == cause
        assert str(refused.value).count("localhost") >= 1, "it names the upstream"
    assert running.metric(f'refused_total{{cause="{line["cause"]}"}}') == 1
    if check == "tcp":
        assert running.metric(f'connect_failures_total{{cause="{cause}",upstream="{label}"}}') >= 1


def greeting(connection: socket.socket) -> None:
    """Take a StartupMessage, and be ready: as much of PostgreSQL 17 as it takes to see that TLS came first."""
    if not (opened := connection.recv(1000)):
        return
    assert opened[4:8] == b"\0\3\0\0"
    connection.sendall(message(b"R", bytes(4)) + message(b"Z", b"I"))
    while connection.recv(1000):
        pass


@pytest.mark.parametrize("alpn", ["postgresql", ""])
def test_direct_tls_asks_for_the_protocol_and_ends_where_it_is_not_agreed(
    alpn: str, authority: Authority, ambassador: Callable[..., AmbassadorProcess]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("localhost").configure_cert(context)
    if alpn:
        context.set_alpn_protocols([alpn])
    with listening(greeting, context) as server:
        running = ambassador(
            protocol="postgres",
            upstream=f"localhost:{server.port}",
            tls={"ca_file": str(authority.ca_file), "postgres": "direct"},
            check={"kind": "tcp"},
            park={"seconds": 0.5},
        ).start()
        running.until_usable()
        with socket.create_connection(("127.0.0.1", running.port()), 30) as client:
            client.sendall(startup("u", "d", "a"))
            kind = client.recv(1)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):  # this server ends its TLS without a word
                while client.recv(1000):
                    pass
        assert kind == (b"R" if alpn else b"E")
        line = running.until(running.closed, "the line")[0]
        assert line["cause"] in ({"finished", "truncated"} if alpn else {"tls_failed"})
