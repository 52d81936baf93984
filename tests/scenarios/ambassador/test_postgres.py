"""Clients of PostgreSQL with their default options, through the ambassador, to a server that takes TLS and SCRAM only
and offers channel binding.
"""

import asyncio
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it brings no types
import pg8000.native  # type: ignore[import-untyped]  # it brings no types
import psycopg
import pytest

from sidecars.ambassador.core.postgres import error_fields, message, startup
from tests.scenarios.ambassador.conftest import Authority, connected
from tests.services.maven import Unavailable, fetch
from tests.support.listeners import Listener
from tests.support.postgres_server import PostgresServer
from tests.support.processes import run
from tests.support.sidecars import AmbassadorProcess

PGJDBC = Path(__file__).parent / "pgjdbc"
QUESTION = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture
def running(
    database: PostgresServer, authority: Authority, ambassador: Callable[..., AmbassadorProcess], short_folder: Path
) -> AmbassadorProcess:
    return (
        ambassador(
            listen=f"127.0.0.1:0,unix:{short_folder}/",
            protocol="postgres",
            upstream=f"localhost:{database.port}",
            ca_file=authority.ca_file,
            drain_seconds=0.5,
        )
        .start()
        .until_usable()
    )


def by_psql(port: int, *more: str) -> tuple[bool, str]:
    address = f"host=127.0.0.1 port={port} user=postgres password=secret dbname=postgres {' '.join(more)}"
    done = run("psql", "-AtX", "-F", " ", address, "-c", QUESTION)
    assert not done.returncode, done.stderr
    secured, version = done.stdout.split()
    return secured == "t", version


def by_psycopg(port: int) -> tuple[bool, str]:
    with connected(port) as connection:
        secured, version = connection.execute(QUESTION).fetchone() or (False, b"")
        return secured, version.decode()  # the database is in SQL_ASCII


def by_asyncpg(port: int) -> tuple[bool, str]:
    async def ask() -> Any:
        connection = await asyncpg.connect(f"postgresql://postgres:secret@127.0.0.1:{port}/postgres")
        try:
            return await connection.fetchrow(QUESTION)
        finally:
            await connection.close()

    return tuple(asyncio.run(ask()))


def by_pg8000(port: int) -> tuple[bool, str]:
    connection = pg8000.native.Connection("postgres", host="127.0.0.1", port=port, password="secret")
    try:
        return tuple(connection.run(QUESTION)[0])
    finally:
        connection.close()


@pytest.mark.parametrize("ask", [by_psql, by_psycopg, by_asyncpg, by_pg8000])
def test_a_client_with_default_options_works_and_is_encrypted_on_the_way(
    ask: Callable[[int], tuple[bool, str]], running: AmbassadorProcess
) -> None:
    assert ask(running.port()) == (True, "TLSv1.3")
    line = running.until(running.closed, "the line of the connection")[0]
    assert line["cause"] == "finished"
    assert line["tls_seconds"] > 0
    assert line["auth_seconds"] > 0
    assert line["bytes_in"] > line["bytes_out"] > 0


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
@pytest.mark.parametrize("gssencmode", ["disable", "prefer"])
def test_every_way_to_ask_for_encryption_is_answered(running: AmbassadorProcess, sslmode: str, gssencmode: str) -> None:
    assert by_psql(running.port(), f"sslmode={sslmode}", f"gssencmode={gssencmode}")[0]


def test_the_socket_that_libpq_looks_for_is_there(running: AmbassadorProcess, short_folder: Path) -> None:
    (socket,) = short_folder.iterdir()
    port = socket.name.removeprefix(".s.PGSQL.")
    with psycopg.connect(
        f"host={short_folder} port={port} user=postgres password=secret dbname=postgres"
    ) as connection:
        assert connection.execute(QUESTION).fetchone() == (True, b"TLSv1.3")
    assert running.terminate() == 0
    assert not socket.exists()


def test_a_wrong_password_and_a_client_that_wants_channel_binding_get_the_reason(running: AmbassadorProcess) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connected(running.port(), password="wrong")
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        connected(running.port(), channel_binding="require")


