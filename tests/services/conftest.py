"""The servers the contract tests run against: each test once on the stand-in, once on the real server."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sidecars.devstack.elasticsearch.faults import Faults
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import serving
from tests.support.rest import call

BOTH = ["stand-in", "real"]


@dataclass(frozen=True)
class Limited:
    """A server that takes 3 MiB per request; after `overload` (where that is needed) it answers a big one with 429."""

    url: str
    overload: Callable[[], None]


@pytest.fixture(scope="module", params=BOTH)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server with nothing wrong."""
    if request.param == "real":
        yield request.getfixturevalue("elasticsearch_server").url
        return
    with serving() as server:
        yield server.url


@pytest.fixture(scope="module", params=BOTH)
def limited(request: pytest.FixtureRequest) -> Iterator[Limited]:
    """A server with narrow limits: the real one by its settings, the stand-in by option and fault."""
    if request.param == "real":
        yield Limited(request.getfixturevalue("own_elasticsearch").url, lambda: None)
        return
    with serving(ServerOptions(max_content_length_bytes=3 << 20)) as stand_in:
        yield Limited(stand_in.url, lambda: stand_in.set_faults(Faults(request_status=429, request_times=1)))


@pytest.fixture
def index() -> str:
    """The name of an index nobody else uses."""
    return f"contract-{secrets.token_hex(6)}"


@pytest.fixture
def stream(url: str) -> str:
    """The name of a data stream that does not exist yet, with the template that will make it."""
    name = f"logs-contract-{secrets.token_hex(6)}"
    template = {
        "index_patterns": [f"{name}*"],
        "data_stream": {},
        "priority": 900,
        "template": {"mappings": {"properties": {"log": {"properties": {"offset": {"type": "long"}}}}}},
    }
    assert call(url, "PUT", f"/_index_template/{name}", template).status == 200
    return name
