"""The stand-in in a thread of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from sidecars.devstack.serving import ServedThread, in_a_thread
from sidecars.devstack.vault.faults import Fault

from .answers import JsonObject
from .server import KeyVault, Options, Seen
from .tokens import projected_token


class ServedKeyVault(ServedThread[KeyVault]):
    """A handle on a stand-in in another thread; every method may be called from anywhere."""

    def set_faults(self, *faults: Fault, seed: int = 0) -> None:
        """Play these faults from now on; none: everything is well."""
        self.ask(lambda server: server.set_faults(*faults, seed=seed))

    def put(self, name: str, value: str, **attributes: object) -> str:
        """Make a new version of a secret, and return which one."""
        return self.ask(lambda server: server.objects.put(name, value, **attributes).id)  # type: ignore[arg-type] # attributes only

    def issue(self, name: str, content_type: str, lasts_seconds: float = 86400.0, *, kind: str = "EC") -> str:
        """Make a new version of a certificate for a DNS name of its name, and return which one."""

        def made(server: KeyVault) -> str:
            issued = server.authority.issue(f"{name}.svc", server.clock.now(), lasts_seconds, kind=kind)
            return server.objects.put_certificate(name, issued, content_type).id

        return self.ask(made)

    def change(self, name: str, **attributes: object) -> None:
        """Change attributes of the current version: enabled, nbf, exp."""
        self.ask(lambda server: server.objects.change(name, "", {"attributes": attributes}))

    def delete(self, name: str) -> None:
        """Delete a secret; it can be recovered."""
        self.ask(lambda server: server.objects.delete(name))

    def recover(self, name: str) -> None:
        """Bring a deleted secret back."""
        self.ask(lambda server: server.objects.recover(name))

    def advance(self, by_seconds: float) -> None:
        """Put the server's clock forward."""

        def advanced(server: KeyVault) -> None:
            server.clock.ahead_seconds += by_seconds

        self.ask(advanced)

    def projected_token(self, **more: object) -> str:
        """Return what the kubelet would put into a pod now."""
        return self.ask(lambda server: projected_token(server.clock, **more))  # type: ignore[arg-type] # as they are

    def requests(self) -> list[Seen]:
        """Return what was asked so far, in order."""
        return self.ask(lambda server: list(server.requests))

    def state(self) -> JsonObject:
        """See `KeyVault.state`."""
        return self.ask(lambda server: server.state())

    def down(self) -> None:
        """Go away: connections break, new ones are refused; `up` ends it."""
        self.run(self._server.down())

    def up(self) -> None:
        """Come back on the same port, with everything."""
        self.run(self._server.open())


@contextmanager
def serving(options: Options | None = None) -> Iterator[ServedKeyVault]:
    """Run a stand-in until the block ends. Raises OSError when the port is taken."""
    with in_a_thread(lambda: KeyVault(options or Options()), "key-vault-stand-in") as (server, loop):
        yield ServedKeyVault(server, loop)
