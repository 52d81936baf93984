"""One Elasticsearch (or OpenSearch) node as a process of ours: started, stopped, killed, frozen, started again."""

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.services.maven import Unavailable
from tests.support.waiting import until

_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
_SETTINGS = {
    "discovery.type": "single-node",
    "network.host": "127.0.0.1",
    "node.portsfile": "true",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def is_healthy(url: str) -> bool:
    """Whether a server answers for its cluster's health."""
    try:
        with urllib.request.urlopen(f"{url}/_cluster/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Package(Protocol):
    """A server that is laid out."""

    def furnish(self, home: Path) -> None:
        """Put into a home folder what the server looks for there."""

    def command(self) -> list[str]:
        """What starts the server, but for the home folder and the settings."""


class Node:
    """A running node; it keeps its data folder and its port through `restart`, and never outlives the test run."""

    def __init__(self, package: Package, settings: Mapping[str, str]) -> None:
        self._package = package
        self._settings = {**_SETTINGS, **settings}
        self._home = Path(tempfile.mkdtemp(prefix="elasticsearch-"))
        self._log = self._home / "output.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        package.furnish(self._home)
        atexit.register(self.discard)
        self._start()

    @property
    def url(self) -> str:
        """Where it listens; the same after `restart`."""
        return f"http://127.0.0.1:{self._port}"

    def stop(self) -> None:
        """Ends it in good order, also when it is frozen; does nothing when it is not running."""
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: what was not yet on disk is the translog's business."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freezes it: connections are accepted by the kernel and never answered."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:  # kill(2) returns before the last thread of many stands still
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Ends `pause`."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Starts it again, stopping it first if it runs: same port, same data."""
        self.stop()
        self._start()

    def discard(self) -> None:
        """Ends it at once and removes its files."""
        atexit.unregister(self.discard)
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _start(self) -> None:
        ports = self._home / "logs" / "http.ports"
        ports.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "ES_LOG_STYLE": "console"},
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
                preexec_fn=_die_with_parent,  # noqa: PLW1509 nothing but one system call; holds also when we are killed
            )
        self._wait_until_healthy(self._process, ports)

    def _command(self) -> list[str]:
        settings = {**self._settings, "http.port": str(self._port)}
        named = (f"{name}={value}" for name, value in settings.items())
        return [*self._package.command(), str(self._home), *named]

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], ports: Path) -> None:
        def healthy() -> bool:
            assert process.poll() is None, "the node ended"
            if self._port == 0 and ports.exists() and (text := ports.read_text(encoding="utf-8").strip()):
                self._port = int(text.splitlines()[0].rpartition(":")[2])
            return bool(self._port) and is_healthy(self.url)

        try:
            until(healthy, "the node to become healthy", _START_SECONDS)
        except AssertionError as wrong:
            self.kill()
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise Unavailable(f"{wrong}; its last words:\n{tail}") from None
