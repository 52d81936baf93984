"""A real PostgreSQL: asked by its own pg_isready, and by us."""

from collections.abc import Iterator

import pytest
import trustme

from tests.conftest import GiveUp
from tests.scenarios.wait_for.conftest import Start
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.processes import run
from tests.support.waiting import until


@pytest.fixture
def server(without_server: GiveUp) -> Iterator[PostgresServer]:
    """Not started yet."""
    found = binaries()
    if found is None:
        without_server("postgresql", "no /usr/lib/postgresql/*/bin/postgres; install the package postgresql")
    made = PostgresServer(found)
    yield made
    made.discard()


def url(server: PostgresServer) -> str:
    return f"postgres://me@127.0.0.1:{server.port}/shop"


def is_ready(server: PostgresServer) -> int:
    """0 takes connections, 1 refuses them, 2 nobody there."""
    folder = binaries()
    assert folder is not None
    return run(folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(server.port)).returncode


def test_it_is_ready_when_it_takes_connections(server: PostgresServer, wait_for: Start) -> None:
    run = wait_for(url(server), progress_seconds=0.1)
    run.until_blocked("connection refused")
    server.start()
    assert run.wait() == 0
    assert is_ready(server) == 0
    assert "invalid" not in server.log
    assert "protocol" not in server.log


def test_while_it_recovers_it_is_not_ready(server: PostgresServer, wait_for: Start) -> None:
    """A standby without hot_standby answers as a server that starts: 57P03."""
    standby = server.data / "standby.signal"
    standby.touch()
    server.own(standby)
    server._settings["hot_standby"] = "off"
    server.start()
    until(lambda: is_ready(server) == 1, "the recovery")
    run = wait_for(url(server), progress_seconds=0.1)
    run.until_blocked("it takes no connections yet: ")
    standby.unlink()
    server.stop()
    server.start()
    assert run.wait() == 0


def test_with_tls_it_is_verified_against_our_ca_only(server: PostgresServer, wait_for: Start) -> None:
    authority, other = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: server.folder / f"{name}.pem" for name in ("key", "certificate", "ca", "other")}
    issued.private_key_pem.write_to_path(files["key"])
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    authority.cert_pem.write_to_path(files["ca"])
    other.cert_pem.write_to_path(files["other"])
    files["key"].chmod(0o600)
    server.own(files["key"])
    tls = {"ssl": "on", "ssl_key_file": str(files["key"]), "ssl_cert_file": str(files["certificate"])}
    server._settings.update(tls)
    server.start()
    assert wait_for(url(server)).wait() == 0
    assert wait_for(url(server), ca_file=files["ca"]).wait() == 0
    refused = wait_for(url(server), ca_file=files["other"])
    assert refused.wait() == 3
    assert "its certificate is refused" in refused.left
