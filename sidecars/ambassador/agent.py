"""Wires the ambassador: pools keep their nodes true, listeners make sessions, and the stop waits for the clients."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sidecars.kit.certificates import Reload
from sidecars.kit.files import UnusableFile
from sidecars.kit.net.connect import Liveness, enliven
from sidecars.kit.net.leg import Leg
from sidecars.kit.net.listen import Listener, listen_tcp, listen_unix
from sidecars.kit.net.poller import Poller
from sidecars.kit.net.resolve import Resolver
from sidecars.runtime import Context, Permanent, Problem, SettingsError, Sidecar, State, Transient, supervise
from sidecars.runtime.clock import monotonic, now

from .check import findings, findings_outside, refuse_start
from .checking.checks import NodeCheck
from .connecting.dial import Dialler
from .connecting.security import NodeTls
from .core.address import HostAddress, SocketPath
from .core.cancelling import CancelKeys
from .core.causes import Cause
from .core.selection import TargetRole
from .core.upstream import NodeHealth, NodeRole
from .metrics import AmbassadorMetrics
from .pool import NodePool, PoolParts, UpstreamNode
from .serving.desk import CancelPlace, Desk
from .serving.session import LocalSession
from .settings import AmbassadorSettings, ContainerLifecycle, ListenerPlan
from .status import described, pools, table

HARD_STOP_SECONDS = 2.0
"""So long before the end of the grace, what is left is ended."""
NATIVE_QUIET_SECONDS = 0.75
"""A native sidecar is stopped when the app is gone: a pause between two connections is shorter than this."""
_GOODBYE_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_EXPIRES_SOON_SECONDS = 86400.0
_RESERVED_FILES = 32
_MANY_FILES = 1 << 20


class Ambassador:
    """The parts, and what may be asked of them. Made on the loop."""

    def __init__(self, settings: AmbassadorSettings, ctx: Context, metrics: AmbassadorMetrics) -> None:
        self._settings = settings
        self._ctx = ctx
        self._metrics = metrics
        self._poller = Poller()
        self._tls: list[NodeTls] = []
        keys: CancelKeys[CancelPlace] = CancelKeys()
        made: list[NodePool] = []
        self.desks = [
            Desk(plan, ctx, metrics, self._pool_of(plan, made), self._poller, keys) for plan in settings.plans()
        ]
        self._listeners: list[Listener] = []
        self._addresses: dict[str, list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False
        self._kept: dict[str, str] = {}
        self._most_sessions = affordable(raise_open_files())
        for pool in made:
            pool.told = self._observe
        self._begin_metrics()

    def _pool_of(self, plan: ListenerPlan, made: list[NodePool]) -> NodePool:
        """Return the pool of a listener: the one of another listener that says the same of its upstreams."""

        def said(one: ListenerPlan) -> tuple[object, ...]:
            return one.upstreams, one.protocol, one.tls, one.check, one.resolve_seconds, one.dns_drain_seconds

        for pool in made:
            if said(pool.plan) == said(plan):
                return pool
        dialler = self._dialler(plan)
        parts = PoolParts(dialler, partial(NodeCheck, plan, dialler), Resolver())
        pool = NodePool(plan, self._ctx, self._metrics, parts)
        made.append(pool)
        return pool

    def _dialler(self, plan: ListenerPlan) -> Dialler:
        if plan.tls is None:
            return Dialler(self._poller, plan.protocol, None)
        tls = next((one for one in self._tls if one.settings == plan.tls), None)
        if tls is None:
            tls = NodeTls(plan.tls)
            self._tls.append(tls)
        return Dialler(self._poller, plan.protocol, tls, plan.tls.postgres)

    # --- running ---

    async def run(self) -> None:
        """Serve until the stop is over."""
        try:
            self._listen()
            async with asyncio.TaskGroup() as group:
                working = group.create_task(self._work(), name="work")
                await self._ctx.stop.wait()
                await self._serve_the_last()
                working.cancel()
        finally:
            self._is_over = True
            for listener in self._listeners:
                listener.close()
            await self._say_goodbye()
            self._poller.close()

    async def _work(self) -> None:
        """Load certificates, and keep them and the pools true. A pool waits for its own certificates only."""
        async with asyncio.TaskGroup() as group:
            loads = [group.create_task(self._load(tls), name="load certificates") for tls in self._tls]
            for number, pool in enumerate(pools(self.desks)):
                needs = [load for tls, load in zip(self._tls, loads, strict=True) if tls.settings == pool.plan.tls]
                group.create_task(supervise(f"pool {number}", partial(_after, needs, pool.run), self._ctx))
            for number, (tls, load) in enumerate(zip(self._tls, loads, strict=True)):
                watch = partial(_after, [load], partial(self._watch, tls))
                group.create_task(supervise(f"certificates {number}", watch, self._ctx))
            await asyncio.gather(*loads)
            self._ctx.health.mark_started()
            names = [desk.plan.name for desk in self.desks]
            self._ctx.log.info("takes connections", action="start.done", listeners=names)

    def _listen(self) -> None:
        """Listen everywhere. Raise SettingsError."""
        for desk in self.desks:
            for address in desk.plan.listen:
                try:
                    listening = _listening(address)
                except OSError as error:
                    what = f"cannot listen at {address}: {error.strerror or error}"
                    raise SettingsError(
                        [Problem("listen", what, "choose another address, or end who has it")]
                    ) from None
                listener = Listener(self._poller, listening, partial(self._accepted, desk))
                listener.exhausted = self._exhausted
                self._listeners.append(listener)
                place = listener.address
                shown = str(SocketPath(place) if isinstance(place, str) else HostAddress(*place))
                self._addresses.setdefault(desk.plan.name, []).append(shown)
                text = f"{desk.plan.name} listens at {shown}"
                self._ctx.log.info(text, action="listener.up", listener=desk.plan.name, address=shown)

    def _accepted(self, desk: Desk, client: Leg) -> None:
        enliven(client.socket, Liveness())
        session = LocalSession(desk, client)
        task = self._poller.loop.create_task(session.run(), name="session")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if len(self._tasks) >= self._most_sessions:
            text = f"{len(self._tasks)} connections need all open files that there are; the next ones wait"
            self._ctx.log.error(text, action="listener.full", every_seconds=10.0)
            for listener in self._listeners:
                listener.pause()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let one broken session break nothing else."""
        self._tasks.discard(task)
        if len(self._tasks) == self._most_sessions - 1 and not self._is_over:
            for listener in self._listeners:
                listener.resume()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ctx.log.error("a session crashed", action="session.crashed", error=error, every_seconds=1.0)

    def _exhausted(self, error: OSError) -> None:
        text = f"cannot accept connections for a moment: {error.strerror}; raise the limit of open files"
        self._ctx.log.error(text, action="listener.exhausted", every_seconds=10.0)

    # --- certificates ---

    async def _load(self, tls: NodeTls) -> None:
        """Read the certificates for the first time; until they can be used, connections are parked."""
        while True:
            try:
                tls.certificates.load()
            except UnusableFile as error:
                text = f"{error}; connections are parked until it can be used"
                self._ctx.log.error(text, action="certificates.unusable", every_seconds=30.0)
                self._missing(tls, str(error))
                await self._ctx.stop.pause(1.0)
            else:
                self._missing(tls, "")
                return

    def _missing(self, tls: NodeTls, problem: str) -> None:
        """Say why the pools with these certificates have no nodes yet."""
        for pool in pools(self.desks):
            if pool.plan.tls == tls.settings:
                pool.hindrance = problem
        self._observe()

    async def _watch(self, tls: NodeTls) -> None:
        def looked(reload: Reload) -> None:
            name = tls.settings.certificate_file or tls.settings.ca_file
            self._metrics.reloads.labels("failed" if reload.problem else "ok").inc()
            self._kept[name] = reload.problem
            if reload.problem:
                text = f"{reload.problem}; the former certificates stay in use"
                self._ctx.log.error(text, action="certificates.kept", file=name)
            else:
                self._ctx.log.info("new certificates are in use", action="certificates.loaded", file=name)
            self._observe()

        await tls.certificates.watch(looked)

    # --- the stop ---

    async def _serve_the_last(self) -> None:
        """Return when the clients are gone, or when the grace is nearly over. All the while it accepts."""
        began, remaining = monotonic(), self._ctx.stop.remaining()
        hard = began + max(remaining - HARD_STOP_SECONDS, remaining / 2)
        native = self._settings.lifecycle is ContainerLifecycle.NATIVE
        quiet = min(self._settings.quiet_seconds, NATIVE_QUIET_SECONDS) if native else self._settings.quiet_seconds
        while monotonic() < hard:
            last = max([began, *(desk.last_left for desk in self.desks)])
            if not any(desk.sessions for desk in self.desks) and monotonic() - last >= quiet:
                return
            await self._ctx.stop.pause(_LOOK_SECONDS)
        left = sum(len(desk.sessions) for desk in self.desks)
        self._ctx.log.warning(
            f"the grace is nearly over: {left} connections are ended", action="stop.hard", connections=left
        )

    async def _say_goodbye(self) -> None:
        for desk in self.desks:
            for session in list(desk.sessions):
                session.end(Cause.STOPPED, "the ambassador stops")
        if self._tasks:
            _, left = await asyncio.wait(set(self._tasks), timeout=_GOODBYE_SECONDS)
            for task in left:
                task.cancel()

    # --- what is seen, and asked for ---

    def _observe(self) -> None:
        health = self._ctx.health
        faults = {desk.plan.name: desk.pool.why_none(desk.plan.role) for desk in self.desks if not self._usable(desk)}
        unknown = any(desk.pool.is_new for desk in self.desks)
        if faults and not unknown:
            text = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
            if health.set("upstreams", State.DEGRADED, text):
                self._ctx.log.error(f"connections are parked: {text}", action="upstreams.none")
        elif not faults and health.set("upstreams", State.OK):
            self._ctx.log.info("upstreams are usable", action="upstreams.usable")
        kept = [problem for problem in self._kept.values() if problem]
        ends = [tls.certificates.expires_at for tls in self._tls]
        soon = [at for at in ends if at is not None and at < now() + _EXPIRES_SOON_SECONDS]
        missing = [pool.hindrance for pool in pools(self.desks) if pool.hindrance]
        if missing:
            health.set("certificates", State.FAILING, missing[0])
        elif kept:
            health.set("certificates", State.DEGRADED, kept[0])
        elif soon:
            health.set("certificates", State.DEGRADED, "a client certificate ends within a day")
        elif self._tls:
            health.set("certificates", State.OK)

    def _usable(self, desk: Desk) -> list[UpstreamNode]:
        return desk.pool.choice(desk.plan.role)

    def _begin_metrics(self) -> None:
        """Let the gauges be looked up when they are asked for."""
        metrics, made = self._metrics, pools(self.desks)
        upstreams = {upstream.address for pool in made for upstream in pool.plan.upstreams}
        metrics.begin([desk.plan.name for desk in self.desks], sorted(upstreams))
        for desk in self.desks:
            metrics.usable.labels(desk.plan.name).set_function(partial(self._count_usable, desk))
        for address in upstreams:
            metrics.up.labels(address).set_function(partial(self._count, address, _is_up))
            metrics.ejected.labels(address).set_function(partial(self._count, address, _is_ejected))
            for role in NodeRole:
                metrics.role.labels(address, role).set_function(partial(self._count, address, partial(_has_role, role)))
        for tls in self._tls:
            if tls.settings.certificate_file:
                metrics.expiry.labels(tls.settings.certificate_file).set_function(partial(_expiry, tls))

    def _count_usable(self, desk: Desk) -> float:
        return len(self._usable(desk))

    def _count(self, address: str, counts: Callable[[UpstreamNode], bool]) -> float:
        nodes = (node for pool in pools(self.desks) for node in pool.nodes if node.upstream.address == address)
        return sum(map(counts, nodes))

    def status(self) -> dict[str, Any]:
        """Return what /status shows."""
        return described(self.desks, self._addresses, self._tls)

    def table(self) -> str:
        """Return the same for people."""
        return table(self.status())

    async def drain(self, upstream: str = "") -> Mapping[str, object]:
        """End the sessions as they become idle (POST /drain); new connections are served as before."""
        sessions = self._drained(self._named(upstream), "a drain was asked for")
        self._ctx.log.info("drains sessions", action="drain.begun", upstream=upstream or None, sessions=sessions)
        return {"draining": sessions, "within_seconds": self._settings.drain_seconds}

    async def failover(self, upstream: str = "") -> Mapping[str, object]:
        """Go away from one upstream for a while (POST /failover); without a name from the one with most sessions."""
        nodes = self._named(upstream)
        if not upstream:
            nodes = sorted(nodes, key=lambda node: -len(node.sessions))[:1]
        for desk in self.desks:
            usable = self._usable(desk)
            others = [node for node in usable if node not in nodes]
            if any(node in nodes for node in usable) and not others:
                role = "upstream" if desk.plan.role is TargetRole.ANY else str(desk.plan.role)
                raise Transient(f"{desk.plan.name} has no other usable {role}; promote or repair one first")
        for node in nodes:
            node.state.away_until = monotonic() + self._settings.failover_seconds
        sessions = self._drained(nodes, "a failover was asked for")
        for pool in pools(self.desks):
            pool.tell()
        left = [node.shown for node in nodes]
        self._ctx.log.info("goes away from an upstream", action="failover.begun", upstreams=left, sessions=sessions)
        return {"away_from": left, "for_seconds": self._settings.failover_seconds, "draining": sessions}

    def _named(self, upstream: str) -> list[UpstreamNode]:
        everyone = [node for pool in pools(self.desks) for node in (pool.find(upstream) if upstream else pool.nodes)]
        if not everyone:
            names = sorted({node.shown for pool in pools(self.desks) for node in pool.nodes})
            raise Permanent(f"there is no upstream {upstream[:80]!r}; there are {', '.join(names) or 'none'}")
        return everyone

    def _drained(self, nodes: list[UpstreamNode], why: str) -> int:
        sessions = [session for node in nodes for session in node.sessions]
        for session in sessions:
            session.drain(Cause.DRAINED, why, self._settings.drain_seconds)
        return len(sessions)


