"""The bytes of other protocols: ends of one direction, PROXY headers in and out, Unix sockets, certificates that are
replaced meanwhile.
"""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.scenarios.ambassador.conftest import Authority
from tests.support.listeners import Listener, echoing, listening
from tests.support.sidecars import AmbassadorProcess
from tests.support.waiting import until

Make = Callable[..., AmbassadorProcess]


def serving(authority: Authority, *, clients: bool = False) -> ssl.SSLContext:
    """What a server needs for TLS; with `clients` it asks for a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("localhost").configure_cert(context)
    if clients:
        authority.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def whole(connection: socket.socket) -> bytes:
    """All that comes until the end."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def late(connection: socket.socket) -> None:
    """Answer only when the other side has ended its direction."""
    received = whole(connection)
    connection.sendall(b"late: " + received)
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()


@pytest.mark.parametrize("secured", [False, True])
def test_a_reply_after_the_end_of_the_other_direction_arrives(
    secured: bool, ambassador: Make, authority: Authority
) -> None:
    with listening(late, serving(authority) if secured else None) as server:
        settings = {"ca_file": authority.ca_file} if secured else {}
        running = ambassador(upstream=f"localhost:{server.port}", check={"kind": "tcp"}, **settings).start()
        running.until_usable()
        with socket.create_connection(("127.0.0.1", running.port()), 30) as connection:
            connection.sendall(b"asked")
            connection.shutdown(socket.SHUT_WR)
            assert whole(connection) == b"late: asked"
        line = running.until(running.closed, "the line")[0]
        assert (line["side"], line["cause"]) == ("client", "finished")
        assert (line["bytes_out"], line["bytes_in"]) == (5, 11)


@pytest.mark.parametrize(
    ("send", "head"), [("v1", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 5432\r\n"), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11")]
)
def test_whose_connection_it_is_is_taken_and_passed_on(send: str, head: bytes, ambassador: Make) -> None:
    with listening(echoing) as server:
        proxy = {"send": send, "accept_from": ["127.0.0.0/8"]}
        running = ambassador(upstream=server.place, proxy_protocol=proxy).start().until_usable()
        with socket.create_connection(("127.0.0.1", running.port()), 30) as connection:
            connection.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 5432\r\nhello")
            connection.shutdown(socket.SHUT_WR)
            back = whole(connection)
        assert back.startswith(head)
        assert back.endswith(b"hello")
        with socket.create_connection(("127.0.0.1", running.port()), 30) as spoof:
            spoof.sendall(b"PROXY TCP4 300.0.2.7 192.0.2.1 4711 5432\r\nhello")
            with pytest.raises(ConnectionResetError):
                spoof.recv(1)
        first, second = running.until(lambda: running.closed()[1:] and running.closed(), "two lines")
        assert (first["client"], first["cause"]) == ("192.0.2.7:4711", "finished")
        assert second["cause"] == "bad_opening"


def test_both_ends_may_be_unix_sockets(ambassador: Make, short_folder: Path) -> None:
    with Listener(str(short_folder / "upstream.sock")).listen(echoing):
        listen = f"unix:{short_folder}/local.sock"
        running = ambassador(listen=listen, upstream=f"unix:{short_folder}/upstream.sock").start().until_usable()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{short_folder}/local.sock")
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            assert whole(connection) == b"hello"
        running.kill()
        running.start().until_usable()  # what a killed one has left is replaced
        assert running.terminate() == 0
        assert not (short_folder / "local.sock").exists()


def test_certificates_that_are_replaced_are_used_and_broken_ones_are_not(
    ambassador: Make, authority: Authority, tmp_path: Path
) -> None:
    files = {"certificate_file": tmp_path / "tls.crt", "key_file": tmp_path / "tls.key"}

    def put(issuer: trustme.CA) -> None:
        made = issuer.issue_cert("client")
        for path, content in zip(files.values(), (made.cert_chain_pems[0], made.private_key_pem), strict=True):
            content.write_to_path(f"{path}.new")
            Path(f"{path}.new").rename(path)

    put(trustme.CA())
    with listening(echoing, serving(authority, clients=True)) as server:
        running = ambassador(
            upstream=f"localhost:{server.port}", ca_file=authority.ca_file, check={"kind": "tcp"}, **files
        ).start()
        running.until_usable()

        def works() -> bool:
            with socket.create_connection(("127.0.0.1", running.port()), 30) as connection:
                try:
                    connection.sendall(b"x")
                    return connection.recv(1) == b"x"
                except OSError:
                    return False

        assert not works(), "it is somebody else's certificate"
        # In TLS 1.3 a client's certificate is refused after the handshake, and a reset may overtake the reason.
        assert running.until(running.closed, "the line")[0]["cause"] in {"identity_refused", "truncated", "reset"}
        put(authority.ca)
        until(works, "the new certificate to be used")
        (files["key_file"]).write_text("broken")
        running.until(lambda: running.logged("certificates.kept"), "the broken key to be seen")
        assert works()
        conditions = {one["name"]: one for one in running.status()["conditions"]}
        assert conditions["certificates"]["state"] == "degraded"
        assert running.metric('certificate_loads_total{result="failed"}') == 1
        assert running.metric("certificate_expiry_timestamp_seconds") > 0
