"""The embedded stand-in for Elasticsearch as a process of its own, so that it does not share a core's lock with the
tests and can go away for real. `shared()` is the one of this test process, which is emptied for each test that asks.
"""

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from tests.support.processes import Process
from tests.support.rest import call


class StandInProcess(Process):
    """`python -m sidecars.devstack elasticsearch`; a context manager that ends it."""

    name = "stand-in"

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self._saying = tempfile.TemporaryDirectory()
        super().__init__(Path(self._saying.name))
        self._arguments = arguments
        self.port = port
        self.start()

    def start(self) -> Self:
        """A new, empty server; after the first start on the same port."""
        program = (sys.executable, "-m", "sidecars.devstack", "elasticsearch")
        self.command = (*program, "--port", str(self.port), *self._arguments)
        super().start()
        self.url = self.until(lambda: self.stdout.strip() if self.stdout.endswith("\n") else "", "the stand-in")
        assert self.url.startswith("http"), f"the stand-in did not start: {self.url!r}"
        self.port = int(self.url.rpartition(":")[2])
        return self

    def forget(self) -> None:
        """Become empty, with nothing wrong, whatever was done to it; the address stays."""
        if not self.running:
            self.start()
            return
        self.resume()
        printed = len(self.stdout)
        self.signal(signal.SIGHUP)
        self.until(lambda: self.stdout[printed:].endswith("\n"), "the stand-in to forget")

    def faults(self, **faults: Any) -> None:
        """Play this script of faults from its first draw; nothing given: none.

        See sidecars/devstack/elasticsearch/faults.py.
        """
        reply = call(self.url, "PUT", "/_faults", faults)
        assert reply.status == 200, reply

    def counters(self) -> dict[str, Any]:
        """Requests by status, items by outcome, faults that struck."""
        counted: dict[str, Any] = call(self.url, "GET", "/_stats_devstack").body
        return counted

    @property
    def struck(self) -> dict[str, int]:
        """How often each fault of the present script struck."""
        return dict(self.counters()["faults_struck"])

    def pause(self) -> None:
        """Connections are accepted by the system and never answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Gone, with all documents."""
        self.kill()
        self._saying.cleanup()


def shared() -> StandInProcess:
    """Return the stand-in of this test process: empty, and with nothing wrong."""
    if not _shared:
        _shared.append(StandInProcess())
        _shared[0].outlives_the_test = True
    else:
        _shared[0].forget()
    return _shared[0]


_shared: list[StandInProcess] = []
