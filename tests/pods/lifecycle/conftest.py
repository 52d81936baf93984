"""The container engine as a lab, for all tests here; without an engine, or without our images, they are skipped."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pods.lifecycle.docker_lab import DockerLab
from tests.support.engine import missing
from tests.support.podlab.reporting import pytest_runtest_makereport  # noqa: F401 -- a hook: pytest finds it by its name
from tests.support.podlab.stage import Stage, set_up_backend

IMAGES = ("pause", "devstack", "log-shipper", "config-reloader", "wait-for")
NUMBERS = itertools.count(1)
GiveUp = Callable[[str, str], None]
Table = Callable[[str, str], None]


@pytest.fixture(scope="session")
def lab(without_server: GiveUp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerLab]:
    if reason := missing(IMAGES):
        without_server("docker", reason)
    folder: Path = tmp_path_factory.mktemp("pods")
    with DockerLab(folder) as lab:
        yield lab


@pytest.fixture(scope="session")
def backend(lab: DockerLab) -> str:
    """Address of the stand-in for Elasticsearch."""
    return set_up_backend(lab)


@pytest.fixture
def stage(lab: DockerLab, backend: str, table: Table) -> Iterator[Stage]:
    stage = Stage(lab, backend, f"s{next(NUMBERS)}", table)
    yield stage
    stage.close()
