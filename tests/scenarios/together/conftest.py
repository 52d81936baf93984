"""A `stage` for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.together.pair import Stage
from tests.support.scene import Scene
from tests.support.stand_in import StandInProcess


@pytest.fixture(scope="session")
def shared_stand_in() -> Iterator[StandInProcess]:
    """One for all tests here; each has a data stream of its own."""
    with StandInProcess() as server:
        yield server


@pytest.fixture
def stage(tmp_path: Path, shared_stand_in: StandInProcess, request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(tmp_path, Scene(tmp_path, shared_stand_in, f"logs-together-{abs(hash(request.node.nodeid))}"))
    yield stage
    stage.close()
