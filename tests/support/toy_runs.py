"""Real processes of toys, seen as an operator sees them: signals, exit status, logs, admin endpoint."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so; AssertionError when it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.01)


class ToyRun:
    """One process of toys. Its logs go to a file, so that nothing blocks when nobody reads."""

    def __init__(self, folder: Path, words: tuple[str, ...], environ: dict[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        command = [sys.executable, "-m", "tests.support.toy_process", *words]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, env=env, cwd=ROOT, stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8")

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The whole log lines so far."""
        return [json.loads(line) for line in self.stderr.splitlines(keepends=True) if line.endswith("}\n")]

    def actions(self, sidecar: str = "") -> list[str]:
        return [line["action"] for line in self.logs if sidecar in {"", line["sidecar"]}]

    def logged(self, action: str) -> dict[str, Any]:
        """The first line with this action, once it is there."""
        wait_until(lambda: action in self.actions() or self.process.poll() is not None, f"action {action}")
        return next(line for line in self.logs if line["action"] == action)

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """One request to the admin endpoint: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.logged("admin.listening")["port"], timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def started(self) -> "ToyRun":
        """Returns when every main has said that it started."""
        wait_until(lambda: self.ask("/startupz")[0] == 200, "the start")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.status()

    def status(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)
