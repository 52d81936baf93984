"""The container engine of this machine: the docker command, and its API where a command would be too slow or says too
little (the moment of a signal, CPU and memory by the engine's own account).

`docker` and `run_docker` are one command, `Container` is one container. Everything made by a test run carries a label.
If the run itself is killed, `docker rm -f $(docker ps -aq --filter label=image-test)` removes what it left, and the
same with podlab.
"""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.books import Samples, samples
from tests.support.processes import Done, run
from tests.support.rest import ask
from tests.support.waiting import until

IMAGES_LABEL, PODS_LABEL = "image-test", "podlab"
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
_PATIENCE_SECONDS = 120.0


class EngineError(Exception):
    """The engine refused; its own words."""


def image(name: str) -> str:
    """The whole name of an image of ours."""
    prefix, tag = os.environ.get("SIDECAR_IMAGE_PREFIX", "sidecars/"), os.environ.get("SIDECAR_IMAGE_TAG", "dev")
    return f"{prefix}{name}:{tag}"


def run_docker(*arguments: str, seconds: float = _PATIENCE_SECONDS) -> Done:
    """One docker command, whatever comes of it; stdout and stderr of its own environment."""
    return run("docker", *arguments, env=None, timeout=seconds)


def docker(*arguments: str, seconds: float = _PATIENCE_SECONDS) -> str:
    """One docker command: its stdout. Raises EngineError."""
    done = run_docker(*arguments, seconds=seconds)
    if done.returncode:
        raise EngineError(f"docker {' '.join(arguments[:3])} ...: {done.stderr.strip()}")
    return done.stdout.strip()


def missing(names: Iterable[str]) -> str:
    """Why these images of ours cannot be run here, or nothing."""
    try:
        docker("version", seconds=30)
        if not os.path.exists(_socket_path()):
            return f"the engine's socket {_socket_path()} is not on this machine"
        found = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    except (OSError, EngineError, subprocess.TimeoutExpired) as error:
        return f"no engine answers ({error})"
    absent = [image(name) for name in names if image(name) not in found]
    return f"{', '.join(absent)} not there; make images builds them" if absent else ""


def api(method: str, path: str, seconds: float | None = _PATIENCE_SECONDS) -> Any:
    """One call of the engine's API: its JSON. Raises EngineError."""
    connection = _UnixConnection("docker", timeout=seconds)
    try:
        connection.request(method, path, headers={"Host": "docker"})
        reply = connection.getresponse()
        body = reply.read()
    finally:
        connection.close()
    if reply.status >= 400:
        raise EngineError(f"{method} {path}: {reply.status} {body.decode(errors='replace').strip()}")
    return json.loads(body) if body else None


def _socket_path() -> str:
    return urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")).path


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(_socket_path())


class Container:
    """A container that was started, by its id."""

    def __init__(self, whole_id: str, port: int = 0) -> None:
        self.id = whole_id
        self.port = port

    def start(self) -> Self:
        """Start what was created."""
        api("POST", f"/containers/{self.id}/start")
        return self

    def state(self) -> dict[str, Any]:
        """As `docker inspect` shows it."""
        whole: dict[str, Any] = api("GET", f"/containers/{self.id}/json")["State"]
        return whole

    @property
    def started_at(self) -> float:
        """Seconds since 1970."""
        return seconds_of(self.state()["StartedAt"])

    @property
    def address(self) -> str:
        """Its address in the network that it was started in, which this machine can reach."""
        networks = api("GET", f"/containers/{self.id}/json")["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    @property
    def log(self) -> str:
        """What it said, stdout before stderr."""
        done = run_docker("logs", self.id)
        return done.stdout + done.stderr

    def execute(self, *command: str, seconds: float = _PATIENCE_SECONDS) -> Done:
        """Run a command in it."""
        return run_docker("exec", self.id, *command, seconds=seconds)

    def signal(self, name: str) -> float:
        """Send a signal to its first process; the time just before."""
        at = time.time()
        api("POST", f"/containers/{self.id}/kill?signal={name}")
        return at

    def wait(self, seconds: float | None = _PATIENCE_SECONDS) -> int:
        """Its exit status, once it has ended."""
        status: int = api("POST", f"/containers/{self.id}/wait", seconds)["StatusCode"]
        return status

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition as long as it runs."""

        def met() -> object:
            state = self.state()
            assert state["Running"], f"it ended waiting for {what}: {state}\n{self.log[-3000:]}"
            return condition()

        until(met, what, _PATIENCE_SECONDS)

    def get(self, page: str) -> tuple[int, str]:
        """A page of its admin endpoint: status and body; (0, "") when it cannot be reached (yet)."""
        return ask((self.address, self.port), page)

    def metrics(self) -> Samples:
        """One scrape."""
        return samples(self.get("/metrics")[1])

    def metric(self, name: str) -> float:
        """The sum of the series of one metric."""
        return sum(value for key, value in self.metrics().items() if key.partition("{")[0] == name)

    def usage(self) -> tuple[float, float, float]:
        """CPU seconds so far, and the working set and its limit in MiB: what was not given back less the files that
        could be at once, which is what the kubelet evicts by and `docker stats` shows.
        """
        stats = api("GET", f"/containers/{self.id}/stats?stream=false&one-shot=true")
        memory = stats["memory_stats"]
        droppable = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))  # v1, v2
        working_set_mib, limit_mib = (memory["usage"] - droppable) / 2**20, memory["limit"] / 2**20
        return stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, working_set_mib, limit_mib

    def resident_mib(self) -> float:
        """Resident memory of its first process, as the kernel adds it up."""
        text = self.read("/proc/1/smaps_rollup")
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:")) / 1024

    def read(self, path: str) -> str:
        """A file in it."""
        done = self.execute("/usr/bin/python3", "-IS", "-c", f"print(open({path!r}).read())")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def remove(self) -> None:
        """Kill it, if it runs, and remove it."""
        run_docker("rm", "--force", "--volumes", self.id)


def seconds_of(stamp: str) -> float:
    """Seconds since 1970 of a time with nanoseconds, as the engine writes it."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
