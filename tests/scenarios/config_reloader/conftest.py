"""A `stage` for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reload_stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A volume, and an app to be told of its changes."""
    one = Stage(tmp_path)
    yield one
    one.close()
