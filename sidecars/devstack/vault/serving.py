"""The stand-in in a thread of its own, for tests that are not on an event loop or whose loop runs on virtual time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .answers import JsonObject
from .faults import Fault
from .server import Options, Seen, Vault

Result = TypeVar("Result")
_CALL_SECONDS = 60.0


class Served:
    """A handle on a stand-in in another thread; every method may be called from anywhere."""

    def __init__(self, server: Vault, loop: asyncio.AbstractEventLoop) -> None:
        self.url = server.url
        self._server = server
        self._loop = loop

    def set_faults(self, *faults: Fault, seed: int = 0) -> None:
        """Play these faults from now on; none: everything is well."""
        self.ask(lambda server: server.set_faults(*faults, seed=seed))

    def advance(self, by_seconds: float) -> None:
        """Put the server's clock forward."""
        self.ask(lambda server: server.advance(by_seconds))

    def requests(self) -> list[Seen]:
        """Return what was asked so far, in order."""
        return self.ask(lambda server: list(server.requests))

    def state(self) -> JsonObject:
        """See `Vault.state`."""
        return self.ask(lambda server: server.state())

    def down(self) -> None:
        """Go away: connections break, new ones are refused; `up` ends it."""
        asyncio.run_coroutine_threadsafe(self._server.down(), self._loop).result(_CALL_SECONDS)

    def up(self) -> None:
        """Come back on the same port, with everything."""
        asyncio.run_coroutine_threadsafe(self._server.open(), self._loop).result(_CALL_SECONDS)

    def ask(self, question: Callable[[Vault], Result]) -> Result:
        """Run a function on the server's own loop and return its result."""

        async def answer() -> Result:
            return question(self._server)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(_CALL_SECONDS)


@contextmanager
def serving(options: Options | None = None) -> Iterator[Served]:
    """Run a stand-in until the block ends. Raises OSError when the port is taken."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="vault-stand-in", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(_opened(options or Options()), loop).result(_CALL_SECONDS)
        try:
            yield Served(server, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(_CALL_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CALL_SECONDS)
        loop.close()


async def _opened(options: Options) -> Vault:
    server = Vault(options)
    await server.open()
    return server
