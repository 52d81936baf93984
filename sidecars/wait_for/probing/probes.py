"""From a target to what tries it: one module for each kind, loaded only when there is a target of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sidecars.kit.files import UnusableFile
from sidecars.runtime import Permanent, Transient
from sidecars.wait_for.core.target import Dns, File, HttpTarget, Postgres, Socket, Target, Tcp
from sidecars.wait_for.settings import WaitForSettings

from .dial import Lookup, dial
from .local import knock, look
from .reasons import reason
from .side_thread import SideThread


@dataclass(frozen=True)
class Probe:
    """`attempt(deadline)` returns when the target is ready; raises Transient, Permanent, UnusableFile, OSError, and
    TimeoutError at the deadline. `close` lets its thread go.
    """

    attempt: Callable[[float], Awaitable[None]]
    close: Callable[[], None]

    async def within(self, limit_seconds: float) -> None:
        """Try once, for at most so long. Raise Transient or Permanent with the reason."""
        try:
            await self.attempt(asyncio.get_running_loop().time() + limit_seconds)
        except UnusableFile as error:  # one that is not there yet may come; one that we may not read never will be
            raise (Permanent if error.lasting else Transient)(str(error)) from None
        except OSError as error:
            ours = isinstance(error, TimeoutError) and not error.errno  # one with a number comes from the kernel
            raise Transient(f"no answer within {round(limit_seconds, 1):g} s" if ours else reason(error)) from None


def probe_of(target: Target, settings: WaitForSettings) -> Probe:
    """Return what tries the target."""
    match target:
        case File():
            return _in_a_thread(partial(look, target))
        case Socket():
            return _in_a_thread(partial(knock, target))
        case Dns():
            lookup = Lookup(target.host, 0)
            return Probe(partial(_resolve, lookup), lookup.close)
        case Tcp():
            lookup = Lookup(target.host, target.port)
            return Probe(partial(_connect, lookup), lookup.close)
        case Postgres():
            from . import postgres  # asyncio's streams and ssl, only for those who want them

            lookup = Lookup(target.host, target.port)
            return Probe(partial(postgres.ask, target, settings, lookup), lookup.close)
        case HttpTarget():
            from . import http  # aiohttp: +12 MiB

            lookup = Lookup(target.host, 0)
            return Probe(partial(http.ask, target, settings, lookup), lookup.close)


def _in_a_thread(call: Callable[[], None]) -> Probe:
    aside = SideThread(call)

    async def attempt(deadline: float) -> None:
        async with asyncio.timeout_at(deadline):
            await aside.result()

    return Probe(attempt, aside.close)


async def _resolve(lookup: Lookup, deadline: float) -> None:
    async with asyncio.timeout_at(deadline):
        await lookup.addresses()


async def _connect(lookup: Lookup, deadline: float) -> None:
    async with asyncio.timeout_at(deadline):
        (await dial(lookup)).close()
