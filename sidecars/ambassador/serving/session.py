"""One local connection, from its first byte to the line in the log that says how it ended."""

import asyncio
import contextlib
import random
from dataclasses import dataclass

from sidecars.ambassador.connecting.dial import Dialled, NodeTarget
from sidecars.ambassador.connecting.failure import ConnectFailed, broken, broken_cause
from sidecars.ambassador.connecting.postgres import begin
from sidecars.ambassador.core.address import SocketPath
from sidecars.ambassador.core.answers import answer
from sidecars.ambassador.core.causes import CONNECT_FAILURES, LASTING, Cause
from sidecars.ambassador.core.postgres import NO, Ask, BadOpening, BrokenServer, ClientOpening, ServerStream, opening
from sidecars.ambassador.core.selection import TargetRole
from sidecars.ambassador.core.waiting import Ticket
from sidecars.ambassador.pool import UpstreamNode
from sidecars.ambassador.settings import Protocol, SendProxy
from sidecars.kit.net.core.causes import EndCause
from sidecars.kit.net.core.proxy_header import NotProxied, Origin, ProxyVersion, write
from sidecars.kit.net.leg import Leg, LegBroken
from sidecars.kit.net.listen import take_origin
from sidecars.kit.net.relay import Relay, RelayEnd, RelayLimits, Side, Taps
from sidecars.runtime import Backoff
from sidecars.runtime.clock import monotonic

from .desk import CancelPlace, Desk

OPENING_SECONDS = 10.0
"""A client that has not said enough by then is ended."""
_RETRY_SECONDS = (0.1, 1.0)
_QUIET_SECONDS = 1.0
"""Of a protocol that is not read, a session without a byte for so long counts as idle."""
_LONGEST_DRAIN_SECONDS = 3600.0
_REFUSALS = {Cause.NO_UPSTREAM, Cause.ROOM_FULL, Cause.LIMIT, *CONNECT_FAILURES}


@dataclass(slots=True)
class Phases:
    """How long what has taken, in seconds. Names are looked up beforehand, so that DNS takes none."""

    parked: float = 0.0
    tcp: float = 0.0
    tls: float = 0.0
    auth: float = 0.0


class _Ended(Exception):
    """The connection ends here: who ended it, why, and in words."""

    def __init__(self, side: Side, cause: Cause, text: str = "") -> None:
        self.side, self.cause = side, cause
        super().__init__(text)


