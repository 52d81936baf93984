"""`reading` follows files of the test's folder, `log` is one of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reading import Make, Reading


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Make]:
    """`reading("*.log*", descriptors=3)`: follows globs of the test's folder; closes all files at the end."""
    made: list[Reading] = []

    def make(*names: str, **given: object) -> Reading:
        made.append(Reading(*[str(tmp_path / name) for name in names], **given))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.stop()
