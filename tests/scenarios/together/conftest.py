"""A `stage` for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.together.pair import PairStage
from tests.support.log_stage import LogStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[PairStage]:
    with LogStage(tmp_path) as shipping:
        stage = PairStage(tmp_path, shipping)
        yield stage
        stage.close()
