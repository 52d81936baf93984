"""The stand-in in a thread of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from sidecars.devstack.serving import ServedThread, in_a_thread

from .answers import JsonObject
from .faults import Fault
from .server import Options, Seen, Vault


class Served(ServedThread[Vault]):
    """A handle on a stand-in in another thread; every method may be called from anywhere."""

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
        self.run(self._server.down())

    def up(self) -> None:
        """Come back on the same port, with everything."""
        self.run(self._server.open())


@contextmanager
def serving(options: Options | None = None) -> Iterator[Served]:
    """Run a stand-in until the block ends. Raises OSError when the port is taken."""
    with in_a_thread(lambda: Vault(options or Options()), "vault-stand-in") as (server, loop):
        yield Served(server, loop)
