"""Connect to the first of several addresses that answers: happy eyeballs (RFC 8305), with time-outs, measured.

Not loop.create_connection: it makes a transport.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sidecars.runtime.clock import monotonic

from .core.causes import ConnectCause, connect_cause
from .core.eyeballs import STAGGER_SECONDS, Place, interleaved
from .leg import Leg
from .poller import WRITABLE, Poller


@dataclass(frozen=True, slots=True)
class Liveness:
    """How a peer that vanished is noticed: after `idle + probes * interval` of silence on an idle connection, after
    `user_timeout` where something was sent.
    """

    keep_idle_seconds: int = 30
    keep_interval_seconds: int = 10
    keep_probes: int = 3
    user_timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Connected:
    """A leg that is connected, to which place, and how long TCP took."""

    leg: Leg
    place: Place
    tcp_seconds: float


class NotConnected(Exception):
    """No address could be connected to. `cause` is of the last one that was tried."""

    def __init__(self, cause: ConnectCause, detail: str) -> None:
        self.cause = cause
        super().__init__(detail)


async def connect(
    poller: Poller, places: Sequence[Place], try_seconds: float, liveness: Liveness = Liveness()
) -> Connected:
    """Connect to one of these addresses (no names), each of which has `try_seconds`. A total time-out is the caller's:
    cancelled, it leaves nothing open. Raises NotConnected.
    """
    began = monotonic()
    race = _Race(poller, interleaved(places), try_seconds)
    connection, place = await race.run()
    enliven(connection, liveness)
    return Connected(Leg(poller, connection), place, monotonic() - began)


def enliven(connection: socket.socket, liveness: Liveness) -> None:
    """Send small pieces at once, and notice a peer that vanished. For a TCP socket; any other one is left alone."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    tcp = socket.IPPROTO_TCP
    with suppress(OSError):  # a connection that is reset already takes no options
        connection.setsockopt(tcp, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(tcp, socket.TCP_KEEPIDLE, liveness.keep_idle_seconds)
        connection.setsockopt(tcp, socket.TCP_KEEPINTVL, liveness.keep_interval_seconds)
        connection.setsockopt(tcp, socket.TCP_KEEPCNT, liveness.keep_probes)
        connection.setsockopt(tcp, socket.TCP_USER_TIMEOUT, round(liveness.user_timeout_seconds * 1000))


class _Race:
    """Attempts that begin one after the other; the first that succeeds ends the others. By callbacks: tasks would cost
    more than all the rest of a connection.
    """

    def __init__(self, poller: Poller, places: Sequence[Place], try_seconds: float) -> None:
        self._poller = poller
        self._left = list(places)
        self._try_seconds = try_seconds
        self._attempts: dict[socket.socket, asyncio.TimerHandle] = {}
        self._stagger: asyncio.TimerHandle | None = None
        self._failed = NotConnected(ConnectCause.NO_NAME, "there is no address")
        self._over: asyncio.Future[tuple[socket.socket, Place]] = poller.loop.create_future()

    async def run(self) -> tuple[socket.socket, Place]:
        """Return the connected socket. Raise NotConnected."""
        try:
            self._begin_next()
            return await self._over
        except asyncio.CancelledError:
            if self._over.done() and not self._over.cancelled() and self._over.exception() is None:
                self._over.result()[0].close()  # it won, and nobody wants it any more
            raise
        finally:
            self._stop_stagger()
            for connection in list(self._attempts):
                self._drop(connection)

    def _begin_next(self) -> None:
        """Begin with the next address; when there is none, and no attempt goes on, it has failed."""
        self._stop_stagger()
        if not self._left:
            if not self._attempts and not self._over.done():
                self._over.set_exception(self._failed)
            return
        place = self._left.pop(0)
        if self._left:
            self._stagger = self._poller.loop.call_later(STAGGER_SECONDS, self._begin_next)
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        try:
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._fail(connect_cause(error.errno), error.strerror or str(error))
            return
        timer = self._poller.loop.call_later(self._try_seconds, self._time_out, connection)
        self._attempts[connection] = timer
        number = connection.connect_ex(place)
        if number in {0, errno.EINPROGRESS}:
            self._poller.register(connection.fileno(), WRITABLE, lambda _: self._answered(connection, place))
        else:
            self._drop(connection)
            self._fail(connect_cause(number), os.strerror(number))

    def _answered(self, connection: socket.socket, place: Place) -> None:
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._drop(connection)
            self._fail(connect_cause(number), os.strerror(number))
        elif not self._over.done():
            self._attempts.pop(connection).cancel()
            self._poller.forget(connection.fileno())
            self._over.set_result((connection, place))

    def _time_out(self, connection: socket.socket) -> None:
        self._drop(connection)
        self._fail(ConnectCause.TIMED_OUT, f"no answer within {self._try_seconds:g} s")

    def _fail(self, cause: ConnectCause, detail: str) -> None:
        """One attempt failed: the next one need not wait."""
        self._failed = NotConnected(cause, detail)
        self._begin_next()

    def _drop(self, connection: socket.socket) -> None:
        self._attempts.pop(connection).cancel()
        self._poller.forget(connection.fileno())
        connection.close()

    def _stop_stagger(self) -> None:
        if self._stagger is not None:
            self._stagger.cancel()
            self._stagger = None
