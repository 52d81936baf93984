"""Elasticsearch in a container, when an engine answers and the image is there or comes quickly."""

import shutil
import socket
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.services.elasticsearch_node import is_healthy
from tests.services.maven import Unavailable
from tests.support.engine import run_docker
from tests.support.waiting import until

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

IMAGE = "docker.elastic.co/elasticsearch/elasticsearch:9.5.3"
_ENGINE_SECONDS, _PULL_SECONDS, _START_SECONDS = 5, 90, 180
_ENVIRONMENT = {
    "discovery.type": "single-node",
    "xpack.security.enabled": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
}


def check_engine() -> None:
    """Raises Unavailable unless the engine answers and has the image, or can pull it in a short time."""
    if shutil.which("docker") is None:
        raise Unavailable("no container engine (docker) on PATH")
    if not _succeeds("version", "--format", "{{.Server.Version}}", seconds=_ENGINE_SECONDS):
        raise Unavailable("the container engine does not answer")
    if _succeeds("image", "inspect", IMAGE, seconds=_ENGINE_SECONDS):
        return
    if not _succeeds("pull", "--quiet", IMAGE, seconds=_PULL_SECONDS):
        raise Unavailable(f"the image {IMAGE} is not there and cannot be pulled within {_PULL_SECONDS} s")


def _succeeds(*arguments: str, seconds: float) -> bool:
    try:
        return run_docker(*arguments, seconds=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Container:
    """The same handle as `Node`, on a container; its data live in the container's own layer."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._port = _free_port()
        self._container = self._create(settings)
        self._container.start()
        self._wait_until_healthy()

    @property
    def url(self) -> str:
        """Where it listens; the same after `restart`."""
        return f"http://127.0.0.1:{self._port}"

    def stop(self) -> None:
        """Ends it in good order."""
        self.resume()
        self._container.get_wrapped_container().stop(timeout=30)

    def kill(self) -> None:
        """SIGKILL."""
        self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        """Freezes it: connections are accepted and never answered."""
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        """Ends `pause`."""
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status == "paused":
            wrapped.unpause()

    def restart(self) -> None:
        """Starts it again: same port, same data."""
        self.resume()
        self._container.get_wrapped_container().restart(timeout=30)
        self._wait_until_healthy()

    def discard(self) -> None:
        """Removes it."""
        self._container.stop()

    def _create(self, settings: Mapping[str, str]) -> "DockerContainer":
        from testcontainers.core.container import DockerContainer  # slow to import, and only wanted with an engine

        container = DockerContainer(IMAGE).with_bind_ports(9200, self._port)
        for name, value in {**_ENVIRONMENT, **settings}.items():
            container = container.with_env(name, value)
        return container

    def _wait_until_healthy(self) -> None:
        try:
            until(lambda: is_healthy(self.url), "the container to become healthy", _START_SECONDS)
        except AssertionError as late:
            self.discard()
            raise Unavailable(str(late)) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
