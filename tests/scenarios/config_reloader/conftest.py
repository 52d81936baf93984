"""A `stage` for each test: a volume, and an app that is notified of its changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ConfigStage]:
    one = ConfigStage(tmp_path)
    yield one
    one.close()
