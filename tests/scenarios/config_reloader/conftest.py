"""A `stage` for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ConfigStage]:
    """A volume, and an app to be told of its changes."""
    one = ConfigStage(tmp_path)
    yield one
    one.close()
