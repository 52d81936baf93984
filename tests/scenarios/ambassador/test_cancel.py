"""A query is cancelled at the node where it runs: process ids and keys of three servers, a hundred queries."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.scenarios.ambassador.conftest import Authority, connected, takes_connections
from tests.support.postgres_server import PostgresServer
from tests.support.scale import scaled
from tests.support.sidecars import AmbassadorProcess
from tests.support.waiting import until

SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(120)' AND state = 'active'"


@pytest.fixture
def three(binary_folder: Path, authority: Authority) -> Iterator[list[PostgresServer]]:
    made = [
        PostgresServer(binary_folder, max_connections="60").tls(*authority.server("localhost", "127.0.0.1")).start()
        for _ in range(3)
    ]
    for server in made:
        until(lambda server=server: takes_connections(server.port), "PostgreSQL")  # type: ignore[misc]
    yield made
    for server in made:
        server.discard()


def sleeping(servers: list[PostgresServer]) -> list[int]:
    """How many of the queries run on each server."""
    counts = []
    for server in servers:
        with connected(server.port, sslmode="require") as watching:
            counts.append(int((watching.execute(SLEEPING).fetchone() or (0,))[0]))
    return counts


def test_each_of_many_queries_is_cancelled_where_it_runs_and_no_other(
    three: list[PostgresServer], authority: Authority, ambassador: Callable[..., AmbassadorProcess]
) -> None:
    count = scaled(30, 100)
    upstreams = [{"address": f"localhost:{server.port}"} for server in three]
    running = ambassador(protocol="postgres", upstreams=upstreams, ca_file=authority.ca_file).start()
    running.until(lambda: all(node["health"] == "up" for node in running.nodes().values()), "three nodes")
    connections = [connected(running.port()) for _ in range(count)]
    ended: dict[int, str] = {}

    def sleep(number: int, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("SELECT pg_sleep(120)")
            ended[number] = "slept"
        except psycopg.errors.QueryCanceled:
            ended[number] = "cancelled"

    threads = [threading.Thread(target=sleep, args=pair) for pair in enumerate(connections)]
    for thread in threads:
        thread.start()
    until(lambda: sum(sleeping(three)) == count, "every query to run")
    assert min(sleeping(three)) > 0, "the sessions are spread over all nodes"
    for number, connection in enumerate(connections):
        connection.cancel()
        threads[number].join(30)
        assert ended == dict.fromkeys(range(number + 1), "cancelled"), "this one, and no other"
    assert sum(sleeping(three)) == 0
    assert running.metric('cancels_total{result="forwarded"}') == count
    assert running.metric('cancels_total{result="unknown"}') == 0
    for connection in connections:
        connection.close()
