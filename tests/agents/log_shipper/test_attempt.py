"""Which nodes an attempt asks, and how often: each once, so that the one that lives is never left out; and beside one
that has no answer, others or the same again.
"""

import asyncio
import random
from array import array
from collections.abc import Mapping

import pytest

from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.hedging import Hedge
from sidecars.log_shipper.core.pool import Pool
from sidecars.log_shipper.sending.elastic import Elastic
from sidecars.log_shipper.sending.node import Addresses, Node, NodeAddress, NodeReply, NoReply
from sidecars.runtime import Stop
from tests.support.context import passes, settings

pytestmark = pytest.mark.looptime

PAYLOAD = Payload(b'{"create":{}}\n{}\n', 1, array("Q", [10]))
LIVE = 9200
DOWN = 1000
"""From this port on, and below `LIVE`, nodes refuse connections."""
GATEWAY = 502
"""A gateway whose node is away."""
ATTEMPTS = 20
"""The nodes take turns, in an order drawn by lot."""


def clock() -> float:
    return asyncio.get_running_loop().time()


class Script:
    """How the nodes behave. `answer_seconds` is how long one takes that lives; until `well_at` nobody answers what was
    sent before that. `sent` is when requests went out, `new` those over a new connection.
    """

    def __init__(self) -> None:
        self.answer_seconds = 0.0
        self.well_at = 0.0
        self.sent: list[float] = []
        self.new: list[float] = []
        self.under_way = 0


class Played(Node):
    """A node without a network."""

    def __init__(self, port: int, script: Script, *, twin: bool = False) -> None:
        super().__init__(NodeAddress("http", "node.invalid", port), Addresses(), 1)
        self.script, self.is_twin = script, twin

    def twin(self) -> Node:
        return Played(self.address.port, self.script, twin=True)

    async def ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], limit_seconds: float
    ) -> NodeReply:
        script = self.script
        script.sent.append(clock())
        if self.is_twin:
            script.new.append(clock())
        if self.address.port == GATEWAY:
            return NodeReply(502, b"<html>")
        if DOWN <= self.address.port < LIVE:
            raise NoReply("connection", "refused")
        script.under_way += 1
        try:
            if self.address.port != LIVE or clock() < script.well_at:
                await passes(limit_seconds)
                raise NoReply("timeout", "nobody answered")
            await passes(script.answer_seconds)
        finally:
            script.under_way -= 1
        return NodeReply(200, b"{}")


class Nodes(Elastic):
    """Elastic with these nodes, in an order drawn by lot. One that failed is back in turn at once, unless said
    otherwise.
    """

    def __init__(self, *ports: int, backoff_seconds: float = 0, **given: object) -> None:
        self.hedges: list[Hedge] = []
        self.stop = Stop()
        super().__init__(settings(**given), self.stop, self.hedges.append)
        self.script = Script()
        nodes: list[Node] = [Played(port, self.script) for port in random.sample(ports, len(ports))]
        self.pool = Pool(nodes, first_seconds=backoff_seconds)

    async def _nodes(self) -> Pool[Node]:
        return self.pool

    async def timed(self) -> tuple[float, int, tuple[str, ...]]:
        """One attempt: seconds that it took, the status, why it was sent more than once."""
        began = clock()
        answer = await self.send(PAYLOAD)
        assert self.script.under_way == 0, "who was beaten is given up"
        return round(clock() - began, 2), answer.status, answer.failovers


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
            assert (answer.status, answer.failovers[:2]) == (0, ("timeout", "timeout"))
        assert len(nodes.script.sent) == 9


async def next_failover(nodes: Nodes) -> tuple[float, tuple[str, ...]]:
    """The next attempt that meets a node other than the live one first. Everything arrives meanwhile."""
    for _ in range(ATTEMPTS):
        seconds, status, failovers = await nodes.timed()
        assert status == 200
        if failovers:
            return seconds, failovers
    raise AssertionError("the silent node did not have its turn")


async def test_beside_a_silent_node_another_one_is_asked_after_a_second() -> None:
    nodes = Nodes(1, LIVE)
    for _ in range(3):
        assert await next_failover(nodes) == (1.0, ("timeout",))
    assert nodes.hedges == [Hedge.NODES] * 3


