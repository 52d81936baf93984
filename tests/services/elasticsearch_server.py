"""A real Elasticsearch for the tests, by the first way that is open here.

The order is always the same: the address in ELASTICSEARCH_URL, a container, a node from Elasticsearch's Maven
artifacts. A server with settings of its own, or one that a test may kill, is never the one at the given address.
"""

import os
from collections.abc import Mapping
from typing import Protocol

from tests.services import elasticsearch_container, elasticsearch_package
from tests.services.elasticsearch_container import Container
from tests.services.elasticsearch_node import Node, is_healthy
from tests.services.maven import Unavailable


class Server(Protocol):
    """A running Elasticsearch."""

    @property
    def url(self) -> str:
        """Where it listens."""

    def stop(self) -> None:
        """Ends it in good order; `restart` brings it back."""

    def kill(self) -> None:
        """Ends it by SIGKILL; `restart` brings it back."""

    def pause(self) -> None:
        """Freezes it: connections are accepted and never answered."""

    def resume(self) -> None:
        """Ends `pause`."""

    def restart(self) -> None:
        """Same port, same data."""

    def discard(self) -> None:
        """Ends it and removes what it stored."""


class Given:
    """The server at ELASTICSEARCH_URL. It is somebody else's: it is never stopped."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def _refuse(self) -> None:
        raise RuntimeError(f"cannot stop or restart {self.url}: it is not ours; use `own_elasticsearch` in this test")

    stop = kill = pause = resume = restart = _refuse

    def discard(self) -> None:
        """Nothing: see the class."""


def start(settings: Mapping[str, str] | None = None) -> Server:
    """A server of our own with these settings (such as `http.max_content_length`). Raises: Unavailable."""
    reasons: list[str] = []
    try:
        elasticsearch_container.check_engine()
        return Container(settings or {})
    except Unavailable as reason:
        reasons.append(str(reason))
    try:
        return Node(elasticsearch_package.prepare(), settings or {})
    except Unavailable as reason:
        reasons.append(str(reason))
    raise Unavailable("; ".join(reasons))


def given() -> Server | None:
    """The server that the environment names, if it does. Raises: Unavailable."""
    url = os.environ.get("ELASTICSEARCH_URL")
    if not url:
        return None
    if not is_healthy(url.rstrip("/")):
        raise Unavailable(f"ELASTICSEARCH_URL is {url}, and nothing healthy answers there")
    return Given(url)
