"""The upstreams of listeners: their nodes by name look-ups, the checks of each, and who is told of what has changed.

Listeners with the same upstreams, TLS and checks share one pool, so that a node is checked once.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol as Shape

from sidecars.kit.net.core.eyeballs import Place
from sidecars.kit.net.resolve import NotResolved, Resolved
from sidecars.runtime import Context, supervise
from sidecars.runtime.clock import monotonic

from .connecting.dial import Dialler, NodeTarget
from .core.address import HostAddress, ServiceName, SocketPath, check_address, upstream_address
from .core.causes import LASTING, Cause
from .core.selection import Candidate, TargetRole, choose, must_leave
from .core.upstream import CheckResult, NodeChange, NodeHealth, Patience, UpstreamState
from .metrics import AmbassadorMetrics
from .settings import CheckKind, ListenerPlan, Upstream

_SOON_SECONDS = 0.1
"""After a failed connect the node is checked at once, but not more often than so."""
_JITTER = 0.1
_UNRESOLVED_SECONDS = 1.0
_PATRONI_PORT = 8008


class NodeSession(Shape):
    """A session, as a node knows it."""

    role: TargetRole

    def end(self, cause: Cause, text: str) -> None:
        """End it now, politely where that is possible."""

    def drain(self, cause: Cause, text: str, within_seconds: float) -> None:
        """End it when it is idle, after a part of this time."""


class Checker(Shape):
    """Who checks a node."""

    async def check(self, target: NodeTarget, special: NodeTarget | None) -> CheckResult:
        """Check once."""

    def close(self) -> None:
        """Let go."""


@dataclass(eq=False)
class UpstreamNode:
    """One server. `shown`: how it is called in /status and log; its upstream is the label of its metrics."""

    upstream: Upstream
    shown: str
    target: NodeTarget
    special: NodeTarget | None
    dialler: Dialler
    state: UpstreamState
    priority: int = 0
    weight: int = 1
    sessions: set[NodeSession] = field(default_factory=set)
    wanted: Counter[TargetRole] = field(default_factory=Counter)
    """How many of them want which role; counted here, as each choice asks for it."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, session: NodeSession) -> None:
        """Take a session."""
        self.sessions.add(session)
        self.wanted[session.role] += 1

    def leave(self, session: NodeSession) -> None:
        """Let a session go."""
        self.sessions.discard(session)
        self.wanted[session.role] -= 1


class NameServer(Shape):
    """Who looks names up."""

    async def resolve(self, address: str) -> Resolved:
        """Return where an address leads to. Raise NotResolved."""


@dataclass(frozen=True)
class PoolParts:
    """What a pool is built of; tests hand in others. `checker` makes one for each node."""

    dialler: Dialler
    checker: Callable[[], Checker]
    names: NameServer


