"""What connections weigh: a thousand idle ones with TLS to the upstream, and what is left of them afterwards."""

import resource
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.rules.agents import Shipped
from tests.support.listeners import Listener, listening, saying
from tests.support.waiting import until

TITLE = "memory of the ambassador's connections"
CONNECTIONS = 1000
KIB_EACH = 32
AFTERWARDS = 1.3
"""In multiples of what it weighed before."""
SETTLE_SECONDS = 60.0

Table = Callable[[str, str], None]


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for both far ends of every connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * CONNECTIONS:
        pytest.skip(f"needs {4 * CONNECTIONS} descriptors, and at most {hard} are allowed (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CONNECTIONS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def talk(port: int) -> socket.socket:
    """A connection that was used once."""
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a thousand TIME_WAITs are no help
    client.sendall(b"question")
    assert client.recv(6) == b"answer"
    return client


def ambassador(folder: Path, authority: Path, upstream: Listener) -> Shipped:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    sidecar = Shipped("ambassador", folder, "")
    sidecar.environment |= {
        "AMBASSADOR_LISTEN": f"127.0.0.1:{port}",
        "AMBASSADOR_UPSTREAM": f"localhost:{upstream.port}",
        "AMBASSADOR_TLS": f"{{ca_file: {authority}}}",
        "AMBASSADOR_LIMITS": f"{{connections: {2 * CONNECTIONS}}}",
    }
    return sidecar.start()


def test_idle_connections_are_lean_and_leave_nothing_behind(tmp_path: Path, descriptors: None, table: Table) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with listening(saying(b"answer"), context) as upstream:
        sidecar = ambassador(tmp_path, tmp_path / "ca.pem", upstream)
        port = int(sidecar.environment["AMBASSADOR_LISTEN"].rpartition(":")[2])
        for _ in range(10):  # what is loaded at the first connection counts as idle
            talk(port).close()
        until(lambda: sidecar.metric("sidecar_ambassador_sessions") == 0, "the first connections to be over")
        idle_mib = sidecar.resident_mib()
        clients = [talk(port) for _ in range(CONNECTIONS)]

        def kib_each() -> float:
            return (sidecar.resident_mib() - idle_mib) * 1024 / CONNECTIONS

        until(lambda: kib_each() <= KIB_EACH, f"at most {KIB_EACH} KiB for each connection", SETTLE_SECONDS)
        table(TITLE, f"each of {CONNECTIONS}   {kib_each():6.1f} of {KIB_EACH} KiB")
        for client in clients:
            client.close()
        until(lambda: sidecar.resident_mib() <= AFTERWARDS * idle_mib, "the memory of before", SETTLE_SECONDS)
        table(TITLE, f"afterwards     {sidecar.resident_mib() / idle_mib:6.2f} of {AFTERWARDS} times idle")
        sidecar.terminate()
