"""A sidecar as a process, seen as an operator sees it: signals, exit status, log, admin endpoint, memory.

Nothing of this process's environment reaches it except PATH. Its stderr goes to a file, that of every start one after
the other; the fixtures of tests/scenarios/*/conftest.py show its end when a test fails.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.books import Samples, samples

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again until it is so; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    pause_seconds = 0.005
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(pause_seconds)
        pause_seconds = min(0.1, pause_seconds * 1.5)


class SidecarProcess:
    """One sidecar with its stderr in `folder`; may be started again after it ended.

    `settings`: names without the sidecar's prefix and in lower case. `environment`: more variables. `prefix`: a command
    that runs the sidecar, such as `prlimit`. Settings and `flags` (more words of the command line) may be changed
    between two starts.
    """

    name = ""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.settings: dict[str, object] = {
            "admin_host": "127.0.0.1",
            "admin_port": 0,
            **self.usual(folder),
            **settings,
        }
        self.flags: tuple[str, ...] = ()
        self.environment = dict(environment or {})
        self.prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None
        self.stdout: int = subprocess.DEVNULL
        """Descriptor for its stdout, for tests of that output."""
        self._stderr = folder / f"{self.name}.stderr"
        self._begin = 0
        self._port = 0

    def usual(self, folder: Path) -> dict[str, object]:
        """Settings that the tests of this sidecar usually want, unless others are given."""
        del folder
        return {}

    def start(self, *, wait: bool = True) -> Self:
        """Run it; with `wait` until it has started."""
        assert self.process is None or self.process.poll() is not None, "it is running"
        own = self.name.replace("-", "_").upper()
        variables = {f"{own}_{name.upper()}": str(value) for name, value in self.settings.items()}
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.environment, **variables}
        command = [*self.prefix, sys.executable, "-m", "sidecars", self.name, *self.flags]
        self._port = 0
        with self._stderr.open("ab") as errors:
            self._begin = errors.tell()
            self.process = subprocess.Popen(
                command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.stdout, stderr=errors
            )
        if wait:
            self.wait_until(lambda: self.ask("/startupz")[0] == 200, "its start")
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, "it was never started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        return self.signal(signal.SIGTERM).wait()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Nothing happens when it is not running."""
        if self.running:
            self.signal(signal.SIGKILL).wait()

    def signal(self, number: int) -> Self:
        assert self.process is not None, "it was never started"
        self.process.send_signal(number)
        return self

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit status, once it has ended."""
        assert self.process is not None, "it was never started"
        return self.process.wait(seconds)

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for a condition as long as the process lives."""

        def met() -> object:
            assert self.running, f"the {self.name} ended while waiting for {what}:\n{self.stderr[-3000:]}"
            return condition()

        wait_until(met, what, seconds)

    @property
    def stderr(self) -> str:
        """What this start has said so far."""
        return self._stderr.read_bytes()[self._begin :].decode(errors="replace") if self._stderr.exists() else ""

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The whole log lines of this start."""
        return [json.loads(line) for line in self.stderr.splitlines(keepends=True) if line.endswith("}\n")]

    def logged(self, action: str) -> list[dict[str, Any]]:
        """The log lines of this start with this `action`."""
        return [line for line in self.logs if line.get("action") == action]

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """One request to the admin endpoint: status and body; (0, "") when it cannot be reached (yet)."""
        if not self._port:
            lines = self.logged("admin.listening")
            if not lines:
                return 0, ""
            self._port = int(lines[0]["port"])
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """/status: what the sidecar says about itself."""
        whole: dict[str, Any] = json.loads(self.ask("/status")[1])
        return whole

    def metrics(self) -> Samples:
        """One scrape: `{'name{label="value"}': number}`, full names."""
        text = ""

        def answered() -> bool:
            nonlocal text
            status, text = self.ask("/metrics")
            return status == 200

        self.wait_until(answered, "its metrics")
        return samples(text)

    def metric(self, name: str) -> float:
        """One value by its name without the sidecar's prefix; without labels it is the sum over all labels."""
        scrape, whole = self.metrics(), f"sidecar_{self.name.replace('-', '_')}_{name}"
        return sum(value for key, value in scrape.items() if key == whole or key.startswith(whole + "{"))

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """A line of /proc/PID/status: VmRSS is what it takes now, VmHWM the most it ever took."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))
