"""`reading` follows files of the test's folder, `log` is one of them; `stage` is a whole shipper."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reading import Make, Reading
from tests.support.whole_shipper import WholeShipper


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


@pytest.fixture
def stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> WholeShipper:
    return WholeShipper(tmp_path, caplog)


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """An ordinary user: root may enter and read everything. The folders above the test's may be entered by all."""
    if os.geteuid():
        yield
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    yield
    os.seteuid(0)