def test_pgjdbc_works_with_its_default_options_and_its_timeouts_cancel(
    running: AmbassadorProcess, tmp_path_factory: pytest.TempPathFactory, without_server: Callable[..., object]
) -> None:
    java, jars = shutil.which("java"), tmp_path_factory.mktemp("pgjdbc")
    if java is None:
        without_server("java", "it is not installed")
    try:
        fetch(PGJDBC / "pom.xml", jars)
    except Unavailable as error:
        without_server("pgjdbc", str(error))
    url = f"jdbc:postgresql://127.0.0.1:{running.port()}/postgres?user=postgres&password=secret"
    done = run(str(java), "-cp", f"{jars}/*", PGJDBC / "Ask.java", url)
    assert done.stdout.split() == ["true", "TLSv1.3", "57014"], done.stderr
    assert running.metric('cancels_total{result="forwarded"}') == 1


def test_a_drain_ends_idle_sessions_with_words_and_waits_for_a_transaction(running: AmbassadorProcess) -> None:
    idle, busy = connected(running.port()), connected(running.port(), autocommit=False)
    busy.execute("SELECT 1")
    running.until(lambda: running.metric("sessions") == 2, "two sessions")
    status, text = running.ask("/drain", "POST")
    assert (status, '"draining":2' in text) == (200, True)
    (first,) = running.until(running.closed, "the idle one to be ended", 30)
    assert (first["side"], first["cause"]) == ("sidecar", "drained")
    with pytest.raises(psycopg.errors.AdminShutdown, match="ambassador: a drain was asked for"):
        idle.execute("SELECT 1")
    assert busy.execute("SELECT 2").fetchone() == (2,)
    busy.commit()
    running.until(lambda: len(running.closed()) == 2, "the other one after its transaction", 30)
    with pytest.raises(psycopg.errors.AdminShutdown):
        busy.execute("SELECT 3")


def test_a_session_that_says_nothing_for_too_long_is_told_so(
    database: PostgresServer, authority: Authority, ambassador: Callable[..., AmbassadorProcess]
) -> None:
    address, limits = f"localhost:{database.port}", {"idle_seconds": 1}
    running = ambassador(protocol="postgres", upstream=address, ca_file=authority.ca_file, limits=limits).start()
    with connected(running.port()) as connection:
        connection.execute("SELECT pg_sleep(2.5)")  # a query that runs is not idle
        (line,) = running.until(running.closed, "the session to be ended")
        assert (line["side"], line["cause"]) == ("sidecar", "idle")
        with pytest.raises(psycopg.errors.IdleSessionTimeout, match=r"limits\.idle_seconds"):
            connection.execute("SELECT 1")


def test_clients_that_come_during_a_restart_are_served_after_it_and_see_none_of_it(
    running: AmbassadorProcess, database: PostgresServer
) -> None:
    database.stop()
    running.until(lambda: running.logged("upstreams.none"), "the server to be missed")
    found: list[object] = []

    def ask() -> None:
        try:
            with connected(running.port()) as connection:
                found.append(connection.execute("SELECT 1").fetchone())
        except psycopg.Error as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    running.until(lambda: running.metric("parked_connections") == 30, "all to be parked")
    database.start()  # which says for a moment that it is starting up
    for thread in threads:
        thread.join(60)
    assert found == [(1,)] * 30


def test_a_client_that_has_said_more_than_was_read_still_gets_the_words(
    ambassador: Callable[..., AmbassadorProcess],
) -> None:
    with Listener() as nobody:
        running = ambassador(protocol="postgres", upstream=nobody.place, park={"seconds": 0.5}).start()
        with socket.create_connection(("127.0.0.1", running.port()), 30) as client:
            client.sendall(startup("u", "d", "a") + message(b"Q", b"SELECT 1\0") * 2000)
            told = b""
            while data := client.recv(1000):
                told += data
        assert error_fields(told[5:])["C"] == "57P03"
