"""One stand-in process for all tests here (each has a data stream of its own), and a `scene` for each."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scene import Scene
from tests.support.stand_in import StandInProcess


@pytest.fixture(scope="session")
def shared_stand_in() -> Iterator[StandInProcess]:
    """Without faults between two tests."""
    with StandInProcess() as server:
        yield server


@pytest.fixture
def scene(tmp_path: Path, shared_stand_in: StandInProcess, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The stage of one test."""
    name = re.sub(r"[^a-z0-9]+", ".", request.node.name.lower()).strip(".")
    stage = Scene(tmp_path, shared_stand_in, f"logs-{name}-{abs(hash(request.node.nodeid)) % 10**6}")
    yield stage
    shared_stand_in.faults()
