"""`start` runs toys as real processes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.toy_runs import ToyRun

Start = Callable[..., ToyRun]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def begin(*words: str, environ: dict[str, str] | None = None) -> ToyRun:
        folder = tmp_path / f"toy-{len(list(tmp_path.glob('toy-*')))}"
        folder.mkdir()
        return ToyRun(folder, words, environ or {})

    return begin
