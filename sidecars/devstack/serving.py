"""A stand-in in a thread of its own, for tests that are not on an event loop or whose loop runs on virtual time."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

_CALL_SECONDS = 60.0
_MOMENT_SECONDS = 0.05


class StandIn(Protocol):
    """What can be served: it opens and closes on the loop of its thread."""

    @property
    def url(self) -> str:
        """Return where it listens."""

    async def open(self) -> None:
        """Start to listen."""

    async def close(self) -> None:
        """Stop for good."""


Server = TypeVar("Server", bound=StandIn)
Result = TypeVar("Result")


class ServedThread(Generic[Server]):
    """A handle on a stand-in in another thread; every method may be called from anywhere."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.url = server.url
        self._server = server
        self._loop = loop

    def ask(self, question: Callable[[Server], Result]) -> Result:
        """Run a function on the server's own loop and return its result."""

        async def answer() -> Result:
            return question(self._server)

        return self.run(answer())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the server's own loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)


@contextmanager
def in_a_thread(make: Callable[[], Server], name: str) -> Iterator[tuple[Server, asyncio.AbstractEventLoop]]:
    """Make a stand-in on the loop of a thread of its own, and run it until the block ends. Raises OSError when its port
    is taken.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()

    async def opened() -> Server:
        server = make()
        await server.open()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(opened(), loop).result(_CALL_SECONDS)
        try:
            yield server, loop
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(_CALL_SECONDS)
            # a connection under TLS ends a moment after it was closed
            asyncio.run_coroutine_threadsafe(asyncio.sleep(_MOMENT_SECONDS), loop).result(_CALL_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CALL_SECONDS)
        loop.close()
