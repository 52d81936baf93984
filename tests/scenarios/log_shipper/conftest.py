"""A `stage` for each test that wants one without settings of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LogStage]:
    with LogStage(tmp_path) as one:
        yield one
