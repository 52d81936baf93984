"""Fixtures of the rules: a stand-in for Elasticsearch and one running sidecar of each kind, shared by the tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.rules import agents


@pytest.fixture(scope="session")
def elasticsearch_address() -> Iterator[str]:
    """The embedded stand-in in a process of its own: memory is measured of the sidecar, not of its backend."""
    command = [sys.executable, "-m", "sidecars.devstack", "elasticsearch", "--port", "0"]
    with subprocess.Popen(command, cwd=agents.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


class Fleet:
    """Running sidecars by name, each started when it is first asked for."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory, elasticsearch: str) -> None:
        self._stack, self._folders, self._elasticsearch = stack, folders, elasticsearch
        self._running: dict[str, agents.Running] = {}

    def __getitem__(self, name: str) -> agents.Running:
        if name not in self._running:
            started = agents.run(name, self._folders.mktemp(name), self._elasticsearch)
            self._running[name] = self._stack.enter_context(started)
        return self._running[name]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, elasticsearch_address: str) -> Iterator[Fleet]:
    """`fleet["log-shipper"]` is a running log shipper."""
    with ExitStack() as stack:
        yield Fleet(stack, tmp_path_factory, elasticsearch_address)
