"""Toys (tests/support/toys.py, toy_oneshots.py) as a process, seen as an operator sees them."""

import http.client
import signal
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.processes import Process
from tests.support.waiting import PATIENCE_SECONDS, until

TOY = (sys.executable, "-m", "tests.support.toy_process")


class ToyRun(Process):
    """One process of toys; `words` are its command line, names first. It runs at once."""

    name = "toys"

    def __init__(self, folder: Path, words: tuple[str, ...], environ: dict[str, str]) -> None:
        super().__init__(folder, (*TOY, *words), environment=environ)
        self.start()

    def actions(self, sidecar: str = "") -> list[str]:
        return [line["action"] for line in self.logs if sidecar in {"", line["sidecar"]}]

    def first(self, action: str) -> dict[str, Any]:
        """The first line with this action, once it is there."""
        until(lambda: action in self.actions() or not self.running, f"action {action}")
        return self.logged(action)[0]

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """One request to the admin endpoint: status and body."""
        port = self.first("admin.listening")["port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def started(self) -> Self:
        """Return when every main has said that it started."""
        until(lambda: self.ask("/startupz")[0] == 200, "the start")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; return the exit status."""
        return self.signal(number).wait()
