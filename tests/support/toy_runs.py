"""Toys (tests/support/toys.py, toy_oneshots.py) as a process, seen as an operator sees them."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.sidecars import SidecarProcess
from tests.support.waiting import until

TOY = (sys.executable, "-m", "tests.support.toy_process")


class ToyRun(SidecarProcess):
    """One process of toys; `words` are its command line, names first. It runs at once."""

    name = "toys"
    program = TOY

    def __init__(self, folder: Path, words: tuple[str, ...], environ: dict[str, str]) -> None:
        super().__init__(folder, {}, environment=environ)
        self.flags = words
        self.start(wait=False)

    def variables(self) -> dict[str, str]:
        return self.environment

    def actions(self, sidecar: str = "") -> list[str]:
        return [line["action"] for line in self.logs if sidecar in {"", line["sidecar"]}]

    def first(self, action: str) -> dict[str, Any]:
        """The first line with this action, once it is there."""
        until(lambda: action in self.actions() or not self.running, f"action {action}")
        return self.logged(action)[0]

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """One request to the admin endpoint, once it is there: status and body."""
        self.first("admin.listening")
        return super().ask(path, method, headers)

    def started(self) -> Self:
        """Return when every main has said that it started."""
        until(lambda: self.ask("/startupz")[0] == 200, "the start")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; return the exit status."""
        return self.signal(number).wait()
