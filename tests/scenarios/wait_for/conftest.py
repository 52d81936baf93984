"""`wait_for("tcp://...", timeout_seconds=5)` starts a process, each in a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sidecars import WaitForProcess

Start = Callable[..., WaitForProcess]


@pytest.fixture
def wait_for(tmp_path: Path) -> Start:
    def start(*words: str, prefix: tuple[str, ...] = (), **settings: object) -> WaitForProcess:
        folder = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        folder.mkdir()
        return WaitForProcess(folder, *words, prefix=prefix, **settings).start()

    return start
