"""`wait_for("tcp://...", timeout_seconds=5)` starts a process that ends with the test, and is shown when it fails."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.wait_for import WaitForProcess

Start = Callable[..., WaitForProcess]


@pytest.fixture
def wait_for(tmp_path: Path) -> Iterator[Start]:
    """Start one or several, each in a folder of its own."""
    started: list[WaitForProcess] = []
    with ExitStack() as stack:

        def start(*words: str, prefix: tuple[str, ...] = (), **settings: object) -> WaitForProcess:
            folder = tmp_path / f"run-{len(started)}"
            folder.mkdir()
            started.append(WaitForProcess(folder, *words, prefix=prefix, **settings))
            return stack.enter_context(started[-1].running_while())

        yield start
        for run in started:
            print(run.stderr[-3000:])  # pytest shows it when the test fails
