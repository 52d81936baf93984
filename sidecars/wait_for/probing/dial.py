"""From a host to its addresses, and from those to a connection."""

import asyncio
import ipaddress
import socket
from asyncio.staggered import staggered_race
from functools import partial

from sidecars.runtime import Transient
from sidecars.wait_for.core.address import ascii_name

from .reasons import reason
from .side_thread import SideThread

STAGGER_SECONDS = 0.25
"""An address that does not answer delays the next one by so much: RFC 8305, 5, and asyncio's own default."""

Endpoint = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class Lookup:
    """The addresses of one host, looked up anew each time: a Service may get another one."""

    def __init__(self, host: str, port: int) -> None:
        # As bytes: for a text Python loads its tables of international names, 1 MiB, even when it is ASCII.
        self._name = (ascii_name(host) or host).encode()
        self._port = port
        self._literal = _is_literal(host)
        self._aside: SideThread[list[Endpoint]] = SideThread(self._look_up)
        self._turn = 0

    async def addresses(self) -> list[Endpoint]:
        """Return at least one address, in the system's order of preference, beginning with another one each time: one
        attempt has time for about twenty that swallow packets. Raise OSError (gaierror) without one.
        """
        found = self._look_up() if self._literal else await self._aside.result()
        first = self._turn % len(found)
        self._turn += 1
        return found[first:] + found[:first]

    def close(self) -> None:
        """Let the thread go."""
        self._aside.close()

    def _look_up(self) -> list[Endpoint]:
        rows = socket.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return [(family, address) for family, _, _, _, address in rows]  # type: ignore[misc] # (int, bytes) comes only from a Python built without IPv6


def _is_literal(host: str) -> bool:
    """Return whether it is an address already: that takes no name server, so it needs no thread."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def dial(lookup: Lookup) -> socket.socket:
    """Return a connection to the first address that takes one; each later one is tried when the one before failed, or
    0.25 s later. Raise Transient with the distinct reasons when none does.
    """
    try:
        addresses = await lookup.addresses()
    except OSError as error:
        raise Transient(reason(error)) from None
    opened: list[socket.socket] = []
    winner: socket.socket | None = None
    try:
        # what loop.create_connection does with happy_eyeballs_delay, which would look the name up by itself
        attempts = [partial(_connect, each, opened) for each in addresses]
        winner, _, errors = await staggered_race(attempts, STAGGER_SECONDS)
    finally:  # also those that got through at the moment in which we were cancelled
        for each in opened:
            if each is not winner:
                each.close()
    if winner is not None:
        return winner
    reasons = [reason(error) if isinstance(error, OSError) else repr(error) for error in errors]
    raise Transient(", ".join(dict.fromkeys(reasons)))


async def _connect(found: Endpoint, opened: list[socket.socket]) -> socket.socket:
    family, address = found
    connection = socket.socket(family, socket.SOCK_STREAM)
    opened.append(connection)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, address)
    return connection
