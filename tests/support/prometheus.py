"""A real Prometheus that scrapes nobody, with its reload URL and its own word on which configuration it runs."""

import re
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.support.books import samples
from tests.support.processes import Process

_PATIENCE_SECONDS = 60
SUCCESS_AT = "prometheus_config_last_reload_success_timestamp_seconds"


def program() -> str | None:
    """Where it is."""
    return shutil.which("prometheus")


def configuration(word: str) -> dict[str, bytes]:
    """A configuration that is known by this word."""
    return {"prometheus.yml": f"global:\n  external_labels: {{word: {word}}}\n".encode()}


def broken(word: str) -> dict[str, bytes]:
    """YAML, with a setting that there is not."""
    return {"prometheus.yml": configuration(word)["prometheus.yml"] + b"globbal: {}\n"}


class Prometheus:
    """Not started yet. `folder` is for its data and what it says; the configuration is elsewhere."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: Process | None = None
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.data = folder / "data"
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self, configuration: Path, *, wait: bool = True) -> None:
        """Run it on prometheus.yml in this folder; with `wait` until it is ready."""
        words = [
            f"--config.file={configuration / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-lifecycle",
        ]
        self._process = Process(self._folder, [self._program, *words], name="prometheus").start()
        if wait:
            self._process.until(lambda: self._get("/-/ready"), "Prometheus to be ready")

    def stop(self) -> None:
        """End it; nothing happens when it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process = None

    @property
    def word(self) -> str:
        """Of the configuration that it runs; empty when it cannot say."""
        found = re.search(r"word: (\w+)", self._get("/api/v1/status/config"))
        return found[1] if found else ""

    def metrics(self) -> Mapping[str, float]:
        """What it says about itself."""
        return samples(self._get("/metrics"))

    def reloads(self, code: int) -> float:
        """How often its reload URL was asked and answered with this status."""
        return self.metrics().get(f'prometheus_http_requests_total{{code="{code}",handler="/-/reload"}}', 0)

    def _get(self, path: str) -> str:
        """The body, or nothing when it does not answer (yet)."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=_PATIENCE_SECONDS) as reply:
                text: str = reply.read().decode()
                return text
        except (urllib.error.URLError, ConnectionError):
            return ""
