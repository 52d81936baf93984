"""Connect to the first of several addresses that answers: happy eyeballs (RFC 8305), with time-outs, measured.

Not loop.create_connection: it makes a transport.
"""

import asyncio
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
    """Attempts that begin one after the other; the first that succeeds ends the others."""

    def __init__(self, poller: Poller, places: Sequence[Place], try_seconds: float) -> None:
        self._poller = poller
        self._places = places
        self._try_seconds = try_seconds
        self._won: tuple[socket.socket, Place] | None = None
        self._failed: NotConnected | None = None

    async def run(self) -> tuple[socket.socket, Place]:
        """Return the connected socket. Raises NotConnected."""
        over = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                attempts: list[asyncio.Task[None]] = []
                for place in self._places:
                    over.clear()
                    attempts.append(group.create_task(self._try(place, over)))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(STAGGER_SECONDS):
                            await over.wait()
                    if self._won is not None:
                        break
                while self._won is None and not all(attempt.done() for attempt in attempts):
                    await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)
                    attempts = [attempt for attempt in attempts if not attempt.done()]
                for attempt in attempts:
                    attempt.cancel()
        except BaseException:
            if self._won is not None:
                self._won[0].close()
            raise
        if self._won is None:
            raise self._failed or NotConnected(ConnectCause.NO_NAME, "there is no address")
        return self._won

    async def _try(self, place: Place, over: asyncio.Event) -> None:
        """Connect to one address; its end is noted, never raised."""
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        connection: socket.socket | None = None
        try:
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            async with asyncio.timeout(self._try_seconds):
                await _connected(self._poller, connection, place)
            if self._won is None:
                self._won, connection = (connection, place), None
        except TimeoutError:
            self._failed = NotConnected(ConnectCause.TIMED_OUT, f"no answer within {self._try_seconds:g} s")
        except OSError as error:
            self._failed = NotConnected(connect_cause(error.errno), error.strerror or str(error))
        finally:
            if connection is not None:
                connection.close()
            over.set()


async def _connected(poller: Poller, connection: socket.socket, place: Place) -> None:
    """Return when it is. Raises OSError."""
    try:
        connection.connect(place)
    except BlockingIOError:
        pass
    else:
        return
    ready = poller.loop.create_future()

    def answered(_: int) -> None:
        poller.forget(connection.fileno())
        if not ready.done():
            ready.set_result(None)

    poller.register(connection.fileno(), WRITABLE, answered)
    try:
        await ready
    finally:
        poller.forget(connection.fileno())
    if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))