async def _after(loads: Sequence[asyncio.Task[None]], work: Callable[[], Awaitable[None]]) -> None:
    """Work once the certificates are loaded."""
    if loads:
        await asyncio.wait(loads)
    await work()


def raise_open_files() -> int:
    """Let this process have as many open files as it may, and return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft > 0 else _MANY_FILES


def affordable(files: int) -> int:
    """Return how many sessions there may be: each needs two files, and checks, logs and probes need some, too."""
    return max(1, (files - _RESERVED_FILES) // 2)


def _is_up(node: UpstreamNode) -> bool:
    return node.state.health is NodeHealth.UP


def _is_ejected(node: UpstreamNode) -> bool:
    return node.state.is_ejected(monotonic())


def _has_role(role: NodeRole, node: UpstreamNode) -> bool:
    return node.state.role is role


def _expiry(tls: NodeTls) -> float:
    return tls.certificates.expires_at or 0.0


def _listening(address: HostAddress | SocketPath) -> socket.socket:
    return listen_unix(address.path) if isinstance(address, SocketPath) else listen_tcp(address.host, address.port)


async def main(settings: AmbassadorSettings, ctx: Context) -> None:
    """Run until the stop is over."""
    ambassador = Ambassador(settings, ctx, AmbassadorMetrics(ctx.metrics))
    ctx.admin.status(ambassador.status)
    ctx.admin.table(ambassador.table)
    ctx.admin.trigger("drain", ambassador.drain, takes=("upstream",))
    ctx.admin.trigger("failover", ambassador.failover, takes=("upstream",))
    await ambassador.run()


SIDECAR = Sidecar(
    name="ambassador",
    settings=AmbassadorSettings,
    main=main,
    refuse_start=refuse_start,
    metrics=AmbassadorMetrics,
    check=findings,
    check_outside=findings_outside,
)
