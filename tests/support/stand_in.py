"""The embedded stand-in for Elasticsearch as a process of its own, so that it does not share a core's lock with the
tests and can go away for real.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.rest import call

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 60.0


class StandInProcess:
    """`python -m sidecars.devstack elasticsearch`; a context manager that ends it."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self._arguments = arguments
        self.url = ""
        self._port = port
        self.start()

    def start(self) -> None:
        """A new, empty server; after the first start on the same port."""
        command = [sys.executable, "-m", "sidecars.devstack", "elasticsearch", "--port", str(self._port)]
        self.process = subprocess.Popen(
            [*command, *self._arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http"), f"the stand-in did not start: {self.url!r}"
        self._port = int(self.url.rpartition(":")[2])

    @property
    def port(self) -> int:
        return self._port

    def faults(self, **faults: Any) -> None:
        """Plays this script of faults from its first draw; nothing given: none.

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
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Gone, with all documents; `start` begins anew."""
        self.process.kill()
        self.process.wait(_PATIENCE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