class NodePool:
    """Nodes, their state, and the tasks that keep it true."""

    def __init__(self, plan: ListenerPlan, ctx: Context, metrics: AmbassadorMetrics, parts: PoolParts) -> None:
        self.plan = plan
        self.nodes: list[UpstreamNode] = []
        self._ctx = ctx
        self._metrics = metrics
        self._parts = parts
        self._changed = asyncio.Event()
        self.told: Callable[[], None] = _nobody
        """Called at each change."""
        self.hindrance = ""
        """Why it has no nodes yet: its certificates cannot be used."""
        self._unresolved: dict[str, str] = {}
        self._gone: list[UpstreamNode] = []
        """Nodes that have left the DNS, and have sessions still."""
        self._look_again = asyncio.Event()

    # --- for sessions ---

    @property
    def changed(self) -> asyncio.Event:
        """Return what is set at the next change; each change has another one."""
        return self._changed

    @property
    def is_new(self) -> bool:
        """Return whether nothing can be said yet: names are being looked up, or a node has not been checked."""
        if not self.nodes:
            return not (self._unresolved or self.hindrance)
        return any(node.state.health is NodeHealth.UNKNOWN for node in self.nodes)

    def candidates(self, role: TargetRole) -> list[Candidate]:
        """Return all nodes as the choice sees them."""
        return [
            Candidate(number, node.state, node.priority, node.weight, node.wanted[role])
            for number, node in enumerate(self.nodes)
        ]

    def choice(self, role: TargetRole) -> list[UpstreamNode]:
        """Return the usable nodes, the best first."""
        return [self.nodes[one.index] for one in choose(self.candidates(role), role, monotonic(), random.random)]

    def must_leave(self, node: UpstreamNode, role: TargetRole) -> bool:
        """Whether a session with this role must not be on a node (any more)."""
        if node not in self.nodes:  # its address has left the DNS; somebody else may be the primary by now
            return role is TargetRole.PRIMARY and bool(self.choice(role))
        everyone = self.candidates(role)
        return must_leave(everyone[self.nodes.index(node)], everyone, role, monotonic())

    def connected(self, node: UpstreamNode) -> None:
        """Take note of a connect that worked."""
        node.state.connected()

    def connect_failed(self, node: UpstreamNode, cause: Cause) -> None:
        """Take note of one that did not, and check the node at once."""
        self._metrics.connect_failures.labels(node.upstream.address, cause).inc()
        if cause is Cause.EXHAUSTED:  # not its fault
            return
        if NodeChange.EJECTED in node.state.connect_failed(cause, monotonic()):
            text = f"{node.shown} is left out for a while: connects to it fail ({cause})"
            self._ctx.log.warning(text, action="upstream.ejected", upstream=node.shown, cause=cause)
        node.wake.set()

    def lasting(self) -> tuple[Cause, str] | None:
        """Return why no node can be used, where waiting does not help: all have a fault that stays."""
        faults = [(node.state.cause, node) for node in self.nodes if node.state.health is NodeHealth.DOWN]
        if not faults or len(faults) < len(self.nodes) or any(cause not in LASTING for cause, _ in faults):
            return None
        cause, node = faults[0]
        return (cause, f"{node.shown}: {node.state.detail}") if cause is not None else None

    def why_none(self, role: TargetRole) -> str:
        """Return in a few words why no node is usable."""
        words = [f"{name} is unknown ({why})" for name, why in self._unresolved.items()]
        for node in self.nodes[:10]:
            state = node.state
            what = state.health if state.health is not NodeHealth.UP else f"a {state.role}"
            words.append(f"{node.shown} is {what}{f' ({state.detail})' if state.detail else ''}")
        wanted = "upstream" if role is TargetRole.ANY else role.value
        return f"no {wanted} is usable: {'; '.join(words) or self.hindrance or 'there is none'}"

    def find(self, name: str) -> list[UpstreamNode]:
        """Return the nodes of an upstream, or the one that is shown so."""
        return [node for node in self.nodes if name in {node.shown, node.upstream.address}]

    # --- tasks ---

    async def run(self) -> None:
        """Look names up and check nodes, until cancelled."""
        checks: dict[UpstreamNode, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                found = await self._look_up()
                self._take(found)
                for node in [node for node in checks if node not in self.nodes]:
                    checks.pop(node).cancel()
                for node in self.nodes:
                    if node not in checks:
                        checks[node] = group.create_task(self._keep_checking(node), name=f"check {node.shown}")
                await self._rest_from_looking_up()

    async def _rest_from_looking_up(self) -> None:
        """Wait for the next look-up: soon when a name is unknown, or a node has gone down, which may have moved."""
        self._look_again.clear()
        await self._ctx.stop.pause(min(self.plan.resolve_seconds, _UNRESOLVED_SECONDS))
        if self._unresolved:
            return
        try:
            async with asyncio.timeout(max(0.0, self.plan.resolve_seconds - _UNRESOLVED_SECONDS)):
                await self._look_again.wait()
        except TimeoutError:
            pass

    async def _look_up(self) -> list[UpstreamNode]:
        """Return the nodes that the names lead to now; those that are known already are the same objects."""
        unresolved: dict[str, str] = {}
        async with asyncio.TaskGroup() as group:  # one that hangs must not hold up the others
            asked = [group.create_task(self._known_nodes_of(upstream, unresolved)) for upstream in self.plan.upstreams]
        self._unresolved = unresolved
        return [node for task in asked for node in task.result()]

    async def _known_nodes_of(self, upstream: Upstream, unresolved: dict[str, str]) -> list[UpstreamNode]:
        try:
            return await self._nodes_of(upstream)
        except NotResolved as error:
            unresolved[upstream.address] = str(error)
            text = f"cannot look up {upstream.address}: {error}"
            self._ctx.log.warning(text, action="resolve.failed", upstream=upstream.address, every_seconds=30.0)
            return []

    async def _nodes_of(self, upstream: Upstream) -> list[UpstreamNode]:
        address = upstream_address(upstream.address)
        if isinstance(address, SocketPath):
            return [self._node(upstream, str(address), NodeTarget("localhost", address))]
        answer = await self._parts.names.resolve(str(address))
        if answer.stale:
            self._ctx.log.warning(
                f"{answer.stale}; the last answer is kept",
                action="resolve.stale",
                upstream=upstream.address,
                every_seconds=30.0,
            )
        found = split(address, answer.places)
        nodes = [self._node(upstream, shown, target) for shown, target in found]
        for node in nodes:
            node.special = await special_target(self._parts.names, self.plan, upstream, node.target, len(nodes))
        return nodes

    def _node(self, upstream: Upstream, shown: str, target: NodeTarget) -> UpstreamNode:
        for node in self.nodes:
            if node.upstream == upstream and node.target == target:
                return node
        check = self.plan.check
        state = UpstreamState(Patience(check.rise, check.fall, check.slow_start_seconds))
        return UpstreamNode(
            upstream, shown, target, None, self._parts.dialler, state, upstream.priority, upstream.weight
        )

    def _take(self, found: list[UpstreamNode]) -> None:
        gone = [node for node in self.nodes if node not in found]
        new = [node for node in found if node not in self.nodes]
        for node in gone:
            self._ctx.log.info(f"{node.shown} has left the DNS", action="upstream.gone", upstream=node.shown)
            if self.plan.dns_drain_seconds:
                for session in list(node.sessions):
                    session.drain(Cause.DRAINED, "the server's address has changed", self.plan.dns_drain_seconds)
        self.nodes = found
        self._gone = [node for node in (*self._gone, *gone) if node.sessions and node not in found]
        if gone or new or self._unresolved:
            self.tell()

    async def _keep_checking(self, node: UpstreamNode) -> None:
        checker = self._parts.checker()

        async def looking() -> None:
            while True:
                self._checked(node, await checker.check(node.target, node.special))
                await self._rest(node)

        try:
            await supervise(f"check {node.shown}", looking, self._ctx)
        finally:
            checker.close()

    async def _rest(self, node: UpstreamNode) -> None:
        """Wait for the next check: it is at once when a connect has failed."""
        seconds = self.plan.check.interval_seconds * (1 + _JITTER * (random.random() - 0.5))
        await self._ctx.stop.pause(min(_SOON_SECONDS, seconds))
        try:
            async with asyncio.timeout(max(0.0, seconds - _SOON_SECONDS)):
                await node.wake.wait()
        except TimeoutError:
            pass
        node.wake.clear()

    def _checked(self, node: UpstreamNode, result: CheckResult) -> None:
        label = "ok" if result.ok else result.cause or "failed"
        self._metrics.checks.labels(node.upstream.address, label).inc()
        if result.cause is Cause.EXHAUSTED:  # which says nothing of the node
            text = f"cannot check {node.shown}: {result.detail}"
            self._ctx.log.error(text, action="check.impossible", every_seconds=10.0)
            return
        changes = node.state.checked(result, monotonic())
        if not changes:
            return
        state = node.state
        about = {"upstream": node.shown, "role": state.role, "health": state.health}
        if NodeChange.DOWN in changes:
            text = f"{node.shown} is down: {result.detail}"
            self._ctx.log.warning(text, action="upstream.down", cause=result.cause, **about)
            self._look_again.set()
        elif NodeChange.UP in changes:
            self._ctx.log.info(f"{node.shown} is up", action="upstream.up", **about)
        if NodeChange.ROLE in changes:
            self._ctx.log.info(f"{node.shown} is a {state.role}", action="upstream.role", **about)
        self._move_sessions()
        self.tell()

    def _move_sessions(self) -> None:
        """End the sessions that are on a node of the wrong role now."""
        for node in (*self.nodes, *self._gone):
            for session in list(node.sessions):
                if self.must_leave(node, session.role):
                    session.end(Cause.ROLE_CHANGED, f"{node.shown} is not the {session.role} any more")

    def tell(self) -> None:
        """Let everybody know that something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()
        self.told()


async def special_target(
    names: NameServer, plan: ListenerPlan, upstream: Upstream, target: NodeTarget, nodes: int
) -> NodeTarget | None:
    """Return where a node is checked, None for its own address. Raise NotResolved, also where one place would speak for
    several nodes: then a replica could be taken for the primary.
    """
    own = upstream_address(upstream.address)
    if isinstance(target.places, SocketPath):
        return None
    if not upstream.check_address:
        return _at_port(target, _PATRONI_PORT) if plan.check_kind is CheckKind.PATRONI else None
    there = check_address(upstream.check_address)
    if there.host in {"", own.host if isinstance(own, HostAddress) else ""}:
        return _at_port(target, there.port)
    if nodes > 1:
        raise NotResolved(f"it leads to {nodes} nodes, and check_address is one place: write it as :{there.port}")
    return NodeTarget(there.host, (await names.resolve(str(there))).places)


def _at_port(target: NodeTarget, port: int) -> NodeTarget:
    places = () if isinstance(target.places, SocketPath) else target.places
    return NodeTarget(target.host, tuple((ip, port) for ip, _ in places))


def _nobody() -> None:
    """For a pool that nobody looks at."""


def split(address: HostAddress | ServiceName, places: Iterable[Place]) -> list[tuple[str, NodeTarget]]:
    """Return the nodes behind a name, each with how it is shown: one for each address, but an IPv4 and an IPv6 address
    are one node with two ways to it. Several ports (SRV) are several nodes.
    """
    places = tuple(dict.fromkeys(places))
    host = address.host if isinstance(address, HostAddress) else address.domain
    fours = [place for place in places if ":" not in place[0]]
    sixes = [place for place in places if ":" in place[0]]
    if len(fours) <= 1 and len(sixes) <= 1:
        return [(str(address), NodeTarget(host, places))] if places else []
    each = fours or sixes
    return [(f"{address} at {HostAddress(*place)}", NodeTarget(host, (place,))) for place in each]
