"""Fixtures: a real Elasticsearch, and the embedded stand-in.

`elasticsearch_server` is one plain server for the whole run: take names nobody else uses, and do not stop it.
`start_elasticsearch(settings)` starts one more, to configure, kill or freeze. `stand_in` is new for each test;
`start_stand_in(options)` for more of them, or for special ones.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import NoReturn

import pytest

from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served, serving
from tests.services import elasticsearch_server as real
from tests.services.elasticsearch_server import Server
from tests.services.maven import Unavailable

GiveUp = Callable[[str, str], NoReturn]
StartElasticsearch = Callable[[Mapping[str, str]], Server]
StartStandIn = Callable[[ServerOptions], Served]


@pytest.fixture(scope="session")
def elasticsearch_server(without_server: GiveUp) -> Iterator[Server]:
    """The shared real server; skips (or fails where servers are required) when none can be had."""
    try:
        server = real.shared()
    except Unavailable as reason:
        without_server("elasticsearch", str(reason))
    yield server
    server.discard()


@pytest.fixture(scope="session")
def start_elasticsearch(without_server: GiveUp) -> Iterator[StartElasticsearch]:
    """Starts a real server with settings of its own; it ends with the test run (`discard` ends it before)."""
    with ExitStack() as started:

        def start(settings: Mapping[str, str]) -> Server:
            try:
                server = real.start(settings)
            except Unavailable as reason:
                without_server("elasticsearch", str(reason))
            started.callback(server.discard)
            return server

        yield start


@pytest.fixture
def start_stand_in() -> Iterator[StartStandIn]:
    """Starts stand-ins in threads of their own, until the test ends."""
    with ExitStack() as started:
        yield lambda options: started.enter_context(serving(options))


@pytest.fixture
def stand_in(start_stand_in: StartStandIn) -> Served:
    """A stand-in with nothing wrong."""
    return start_stand_in(ServerOptions())