class LocalSession:
    """One local connection. `run` brings it to its end; `end` and `drain` may be called meanwhile."""

    __slots__ = (
        "_began", "_began_login", "_bytes", "_client", "_desk", "_draining", "_ending", "_heard_at", "_idle_timer",
        "_key", "_node", "_origin", "_peer", "_phases", "_relay", "_seen_bytes", "_startup", "_stream", "_task",
        "_timer", "role",
    )  # fmt: skip

    def __init__(self, desk: Desk, client: Leg) -> None:
        self._desk = desk
        self._client = client
        self.role: TargetRole = desk.plan.role
        self._began = monotonic()
        self._began_login = 0.0
        self._bytes = self._seen_bytes = (0, 0)
        self._draining: tuple[Cause, str, float] | None = None
        self._ending: _Ended | None = None
        self._heard_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._key: tuple[bytes, CancelPlace] | None = None
        self._node: UpstreamNode | None = None
        self._origin: Origin | None = None
        self._peer: object = None
        self._phases = Phases()
        self._relay: Relay | None = None
        self._startup = b""
        self._stream = ServerStream() if desk.plan.protocol is Protocol.POSTGRES else None
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- from outside ---

    def end(self, cause: Cause, text: str) -> None:
        """End it now: with words where the client would take them for its server's, else with a reset."""
        if self._relay is not None:
            polite = self._stream is not None and self._stream.can_be_told
            words = answer(self._desk.plan.protocol, cause, text) if polite else b""
            self._relay.close(cause, words, reset=not words and not self.is_idle)
        elif self._task is not None and self._ending is None:
            self._ending = _Ended(Side.SIDECAR, cause, text)
            self._task.cancel()

    def drain(self, cause: Cause, text: str, within_seconds: float) -> None:
        """End it when it is idle, the first time after a random part of this time."""
        if self._draining is None:
            self._draining = cause, text, monotonic() + _LONGEST_DRAIN_SECONDS
            self._look_later(random.random() * within_seconds)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: by what the protocol says, else when nothing was said for a moment."""
        if self._stream is not None:
            return self._stream.is_idle
        return self._relay is not None and self._relay.counts == self._seen_bytes

    def _look_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._desk.poller.loop.call_later(seconds, self._try_to_drain)

    def _try_to_drain(self) -> None:
        age = self._desk.plan.limits.age_seconds
        if self._draining is None and age:
            self.drain(Cause.AGE, f"the connection is older than limits.age_seconds ({age:g} s)", 0.1 * age)
        elif self._draining is not None and self._relay is not None:
            reason, text, until = self._draining
            if self.is_idle or monotonic() > until:
                self.end(reason, text)
                return
            self._seen_bytes = self._relay.counts
            self._look_later(_QUIET_SECONDS if self._stream is None else _QUIET_SECONDS / 4)
        else:
            self._look_later(_QUIET_SECONDS)

    def _look_for_silence(self) -> None:
        """End a session of PostgreSQL that is idle for too long, with words; of what is not read, the relay does it."""
        loop, most = self._desk.poller.loop, self._desk.plan.limits.idle_seconds
        left = self._heard_at + most - loop.time()
        if self._stream is not None and not self._stream.can_be_told:
            left = max(left, _QUIET_SECONDS)  # a query that runs is not idle
        if left > 0:
            self._idle_timer = loop.call_later(left, self._look_for_silence)
        else:
            self.end(Cause.IDLE, f"nothing was said for {most:g} s (limits.idle_seconds)")

    # --- the way of a connection ---

    async def run(self) -> None:
        """Bring it to its end, and say in the log what that was. Never raises but when cancelled."""
        desk = self._desk
        desk.sessions.add(self)
        self._task = asyncio.current_task()
        desk.metrics.accepted.labels(desk.plan.name).inc()
        desk.metrics.open.labels(desk.plan.name).inc()
        try:
            await self._serve()
        except _Ended as ended:
            self._close(ended)
        except LegBroken as error:
            self._close(_Ended(Side.CLIENT, broken_cause(error.cause, ""), str(error)))
        except asyncio.CancelledError:
            self._close(self._ending or _Ended(Side.SIDECAR, Cause.STOPPED, "the ambassador stops"))
            if self._ending is None:
                raise
        finally:
            desk.metrics.open.labels(desk.plan.name).dec()
            desk.sessions.discard(self)
            desk.last_left = monotonic()
            if not (self._client.is_closed or self._client.is_parting):  # only after a crash of ours
                self._client.reset()
            for timer in (self._timer, self._idle_timer):
                if timer is not None:
                    timer.cancel()

    async def _serve(self) -> None:
        """Go through the phases. Raise _Ended, LegBroken (of the client)."""
        desk = self._desk
        await self._take_origin()
        if desk.plan.protocol is Protocol.POSTGRES:
            opened = await self._take_opening()
            if opened.ask is Ask.CANCEL:
                await self._cancel(opened)
            self._startup = opened.raw
        ticket = desk.room.ticket()
        while not desk.limit.take():
            await self._park(ticket, desk.freed, Cause.LIMIT)
        try:
            node, dialled, first = await self._connect(ticket)
            await self._pass_through(node, dialled, first)
        finally:
            desk.free()

    async def _take_origin(self) -> None:
        """Read the PROXY header, where the peer is one that sends it."""
        connection = self._client.socket
        try:
            self._peer = connection.getpeername()
        except OSError:
            raise _Ended(Side.CLIENT, Cause.RESET, "it had left before it was accepted") from None
        if self._desk.takes_header_from(self._peer):
            try:
                self._origin = await take_origin(self._client)
            except (NotProxied, TimeoutError) as error:
                raise _Ended(Side.CLIENT, Cause.BAD_OPENING, str(error) or "no PROXY header came") from None

    async def _take_opening(self) -> ClientOpening:
        """Read what a PostgreSQL client opens with; encryption is declined, which is what it asks for first."""
        received = b""
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                while True:
                    while (found := opening(received)) is None:
                        data = await self._client.receive()
                        if not data:
                            raise _Ended(Side.CLIENT, Cause.BAD_OPENING if received else Cause.FINISHED)
                        received += data
                    received = received[len(found.raw) :]
                    if found.ask in {Ask.CANCEL, Ask.STARTUP}:
                        self._client.unread(received)
                        return found
                    await self._client.send(NO)
        except BadOpening as error:
            raise _Ended(Side.CLIENT, Cause.BAD_OPENING, str(error)) from None
        except TimeoutError:
            text = f"it has not said what it wants within {OPENING_SECONDS:g} s"
            raise _Ended(Side.SIDECAR, Cause.BAD_OPENING, text) from None

    async def _cancel(self, opened: ClientOpening) -> None:
        """Send a CancelRequest to the node where its session is. Raise _Ended."""
        desk = self._desk
        found = desk.keys.place(opened.key)
        if found is None:
            desk.metrics.cancels.labels("unknown").inc()
            raise _Ended(Side.SIDECAR, Cause.FINISHED, "a cancel for no session of ours")
        self._node = found.node
        place = SocketPath(found.place) if isinstance(found.place, str) else (found.place,)
        seconds = desk.plan.connect.try_seconds
        try:
            dialled = await found.node.dialler.dial(NodeTarget(found.node.target.host, place), seconds)
        except ConnectFailed as error:
            desk.metrics.cancels.labels("failed").inc()
            raise _Ended(Side.UPSTREAM, error.cause, f"cannot cancel: {error}") from None
        try:
            async with asyncio.timeout(seconds):
                await dialled.leg.send(opened.raw)
                await dialled.leg.receive()  # the server closes when the signal is sent
        except (LegBroken, TimeoutError):
            pass  # it is sent
        finally:
            dialled.leg.close()
        desk.metrics.cancels.labels("forwarded").inc()
        raise _Ended(Side.UPSTREAM, Cause.FINISHED, "a cancel")

    # --- waiting ---

    async def _park(self, ticket: Ticket, event: asyncio.Event, why: Cause, longest_seconds: float = 0.0) -> None:
        """Wait for an event, at most for what the ticket has left. Raise _Ended when it may not (any longer), or when
        the client leaves.
        """
        desk, now = self._desk, monotonic()
        refused = desk.room.enter(ticket, now)
        if refused is not None:
            full = f"{desk.plan.park.connections} connections wait already (park.connections)"
            text = full if refused is Cause.ROOM_FULL else self._why(why)
            raise _Ended(Side.SIDECAR, refused if refused is Cause.ROOM_FULL else why, text)
        desk.metrics.parked.labels(desk.plan.name).set(desk.room.waiting)
        seconds = min(ticket.left_seconds, longest_seconds or ticket.left_seconds)
        try:
            async with asyncio.TaskGroup() as group:
                both = group.create_task(event.wait()), group.create_task(self._until_the_client_leaves())
                await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                left = both[1].result() if both[1].done() else None
                for task in both:
                    task.cancel()
        finally:
            desk.room.leave(ticket, monotonic())
            self._phases.parked += monotonic() - now
            desk.metrics.parked.labels(desk.plan.name).set(desk.room.waiting)
        if left is not None:
            raise left

    def _why(self, why: Cause) -> str:
        if why is Cause.LIMIT:
            return f"{self._desk.plan.limits.connections} connections are served already (limits.connections)"
        return self._desk.pool.why_none(self.role)

    async def _until_the_client_leaves(self) -> _Ended:
        """Return when it has. What it says meanwhile is kept; an end of its direction is its leaving only where a
        protocol has no use for that.
        """
        try:
            data = await self._client.receive()
        except LegBroken as error:
            return _Ended(Side.CLIENT, broken_cause(error.cause, ""), "it left while it was parked")
        if not data and self._stream is not None:
            return _Ended(Side.CLIENT, Cause.FINISHED, "it left while it was parked")
        self._client.unread(data)
        await asyncio.Event().wait()  # until it is cancelled
        raise AssertionError

    # --- connecting ---

    async def _connect(self, ticket: Ticket) -> tuple[UpstreamNode, Dialled, bytes]:
        """Return a node with a leg to it, and what it has said already. Raise _Ended."""
        desk, failed = self._desk, ""
        why, left = Cause.NO_UPSTREAM, desk.plan.connect.total_seconds
        pauses = Backoff(*_RETRY_SECONDS, random.random)
        while True:
            changed, tried, is_lasting = desk.pool.changed, False, True
            for node in desk.pool.choice(self.role):
                if desk.pool.must_leave(node, self.role):
                    continue  # since the choice
                tried, began = True, monotonic()
                try:
                    return node, *await self._try(node, min(desk.plan.connect.try_seconds, max(left, 0.1)))
                except ConnectFailed as error:
                    desk.pool.connect_failed(node, error.cause)
                    why, failed = error.cause, f"cannot connect to {node.shown}: {error}"
                    is_lasting &= error.cause in LASTING
                left -= monotonic() - began
                if left <= 0:
                    raise _Ended(Side.SIDECAR, why, failed)
            if lasting := desk.pool.lasting():
                raise _Ended(Side.SIDECAR, *lasting)
            if tried and (is_lasting or ticket.left_seconds <= 0):
                raise _Ended(Side.SIDECAR, why, failed)
            await self._park(ticket, changed, Cause.NO_UPSTREAM, max(pauses.next(), 0.02) if tried else 0.0)

    async def _try(self, node: UpstreamNode, seconds: float) -> tuple[Dialled, bytes]:
        """Connect to a node. Raise ConnectFailed."""
        desk, began, first = self._desk, monotonic(), b""
        dialled = await node.dialler.dial(node.target, seconds, self._header())
        try:
            if self._stream is not None:
                self._began_login = monotonic()
                first = await begin(dialled.leg, self._startup, max(0.05, seconds - (monotonic() - began)))
            self._stand_by(node)
        except LegBroken as error:
            dialled.leg.close()
            raise broken(error) from None
        except BaseException:
            dialled.leg.close()
            raise
        desk.pool.connected(node)
        self._phases.tcp, self._phases.tls = dialled.tcp_seconds, dialled.tls_seconds
        label = node.upstream.address
        desk.metrics.connects.labels(label).inc()
        desk.metrics.connect_seconds.labels(label).observe(dialled.tcp_seconds + dialled.tls_seconds)
        return dialled, first

    def _stand_by(self, node: UpstreamNode) -> None:
        """Raise ConnectFailed when the node has another role than when it was chosen."""
        if self._desk.pool.must_leave(node, self.role):
            raise ConnectFailed(Cause.REFUSED, f"it is not the {self.role} any more")

    def _header(self) -> bytes:
        """Return the PROXY header for the upstream."""
        send = self._desk.plan.proxy_protocol.send
        if send is SendProxy.NONE:
            return b""
        if self._origin is not None:
            return write(ProxyVersion(send), self._origin.source, self._origin.destination)
        here = self._client.socket.getsockname()
        if not isinstance(here, tuple) or not isinstance(self._peer, tuple):
            return write(ProxyVersion(send), None, None)
        return write(ProxyVersion(send), self._peer[:2], here[:2])

    # --- passing through ---

    async def _pass_through(self, node: UpstreamNode, dialled: Dialled, first: bytes) -> None:
        """Relay to the end. Raise _Ended."""
        desk, limits = self._desk, self._desk.plan.limits
        dialled.leg.unread(first)
        taps, idle_seconds = Taps(), limits.idle_seconds
        if self._stream is not None:
            taps, idle_seconds = Taps(self._from_client, self._from_server), 0.0
            self._heard_at = desk.poller.loop.time()
            if limits.idle_seconds:
                self._look_for_silence()
        self._relay = Relay(desk.poller, self._client, dialled.leg, RelayLimits(idle_seconds=idle_seconds), taps)
        self._node = node
        place = CancelPlace(node, dialled.place)
        self._key = (b"", place)
        if limits.age_seconds:
            self._look_later(0.9 * limits.age_seconds)
        node.enter(self)
        desk.metrics.sessions.labels(node.upstream.address).inc()
        try:
            end = await self._relay.run()
        finally:
            node.leave(self)
            desk.metrics.sessions.labels(node.upstream.address).dec()
            desk.keys.forget(*self._key)
            self._count(node)
        raise self._ended_by(end, self._relay.first_to_end)

    def _from_client(self, data: memoryview) -> None:
        del data
        if self._stream is not None:
            self._heard_at = self._desk.poller.loop.time()
            self._stream.from_client()

    def _from_server(self, data: memoryview) -> bytes | None:
        """Look at what the server says; return what the client gets in place of it."""
        stream = self._stream
        if stream is None or self._relay is None:
            return None
        self._heard_at = self._desk.poller.loop.time()
        if stream.is_ready:
            stream.looked_at(data)
            return None
        try:
            passed = stream.from_server(bytes(data))
        except BrokenServer:
            self._desk.poller.loop.call_soon(self.end, Cause.BROKEN_UPSTREAM, "")
            return b""
        if stream.is_authenticated and not self._phases.auth:
            self._phases.auth = monotonic() - self._began_login
        if stream.key and self._key is not None and not self._key[0]:
            self._key = (stream.key, self._key[1])
            self._desk.keys.remember(*self._key)
        if stream.is_standby and self.role is TargetRole.PRIMARY and self._node is not None:
            self._node.wake.set()
            self._desk.poller.loop.call_soon(self.end, Cause.ROLE_CHANGED, f"{self._node.shown} is not the primary")
        return passed

    def _count(self, node: UpstreamNode) -> None:
        if self._relay is not None:
            self._bytes = self._relay.counts
            self._desk.metrics.bytes.labels(node.upstream.address, "out").inc(self._bytes[0])
            self._desk.metrics.bytes.labels(node.upstream.address, "in").inc(self._bytes[1])

    def _ended_by(self, end: RelayEnd, first: Side | None) -> _Ended:
        """Return how it ended. Redis ends its TLS without a word: to a client that has ended before it owes nothing."""
        is_redis = self._desk.plan.protocol is Protocol.REDIS
        if is_redis and first is Side.CLIENT and end.cause == EndCause.TRUNCATED:
            return _Ended(Side.CLIENT, Cause.FINISHED)
        return _Ended(end.side, broken_cause(end.cause, end.detail), end.detail)

    # --- the end ---

    def _close(self, ended: _Ended) -> None:
        """Tell the client, close, count, and write the line."""
        if self._relay is None and not self._client.is_closed:
            self._refuse(ended)
        desk, cause, phases = self._desk, ended.cause, self._phases
        desk.metrics.closed.labels(ended.side, cause).inc()
        if self._relay is None and ended.side is Side.SIDECAR and cause in _REFUSALS:
            desk.metrics.refused.labels(cause).inc()
        write_line = desk.ctx.log.warning if cause in _REFUSALS else desk.ctx.log.info
        write_line(
            str(ended) or f"the connection has ended: {cause}",
            action="connection.closed",
            listener=desk.plan.name,
            upstream=None if self._node is None else self._node.shown,
            client=_shown(self._origin.source if self._origin and self._origin.source else self._peer),
            side=ended.side,
            cause=cause,
            bytes_out=self._bytes[0],
            bytes_in=self._bytes[1],
            seconds=round(monotonic() - self._began, 3),
            parked_seconds=round(phases.parked, 3),
            dns_seconds=0.0,
            tcp_seconds=round(phases.tcp, 4),
            tls_seconds=round(phases.tls, 4),
            auth_seconds=round(phases.auth, 4),
        )

    def _refuse(self, ended: _Ended) -> None:
        """Close a connection that has no upstream: with words, or so that it cannot be taken for an end of data."""
        words = answer(self._desk.plan.protocol, ended.cause, str(ended)) if str(ended) else b""
        is_ours = ended.side is Side.SIDECAR or ended.cause is Cause.BAD_OPENING
        if words and is_ours and ended.cause is not Cause.FINISHED:
            with contextlib.suppress(LegBroken):  # it may not want to hear it
                self._client.put(words)
            self._client.part()  # a client that has said something unread would get a reset in place of the words
        elif is_ours and ended.cause is not Cause.FINISHED:
            self._client.reset()
        else:
            self._client.close()


def _shown(peer: object) -> str:
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"
