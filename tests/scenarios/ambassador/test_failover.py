"""A primary with a streaming standby that is promoted: writes go on within seconds, and never to a replica."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.scenarios.ambassador.conftest import Authority, connected, takes_connections
from tests.support.postgres_server import PostgresServer
from tests.support.sidecars import AmbassadorProcess
from tests.support.waiting import until


@dataclass
class Pair:
    """A primary and its standby."""

    primary: PostgresServer
    standby: PostgresServer
    password_file: Path
    authority: Authority

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of an ambassador for both, with a read-write and a read-only listener."""
        check = {"kind": "sql", "interval_seconds": 1, "user": "postgres", "password_file": str(self.password_file)}
        return {
            "protocol": "postgres",
            "upstreams": [{"address": f"localhost:{server.port}"} for server in (self.primary, self.standby)],
            "ca_file": self.authority.ca_file,
            "check": check,
            "listeners": [
                {"name": "rw", "listen": ["127.0.0.1:0"], "role": "primary"},
                {"name": "ro", "listen": ["127.0.0.1:0"], "role": "replica"},
                {"name": "reads", "listen": ["127.0.0.1:0"], "role": "prefer-replica"},
            ],
            **more,
        }


@pytest.fixture
def pair(binary_folder: Path, authority: Authority, tmp_path: Path) -> Iterator[Pair]:
    chain = authority.server("localhost", "127.0.0.1")
    primary = PostgresServer(binary_folder).tls(*chain).start()
    until(lambda: takes_connections(primary.port), "the primary")
    with connected(primary.port) as connection:
        connection.execute("CREATE TABLE written (number bigint, by_standby boolean DEFAULT pg_is_in_recovery())")
    standby = PostgresServer(binary_folder, primary).tls(*chain).start()
    until(lambda: takes_connections(standby.port), "the standby")
    password = tmp_path / "password"
    password.write_text("secret\n")
    yield Pair(primary, standby, password, authority)
    for server in (primary, standby):
        server.discard()


@dataclass
class Writer:
    """Writes one number after the other, on a new connection when the last one is broken."""

    port: int
    written: list[tuple[float, int]] = field(default_factory=list)
    sqlstates: set[str | None] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                connection = connection or connected(self.port, connect_timeout=20)
                connection.execute("INSERT INTO written (number) VALUES (%s)", (number,))
                self.written.append((time.monotonic(), number))
            except psycopg.Error as error:
                self.sqlstates.add(error.sqlstate)
                self.texts.append(str(error))
                if connection is not None:
                    connection.close()
                connection = None
            self.stopped.wait(0.01)
        if connection is not None:
            connection.close()


def test_writes_go_on_after_a_promotion_and_none_reaches_a_replica(
    pair: Pair, ambassador: Callable[..., AmbassadorProcess]
) -> None:
    running = ambassador(**pair.settings()).start().until_usable()
    writers = [Writer(running.port()) for _ in range(4)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    until(lambda: all(len(writer.written) > 20 for writer in writers), "some writes")
    pair.primary.stop()
    pair.standby.promote()
    promoted = time.monotonic()
    until(lambda: all(w.written and w.written[-1][0] > promoted + 0.2 for w in writers), "writes to the new primary")
    for writer in writers:
        writer.stopped.set()
    for thread in threads:
        thread.join()
    for writer in writers:
        first = next(at for at, _ in writer.written if at > promoted)
        assert first - promoted <= 3.0
        assert "25006" not in writer.sqlstates, writer.texts  # read_only_sql_transaction: a write has met a replica
    with connected(pair.standby.port) as connection:
        kept = {number for (number,) in connection.execute("SELECT number FROM written").fetchall()}
        asked = connection.execute("SELECT count(*) FROM written WHERE by_standby").fetchone()
    assert asked == (0,)
    assert max(number for _, number in writers[0].written) in kept
    nodes = running.nodes()
    assert nodes[f"localhost:{pair.standby.port}"]["role"] == "primary"
    assert nodes[f"localhost:{pair.primary.port}"]["health"] == "down"


def test_a_replica_gets_readers_only_and_they_leave_when_it_is_promoted(
    pair: Pair, ambassador: Callable[..., AmbassadorProcess]
) -> None:
    running = ambassador(**pair.settings(park={"seconds": 1})).start().until_usable()
    reading, both = connected(running.port(1)), connected(running.port(2))
    for connection in (reading, both):
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    pair.primary.stop()
    pair.standby.promote()
    began = time.monotonic()

    def told() -> bool:
        try:
            reading.execute("SELECT 1")
        except psycopg.OperationalError as error:
            return error.sqlstate == "57P01" or "ambassador" in str(error)
        return False

    until(told, "the session to be ended with words")
    assert time.monotonic() - began <= 4.0, "within one check and a second, of which a promotion takes some"
    assert both.execute("SELECT 1").fetchone() == (1,), "a primary is good enough there"
    with pytest.raises(psycopg.OperationalError, match="no replica is usable"):
        connected(running.port(1))
    line = next(line for line in running.closed() if line["cause"] == "role_changed")
    assert line["listener"] == "ro"
    both.close()


def test_while_nobody_is_the_primary_writers_are_parked_and_then_told_so(
    pair: Pair, ambassador: Callable[..., AmbassadorProcess]
) -> None:
    running = ambassador(**pair.settings(park={"seconds": 2})).start().until_usable()
    pair.primary.stop()
    running.until(lambda: not running.status()["listeners"][0]["usable"], "the primary to be missed")
    with pytest.raises(psycopg.OperationalError, match=r"no primary is usable: .* is a replica"):
        connected(running.port())
    refused = running.closed()[-1]
    assert (refused["cause"], refused["upstream"]) == ("no_upstream", None)
    assert refused["parked_seconds"] >= 1.9
    with connected(running.port(1)) as reading:
        assert reading.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    parked: list[object] = []

    def write() -> None:
        with connected(running.port()) as connection:
            connection.execute("INSERT INTO written (number) VALUES (1)")
            parked.append("written")

    thread = threading.Thread(target=write)
    thread.start()
    running.until(lambda: running.metric('parked_connections{listener="rw"}') == 1, "the writer to be parked")
    pair.standby.promote()
    thread.join(30)
    assert parked == ["written"]
