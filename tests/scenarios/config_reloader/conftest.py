"""A `stage` for each test, and an end for whatever sidecar a test started, with what it said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reload_stage import Stage
from tests.support.sidecar_process import SidecarProcess

_SHOWN_CHARACTERS = 6000


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kills what still runs, and prints the end of its stderr: pytest shows that when the test failed."""
    started: dict[int, SidecarProcess] = {}
    start = SidecarProcess.start

    def remembered(self: SidecarProcess, *, wait: bool = True) -> SidecarProcess:
        started[id(self)] = self
        return start(self, wait=wait)

    monkeypatch.setattr(SidecarProcess, "start", remembered)
    yield
    for one in started.values():
        one.kill()
    for one in started.values():
        print(f"--- stderr of {one.name}:\n{one.stderr[-_SHOWN_CHARACTERS:]}")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A volume, and an app to be told of its changes."""
    one = Stage(tmp_path)
    yield one
    one.close()
