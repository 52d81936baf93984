"""The stand-in in a thread of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from sidecars.devstack.serving import ServedThread, in_a_thread

from .documents import Document
from .errors import JsonObject
from .faults import Faults
from .server import Elasticsearch, ServerOptions


class Served(ServedThread[Elasticsearch]):
    """A handle on a stand-in in another thread; every method may be called from anywhere."""

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
        self.run(self._server.up())


@contextmanager
def serving(options: ServerOptions | None = None) -> Iterator[Served]:
    """Run a stand-in until the block ends. Raises OSError when the port is taken."""
    with in_a_thread(lambda: Elasticsearch(options or ServerOptions()), "elasticsearch-stand-in") as (server, loop):
        yield Served(server, loop)
