"""Connects to a node, as far as TLS with a certificate that fits: the data and the checks go the same way.

It tries once, and returns a leg or why there is none.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Protocol as Shape

from sidecars.ambassador.core.address import SocketPath
from sidecars.ambassador.core.causes import Cause, cause
from sidecars.ambassador.core.postgres import ALPN
from sidecars.ambassador.settings import PostgresTls, Protocol
from sidecars.kit.net.connect import NotConnected, connect
from sidecars.kit.net.core.causes import connect_cause
from sidecars.kit.net.core.eyeballs import Place
from sidecars.kit.net.leg import Leg, LegBroken
from sidecars.kit.net.poller import Poller
from sidecars.runtime.clock import monotonic

from .failure import ConnectFailed, broken
from .postgres import ask_for_tls


class Security(Shape):
    """TLS with an identity: shakes hands, and refuses a server that is somebody else."""

    async def secure(self, leg: Leg, host: str, alpn: str = "") -> None:
        """Shake hands. Raise ConnectFailed, LegBroken."""


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """Where to connect to. `host`: the name that the certificate is for."""

    host: str
    places: tuple[Place, ...] | SocketPath


@dataclass(frozen=True, slots=True)
class Dialled:
    """A leg, where it leads to, and what it took."""

    leg: Leg
    place: Place | str
    tcp_seconds: float
    tls_seconds: float


@dataclass(frozen=True, slots=True)
class Dialler:
    """How the nodes of a pool are connected to."""

    poller: Poller
    protocol: Protocol
    security: Security | None
    postgres: PostgresTls = PostgresTls.CLASSIC

    async def dial(self, target: NodeTarget, try_seconds: float, header: bytes = b"") -> Dialled:
        """Connect. `header`: a PROXY header, which goes before everything else. Raise ConnectFailed."""
        began = monotonic()
        leg: Leg | None = None
        try:
            async with asyncio.timeout(try_seconds):
                leg, place = await self._connected(target, try_seconds)
                connected = monotonic()
                if header:
                    await leg.send(header)
                await self._secure(leg, target.host)
            return Dialled(leg, place, connected - began, monotonic() - connected)
        except TimeoutError:
            raise _closed(leg, ConnectFailed(Cause.TIMED_OUT, f"no answer within {try_seconds:g} s")) from None
        except NotConnected as error:
            raise ConnectFailed(cause(error.cause), str(error)) from None
        except LegBroken as error:
            raise _closed(leg, broken(error)) from None
        except BaseException:
            if leg is not None:
                leg.close()
            raise

    async def _connected(self, target: NodeTarget, try_seconds: float) -> tuple[Leg, Place | str]:
        if isinstance(target.places, SocketPath):
            return _unix(self.poller, target.places.path), target.places.path
        found = await connect(self.poller, target.places, try_seconds)
        return found.leg, found.place

    async def _secure(self, leg: Leg, host: str) -> None:
        if self.security is None:
            return
        is_postgres = self.protocol is Protocol.POSTGRES
        if is_postgres and self.postgres is PostgresTls.CLASSIC:
            await ask_for_tls(leg)
        await self.security.secure(leg, host, ALPN if is_postgres else "")


def _closed(leg: Leg | None, error: ConnectFailed) -> ConnectFailed:
    if leg is not None:
        leg.close()
    return error


def _unix(poller: Poller, path: str) -> Leg:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise ConnectFailed(cause(connect_cause(error.errno)), error.strerror or str(error)) from None
    return Leg(poller, connection)
