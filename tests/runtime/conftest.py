"""`start` runs toys as real processes and ends them after the test."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.toy_runs import ToyRun

Start = Callable[..., ToyRun]


@pytest.fixture(scope="session", autouse=True)
def no_loop_by_accident() -> None:
    """The looptime plugin asks for the current loop before every test; on Python 3.11 that makes one nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    runs: list[ToyRun] = []

    def begin(*words: str, environ: dict[str, str] | None = None) -> ToyRun:
        folder = tmp_path / f"toy-{len(runs)}"
        folder.mkdir()
        runs.append(ToyRun(folder, words, environ or {}))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()
