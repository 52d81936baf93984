"""Which nodes an attempt asks when several are silent: each once, so that the one that lives is never left out."""

from array import array
from typing import Any

import pytest
from elastic_transport import (
    AiohttpHttpNode,
    ApiResponseMeta,
    BinaryApiResponse,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    NodePool,
)

from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.elastic import Elastic
from tests.support.context import passes, settings

pytestmark = pytest.mark.looptime

PAYLOAD = Payload(b'{"create":{}}\n{}\n', 1, array("Q", [10]))
LIVE = 9200
ATTEMPTS = 20
"""The nodes take turns, in an order drawn by lot."""


class Node(AiohttpHttpNode):
    """A node without a network, which answers on the port `LIVE` only."""

    async def perform_request(self, *_: Any, request_timeout: Any = None, **__: Any) -> Any:  # type: ignore[override]  # every async node does that
        if self.port != LIVE:
            await passes(float(request_timeout))
            raise ConnectionTimeout("nobody answered")
        meta = ApiResponseMeta(status=200, http_version="1.1", headers=HttpHeaders(), duration=0.0, node=self.config)
        return BinaryApiResponse(body=b"{}", meta=meta)


class Nodes(Elastic):
    """Elastic with these nodes. One that failed is back in turn at once: the pool's clock is not the virtual one, and
    waiting for the next silent node takes longer than the second for which the first is left out.
    """

    def __init__(self, *ports: int) -> None:
        super().__init__(settings())
        configs = [NodeConfig("http", "node.invalid", port) for port in ports]
        self.pool = NodePool(configs, node_class=Node, dead_node_backoff_factor=0)

    async def _nodes(self) -> NodePool:
        return self.pool


async def test_the_live_one_of_several_nodes_is_asked_in_every_attempt() -> None:
    for _ in range(ATTEMPTS):
        nodes = Nodes(1, 2, 3, LIVE)
        for _ in range(ATTEMPTS):
            answer = await nodes.send(PAYLOAD)
            assert answer.status == 200
            assert len(answer.failovers) <= 3


async def test_each_of_several_silent_nodes_is_asked_once_in_an_attempt() -> None:
    for _ in range(ATTEMPTS):
        nodes = Nodes(1, 2, 3)
        for _ in range(3):
            answer = await nodes.send(PAYLOAD)
            assert (answer.status, answer.failovers) == (0, ("timeout", "timeout"))
        assert set(nodes.pool._dead_consecutive_failures.values()) == {3}


async def test_an_address_that_is_given_twice_is_one_node() -> None:
    given = settings(elasticsearch_url=("http://Es.invalid:9200/", "http://es.invalid:9200", "https://u@es.invalid"))
    elastic = Elastic(given)
    assert sorted(node.base_url for node in (await Elastic._nodes(elastic)).all()) == [
        "http://es.invalid:9200",
        "https://es.invalid:443",
    ]
    await elastic.close()
