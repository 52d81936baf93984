"""Fixtures: a real Elasticsearch, and the embedded stand-in.

`own_elasticsearch` is a node of the test run that takes little at once, and may be killed and frozen if it is there
again for the next test. `elasticsearch_server` is the one that is given, or else that node: take names nobody else
uses, and do not stop it. `stand_in` is new for each test; `start_stand_in(options)` for more of them, or for special
ones.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest

from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served, serving
from tests.services import elasticsearch_server as real
from tests.services.elasticsearch_server import Server
from tests.services.maven import Unavailable

GiveUp = Callable[[str, str], NoReturn]
StartStandIn = Callable[[ServerOptions], Served]
NARROW = {"http.max_content_length": "3mb", "indexing_pressure.memory.limit": "2mb"}


@pytest.fixture(scope="session")
def own_elasticsearch(without_server: GiveUp) -> Iterator[Server]:
    """Skips (or fails where servers are required) when none can be had."""
    try:
        server = real.start(NARROW)
    except Unavailable as reason:
        without_server("elasticsearch", str(reason))
    yield server
    server.discard()


@pytest.fixture(scope="session")
def elasticsearch_server(without_server: GiveUp, request: pytest.FixtureRequest) -> Server:
    """The shared real server."""
    try:
        given = real.given()
    except Unavailable as reason:
        without_server("elasticsearch", str(reason))
    server: Server = given or request.getfixturevalue("own_elasticsearch")
    return server


@pytest.fixture
def start_stand_in() -> Iterator[StartStandIn]:
    """Starts stand-ins in threads of their own, until the test ends."""
    with ExitStack() as started:
        yield lambda options: started.enter_context(serving(options))


@pytest.fixture
def stand_in(start_stand_in: StartStandIn) -> Served:
    """A stand-in with nothing wrong."""
    return start_stand_in(ServerOptions())
