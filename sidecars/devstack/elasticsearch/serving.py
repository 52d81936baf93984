"""The stand-in in a thread of its own, for tests that are not on an event loop or whose loop runs on virtual time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .documents import Document
from .errors import JsonObject
from .faults import Faults
from .server import Elasticsearch, ServerOptions

Result = TypeVar("Result")
_CALL_SECONDS = 60.0


class Served:
    """A handle on a stand-in in another thread; every method may be called from anywhere."""

    def __init__(self, server: Elasticsearch, loop: asyncio.AbstractEventLoop) -> None:
        self.url = server.url
        self._server = server
        self._loop = loop

    def set_faults(self, faults: Faults | None = None) -> None:
        """Plays a new script; None: none."""
        self.ask(lambda server: setattr(server, "faults", faults or Faults()))

    def counters(self) -> JsonObject:
        """See `Elasticsearch.counters`."""
        return self.ask(lambda server: server.counters())

    def documents(self, target: str = "*") -> list[Document]:
        """Every stored document of these indices and data streams, in the order of writing, past all faults."""
        return self.ask(lambda server: list(server.store.documents(target)))

    def down(self) -> None:
        """Goes away: connections break, new ones are refused; `up` ends it."""
        self.ask(lambda server: server.down())

    def up(self) -> None:
        """Comes back on the same port, with all documents."""
        asyncio.run_coroutine_threadsafe(self._server.up(), self._loop).result(_CALL_SECONDS)

    def ask(self, question: Callable[[Elasticsearch], Result]) -> Result:
        """Runs a function on the server's own loop and returns its result."""

        async def answer() -> Result:
            return question(self._server)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(_CALL_SECONDS)


@contextmanager
def serving(options: ServerOptions | None = None) -> Iterator[Served]:
    """A stand-in that runs until the block ends. Raises: OSError when the port is taken."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="elasticsearch-stand-in", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(_opened(options or ServerOptions()), loop).result(_CALL_SECONDS)
        try:
            yield Served(server, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(_CALL_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CALL_SECONDS)
        loop.close()


async def _opened(options: ServerOptions) -> Elasticsearch:
    server = Elasticsearch(options)
    await server.open()
    return server
