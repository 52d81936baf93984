"""Two Elasticsearch nodes, one of which accepts and never answers: it must not hold up what the other could take."""

import asyncio
import socket
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

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
from tests.support.delivery_stage import Stage

PAYLOAD = Payload(b'{"create":{}}\n{}\n', 1, array("Q", [10]))
ENOUGH_SECONDS = 30.0


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a node whose connections the kernel accepts, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_lines_arrive_through_the_other_node_and_the_failover_is_counted(tmp_path: Path, silent: str) -> None:
    """Which node comes first is drawn by lot, so lines are written until the silent one had its turn."""
    timeouts = 'retried_records_total{reason="timeout"}'
    with Stage(tmp_path, request_timeout_seconds=1, batch_bytes=4096) as stage:
        stage.shipper.settings["elasticsearch_url"] = f"{silent},{stage.backend.url}"
        stage.shipper.start()

        def met() -> bool:
            stage.write(10)
            return stage.shipper.metric(timeouts) > 0

        stage.shipper.wait_until(met, "the silent node's turn", ENOUGH_SECONDS)
        stage.write(1000)
        stage.wait_until_delivered(ENOUGH_SECONDS)
        stage.assert_all_arrived()
        assert stage.outcomes() == {"indexed": len(stage.lines)}
        assert not stage.shipper.logged("delivery.failed"), "the attempt did not fail: another node took it"
        assert stage.shipper.metric("retried_records_total") == stage.shipper.metric(timeouts)
        assert stage.shipper.terminate() == 0


class Node(AiohttpHttpNode):
    """A node without a network. Those of port 1 never answer as long as `silent`."""

    silent: ClassVar[bool] = True

    async def perform_request(self, *_: Any, request_timeout: Any = None, **__: Any) -> Any:  # type: ignore[override]  # every async node does that
        if self.port == 1 and Node.silent:
            await passes(float(request_timeout))
            raise ConnectionTimeout("nobody answered")
        meta = ApiResponseMeta(status=200, http_version="1.1", headers=HttpHeaders(), duration=0.0, node=self.config)
        return BinaryApiResponse(body=b"{}", meta=meta)


class Nodes(Elastic):
    """Elastic with these nodes; one that failed comes back into turn for the next attempt."""

    def __init__(self, *ports: int, **given: object) -> None:
        super().__init__(settings(**given))
        configs = [NodeConfig("http", "node.invalid", port) for port in ports]
        self._its = NodePool(configs, node_class=Node, dead_node_backoff_factor=1000, max_dead_node_backoff=1000)

    async def _nodes(self) -> NodePool:
        return self._its

    async def timed(self) -> tuple[float, int, tuple[str, ...]]:
        """One attempt: seconds that it took, the status, what other nodes failed for."""
        self._its.resurrect(force=True)
        began = asyncio.get_running_loop().time()
        answer = await self.send(PAYLOAD)
        return round(asyncio.get_running_loop().time() - began, 3), answer.status, answer.failovers

    async def next_failover(self) -> float:
        """Seconds of the next attempt that meets the silent node. Everything arrives meanwhile."""
        for _ in range(10):  # the nodes take turns, in an order drawn by lot
            seconds, status, failovers = await self.timed()
            assert status == 200
            if failovers:
                assert failovers == ("timeout",)
                return seconds
        raise AssertionError("the silent node did not have its turn")


@pytest.mark.looptime
@pytest.mark.parametrize(("request_timeout_seconds", "first", "later"), [(30, 10, 3), (5, 5, 3), (2, 2, 2)])
async def test_a_silent_node_costs_10_seconds_the_first_time_and_3_as_long_as_it_fails(
    request_timeout_seconds: float, first: float, later: float
) -> None:
    Node.silent = True
    nodes = Nodes(1, 2, request_timeout_seconds=request_timeout_seconds)
    assert [await nodes.next_failover() for _ in range(3)] == [first, later, later]
    Node.silent = False
    for _ in range(4):
        assert await nodes.timed() == (0, 200, ())
    Node.silent = True
    assert await nodes.next_failover() == first, "it has answered since"


@pytest.mark.looptime
async def test_an_only_node_has_the_whole_time_to_answer() -> None:
    Node.silent = True
    assert await Nodes(1, request_timeout_seconds=30).timed() == (30, 0, ())
