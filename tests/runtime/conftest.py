"""`start` runs toys as real processes and ends them after the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.toy_runs import ToyRun

Start = Callable[..., ToyRun]


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
