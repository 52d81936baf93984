"""A `stage` for each test, and an end for whatever process a test started, with what it said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.together.pair import PairProcess, Stage
from tests.support.scene import Scene
from tests.support.stand_in import StandInProcess

_SHOWN_CHARACTERS = 6000


@pytest.fixture(scope="session")
def shared_stand_in() -> Iterator[StandInProcess]:
    """One for all tests here; each has a data stream of its own."""
    with StandInProcess() as server:
        yield server


@pytest.fixture
def stage(
    tmp_path: Path, shared_stand_in: StandInProcess, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """Kills what still runs, and prints the end of its stderr: pytest shows that when the test failed."""
    started: list[PairProcess] = []
    start = PairProcess.start

    def remembered(self: PairProcess, *, wait: bool = True) -> PairProcess:
        started.append(self)
        return start(self, wait=wait)

    monkeypatch.setattr(PairProcess, "start", remembered)
    stage = Stage(tmp_path, Scene(tmp_path, shared_stand_in, f"logs-together-{abs(hash(request.node.nodeid))}"))
    try:
        yield stage
    finally:
        for pair in started:
            pair.kill()
        for pair in started[-1:]:
            print(f"--- stderr of the last process:\n{pair.stderr[-_SHOWN_CHARACTERS:]}")
        stage.close()