async def test_a_silent_node_that_was_beaten_is_out_of_turn_for_a_while() -> None:
    nodes = Nodes(1, LIVE, backoff_seconds=1000)
    await next_failover(nodes)
    for _ in range(ATTEMPTS):
        assert await nodes.timed() == (0, 200, ())


@pytest.mark.parametrize(("port", "reason"), [(DOWN, "connection"), (GATEWAY, "status_5xx")])
async def test_a_node_that_refuses_costs_nothing_and_is_no_reason_to_send_twice(port: int, reason: str) -> None:
    nodes = Nodes(port, LIVE)
    assert await next_failover(nodes) == (0.0, (reason,))
    assert nodes.hedges == []


async def test_slow_answers_are_waited_for_when_they_are_usual() -> None:
    nodes = Nodes(LIVE)
    nodes.script.answer_seconds = 0.9
    nodes.stop.request("SIGTERM")
    for _ in range(5):
        assert await nodes.timed() == (0.9, 200, ())
    nodes.script.answer_seconds = 2.5
    assert await nodes.timed() == (2.5, 200, ()), "thrice the usual is 2.7 s"


async def test_an_only_node_has_the_whole_time_to_answer() -> None:
    nodes = Nodes(1)
    assert await nodes.timed() == (30, 0, ())
    assert nodes.hedges == []


async def test_while_stopping_an_only_node_is_asked_again_over_new_connections() -> None:
    nodes = Nodes(LIVE)
    nodes.script.well_at = 3.0
    nodes.stop.request("SIGTERM")
    assert await nodes.timed() == (4.75, 200, ("timeout",) * 3)
    assert nodes.script.sent == pytest.approx([0, 1, 2.5, 4.75])
    assert nodes.script.new == nodes.script.sent[1:]
    assert nodes.hedges == [Hedge.STOPPING] * 3


@pytest.mark.parametrize(("sigterm_at", "arrives_at"), [(0.5, 1.0), (2.0, 2.0), (20.0, 20.0)])
async def test_a_request_that_hangs_already_when_sigterm_comes_is_sent_again_at_once(
    sigterm_at: float, arrives_at: float
) -> None:
    """... though not within its first second."""
    nodes = Nodes(LIVE)
    nodes.script.well_at = 0.1
    async with asyncio.TaskGroup() as tasks:
        attempt = tasks.create_task(nodes.timed())
        await passes(sigterm_at)
        nodes.stop.request("SIGTERM")
    assert attempt.result() == (arrives_at, 200, ("timeout",))


@pytest.mark.parametrize("stopping", [True, False])
async def test_ids_of_the_servers_making_forbid_to_send_twice(stopping: bool) -> None:
    nodes = Nodes(LIVE, id_mode="auto")
    nodes.script.well_at = 3.0
    if stopping:
        nodes.stop.request("SIGTERM")
    assert await nodes.timed() == (30, 0, ())
    assert len(nodes.script.sent) == 1


@pytest.mark.parametrize(("request_timeout_seconds", "first", "later"), [(30, 10, 3), (5, 5, 3), (2, 2, 2)])
async def test_without_ids_of_our_own_a_silent_node_costs_10_seconds_the_first_time_and_3_as_long_as_it_fails(
    request_timeout_seconds: float, first: float, later: float
) -> None:
    nodes = Nodes(1, LIVE, id_mode="auto", request_timeout_seconds=request_timeout_seconds)
    for seconds in (first, later, later):
        assert await next_failover(nodes) == (seconds, ("timeout",))


async def test_while_stopping_a_silent_node_beside_a_good_one_costs_a_second() -> None:
    nodes = Nodes(1, LIVE)
    nodes.stop.request("SIGTERM")
    assert await next_failover(nodes) == (1.0, ("timeout",))


async def test_an_address_that_is_given_twice_is_one_node() -> None:
    given = settings(elasticsearch_url=("http://Es.invalid:9200/", "http://es.invalid:9200", "https://u@es.invalid"))
    elastic = Elastic(given)
    assert sorted(node.address.url for node in (await Elastic._nodes(elastic)).all()) == [
        "http://es.invalid:9200",
        "https://es.invalid:443",
    ]
    await elastic.close()
