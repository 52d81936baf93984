"""Real PostgreSQL servers with TLS, made once, and the ambassador as a process in front of them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
import trustme

from tests.support.postgres_server import PostgresServer, binaries
from tests.support.sidecars import AmbassadorProcess
from tests.support.waiting import until


class Authority:
    """A CA and what it issues, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))

    def server(self, *names: str, **options: Any) -> tuple[bytes, bytes]:
        """A certificate chain and its key (PEM)."""
        made = self.ca.issue_cert(*names, **options)
        return b"".join(blob.bytes() for blob in made.cert_chain_pems), made.private_key_pem.bytes()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def connected(port: int, **options: Any) -> psycopg.Connection[Any]:
    """A connection with the options of psycopg, in autocommit."""
    usual = {"host": "127.0.0.1", "user": "postgres", "password": "secret", "dbname": "postgres", "autocommit": True}
    return psycopg.connect(port=port, **{**usual, **options})


def takes_connections(port: int) -> bool:
    try:
        connected(port, sslmode="require", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def binary_folder(without_server: Callable[..., NoReturn]) -> Path:
    found = binaries()
    if found is None:
        without_server("postgresql", "no binaries below /usr/lib/postgresql")
    return found


@pytest.fixture(scope="session")
def database(binary_folder: Path, authority: Authority) -> Iterator[PostgresServer]:
    """A PostgreSQL that takes TLS and SCRAM only."""
    server = PostgresServer(binary_folder, max_connections="200").tls(*authority.server("localhost", "127.0.0.1"))
    server.start()
    until(lambda: takes_connections(server.port), "PostgreSQL")
    yield server
    server.discard()


@pytest.fixture
def ambassador(tmp_path: Path) -> Callable[..., AmbassadorProcess]:
    """Make an ambassador with these settings; it is not started yet."""

    def make(**settings: Any) -> AmbassadorProcess:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return AmbassadorProcess(folder, settings)

    return make


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="amb-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
