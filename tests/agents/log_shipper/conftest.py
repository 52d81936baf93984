"""`reading` follows files of the test's folder, `log` is one of them; `stage` is a whole shipper."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """For a test that is `nobody` at times: one that everybody may enter. (Pytest's own is its user's alone, and every
    run that begins on the machine sees to that.)
    """
    if "nobody" not in request.fixturenames:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="everybodys-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def nobody() -> Callable[[], AbstractContextManager[None]]:
    """Makes this process an ordinary user for a block, since root may enter and read everything."""

    @contextmanager
    def ordinary() -> Iterator[None]:
        if os.getuid() == 0:
            os.seteuid(65534)
        yield
        os.seteuid(os.getuid())

    return ordinary
