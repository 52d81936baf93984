"""One attempt to send a request: to one node after the other or beside each other, until one answers."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from sidecars.log_shipper.core.bulk import Answer, reason_of, whole_refusal
from sidecars.log_shipper.core.hedging import Hedge, HedgedRequest, Latency, attempt_seconds, hedge
from sidecars.log_shipper.core.pool import Pool
from sidecars.runtime import Stop
from sidecars.runtime.clock import monotonic, seconds_until

from .node import CONNECTION, Addresses, Connection, Node

NODE_FAILURES = (0, 502, 503, 504)
"""Another node may do better."""


@dataclass(slots=True, eq=False)
class Cluster:
    """What all attempts share. `own_ids`: a request may be sent twice; `hedged` is called when it is."""

    own_ids: bool
    request_timeout_seconds: float
    stop: Stop
    hedged: Callable[[Hedge], None]
    addresses: Addresses
    latency: Latency = field(default_factory=Latency)


@dataclass(slots=True, eq=False)
class _Copy:
    """One copy of a request under way."""

    node: Node
    connection: Connection
    sent_at: float
    own: bool
    """Whether the node is only for this copy, so that its connection is a new one."""
    task: asyncio.Task[None] | None = None


class RequestAttempt:
    """One payload on its way: to each node once, one after the other or beside each other, while stopping again on new
    connections, until one answers. Then the others are given up.
    """

    def __init__(self, cluster: Cluster, pool: Pool[Node], ask: Callable[[Node, float], Awaitable[Answer]]) -> None:
        self._cluster = cluster
        self._pool = pool
        self._nodes = pool.all()
        self._asks = ask
        self._request = HedgedRequest()
        self._asked: set[Node] = set()
        self._copies: list[_Copy] = []
        self._ended: asyncio.Queue[tuple[_Copy, Answer] | None] = asyncio.Queue()
        self._failed: list[str] = []

    async def run(self) -> Answer:
        """Return the first answer, or the last failure, with the reasons for sending the payload more than once."""
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(self._notice_stop())
            try:
                answer = await self._first_answer(tasks)
            finally:
                stopping.cancel()
                for copy in self._copies:
                    if copy.task:
                        copy.task.cancel()
        return msgspec.structs.replace(answer, failovers=tuple(self._failed))

    async def _first_answer(self, tasks: asyncio.TaskGroup) -> Answer:
        while True:
            why = hedge(own_ids=self._cluster.own_ids, stopping=self._cluster.stop.requested, routes=self._routes)
            patience_seconds = self._cluster.latency.patience_seconds(self._cluster.stop.remaining())
            due = self._request.next_at(why, self._routes, patience_seconds)
            if due <= monotonic():
                self._send_copy(tasks, why)
                continue
            if not (ended := await self._next_ended(due)):
                continue
            copy, answer = ended
            self._copies.remove(copy)
            if answer.status not in NODE_FAILURES:
                self._won(copy, patience_seconds)
                return answer
            self._request.failed(monotonic())
            if self._request.is_over(self._routes):
                return answer
            self._failed.append(answer.reason or reason_of(whole_refusal(answer)))

    @property
    def _routes(self) -> int:
        """Nodes, or addresses of an only node."""
        if len(self._nodes) > 1:
            return len(self._nodes)
        return self._nodes[0].routes

    def _send_copy(self, tasks: asyncio.TaskGroup, why: Hedge | None) -> None:
        """Send one more copy; where others are without an answer, it goes to another node or over a new connection."""
        if self._copies and why:
            self._cluster.hedged(why)
            self._failed.append("timeout")
            self._cluster.addresses.silent(self._copies[-1].connection)
        node = self._pool.next(monotonic(), self._asked)
        limit_seconds = attempt_seconds(
            self._cluster.request_timeout_seconds,
            len(self._nodes),
            may_hedge=why is not None,
            silent=self._pool.is_silent(node),
        )
        own = node in self._asked
        self._asked.add(node)
        if own:
            node = node.twin()
        copy = _Copy(node, Connection(self._think_again), monotonic(), own)
        copy.task = tasks.create_task(self._ask(copy, limit_seconds))
        self._copies.append(copy)
        self._request.sent(copy.sent_at)

    async def _ask(self, copy: _Copy, limit_seconds: float) -> None:
        """Send one copy to one node; what came of it goes to `_ended`."""
        CONNECTION.set(copy.connection)
        try:
            answer = await self._asks(copy.node, limit_seconds)
        finally:
            if copy.own:
                await copy.node.close()
        self._note(copy, failed=answer.status in NODE_FAILURES, silent=answer.status == 0)
        self._ended.put_nowait((copy, answer))

    def _note(self, copy: _Copy, *, failed: bool, silent: bool) -> None:
        """Tell the pool how a node did."""
        known = next((node for node in self._nodes if node.address == copy.node.address), None)
        if known is None:
            return
        if failed:
            self._pool.failed(known, monotonic(), silent=silent)
        else:
            self._pool.answered(known)

    def _won(self, winner: _Copy, patience_seconds: float) -> None:
        """Eject others for a moment that were silent for long, while this one was quick."""
        now = monotonic()
        self._cluster.latency.answered(now - winner.sent_at)
        self._cluster.addresses.answered(winner.connection)
        for beaten in self._copies:
            if beaten.node.address != winner.node.address and now - beaten.sent_at >= patience_seconds:
                self._note(beaten, failed=True, silent=True)

    async def _next_ended(self, due: float) -> tuple[_Copy, Answer] | None:
        """Return the next copy that ended, or None when it is time to think again."""
        try:
            async with asyncio.timeout(None if due == math.inf else seconds_until(due)):
                return await self._ended.get()
        except TimeoutError:
            return None

    async def _notice_stop(self) -> None:
        """Think again when the stop is requested: there is more reason to send a copy."""
        await self._cluster.stop.wait()
        self._think_again()

    def _think_again(self) -> None:
        """Think again about sending a copy: there may be more reason than before. A look-up tells how many addresses
        the name has.
        """
        self._ended.put_nowait(None)
