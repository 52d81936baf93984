"""The container engine as a lab, for all tests here; without an engine, or without our images, they are skipped."""

from collections.abc import Callable, Iterator

import pytest

from tests.pods.lifecycle.docker_lab import DockerLab
from tests.support.engine import missing
from tests.support.podlab.fixtures import backend, pytest_runtest_makereport, stage

__all__ = ["backend", "lab", "pytest_runtest_makereport", "stage"]


@pytest.fixture(scope="session")
def lab(without_server: Callable[[str, str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerLab]:
    if reason := missing(("pause", "devstack", "log-shipper", "config-reloader", "wait-for")):
        without_server("docker", reason)
    with DockerLab(tmp_path_factory.mktemp("pods")) as lab:
        yield lab
