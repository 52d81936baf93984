"""Names to addresses, again and again, with the last good answer kept while name servers fail.

Addresses come from getaddrinfo(3), on a thread, so that /etc/hosts and all else that a machine is set up with holds.
SRV records it does not know: for them the name servers of resolv.conf are asked.
"""

import asyncio
import secrets
import socket
from dataclasses import dataclass

from sidecars.kit.files import UnusableFile, read_small

from .core.dns import (
    AskByTcp,
    NameServers,
    NoAnswer,
    Service,
    candidates,
    read_resolv_conf,
    read_services,
    write_query,
)
from .core.eyeballs import Place

SRV_SCHEME = "srv://"
_RESOLV_CONF = "/etc/resolv.conf"
_TRY_SECONDS, _ROUNDS = 1.5, 2
_DNS_PORT = 53
_ANSWER_BYTES = 65535


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name leads to. `stale`: why this is an earlier answer; empty when it is a new one."""

    places: tuple[Place, ...]
    stale: str = ""


class NotResolved(Exception):
    """A name has no address, or no server answered; there is no earlier answer."""


class Resolver:
    """Asks for names, and remembers the last good answer to each. `resolv_conf`, `port`: who knows SRV records."""

    def __init__(self, timeout_seconds: float = 5.0, *, resolv_conf: str = _RESOLV_CONF, port: int = _DNS_PORT) -> None:
        self._timeout_seconds = timeout_seconds
        self._resolv_conf = resolv_conf
        self._port = port
        self._last: dict[str, Resolved] = {}

    async def resolve(self, address: str) -> Resolved:
        """Return where `host:port` (also `[::1]:5432`) or `srv://_service._tcp.domain` leads to now; an earlier answer
        when asking fails. Raise NotResolved, and ValueError for what is no such address.
        """
        is_service = address.startswith(SRV_SCHEME)
        host, _, port = address.rpartition(":") if not is_service else ("", "", "0")
        number = int(port)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if is_service:
                    places = await self._services(address.removeprefix(SRV_SCHEME).rstrip("/"))
                else:
                    places = await _addresses(host.strip("[]"), number)
        except (OSError, TimeoutError, NoAnswer, UnicodeError) as error:
            reason = f"cannot resolve {address}: {_text(error)}"
            last = self._last.get(address)
            if last is None:
                raise NotResolved(reason) from None
            return Resolved(last.places, reason)
        self._last[address] = Resolved(places)
        return self._last[address]

    async def _services(self, name: str) -> tuple[Place, ...]:
        """Return where the servers of a service are, those of the best priority first."""
        try:
            text = read_small("resolv.conf", self._resolv_conf).decode(errors="replace")
        except UnusableFile as error:
            raise NoAnswer(str(error)) from None
        services = await asyncio.to_thread(_ask_all, name, read_resolv_conf(text), self._port)
        found: list[Place] = []
        for service in services:
            try:
                found += await _addresses(service.target, service.port)
            except OSError:
                continue  # the others may have an address
        if not found:
            raise NoAnswer("there is no such record" if not services else "none of its servers has an address")
        return tuple(dict.fromkeys(found))


async def _addresses(host: str, port: int) -> tuple[Place, ...]:
    """Return the addresses of a host. Raise OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple((str(item[4][0]), int(item[4][1])) for item in found)


def _ask_all(name: str, servers: NameServers, port: int) -> tuple[Service, ...]:
    """Ask for a name in each of its domains until one has records. Raise NoAnswer, OSError."""
    for candidate in candidates(name, servers):
        if found := _ask_any(candidate, servers, port):
            return found
    return ()


def _ask_any(name: str, servers: NameServers, port: int) -> tuple[Service, ...]:
    """Ask one name server after the other, twice. Raise what the last one failed with."""
    failure: Exception = NoAnswer("there is no name server")
    for _ in range(_ROUNDS):
        for address in servers.addresses:
            try:
                return _ask(name, address, port)
            except (OSError, NoAnswer) as error:
                failure = error
    raise failure


def _ask(name: str, address: str, port: int) -> tuple[Service, ...]:
    """Ask one name server: by UDP, and by TCP for a long answer."""
    number = secrets.randbelow(1 << 16)
    try:
        query = write_query(number, name)
    except ValueError as error:
        raise NoAnswer(str(error)) from None
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.settimeout(_TRY_SECONDS)
        connection.connect((address, port))
        connection.send(query)
        try:
            return read_services(connection.recv(_ANSWER_BYTES), number, name)
        except AskByTcp:
            pass
    with socket.create_connection((address, port), timeout=_TRY_SECONDS) as stream, stream.makefile("rb") as answer:
        stream.sendall(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(answer.read(2), "big")
        return read_services(answer.read(length), number, name)


def _text(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no name server answered in time"
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
