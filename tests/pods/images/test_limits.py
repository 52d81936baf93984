"""With the limits that everybody copies from tutorials, 100m CPU and 100Mi memory, each sidecar starts and works.

All of them run at the same time, as four containers of a pod would: each has its own share of the CPU.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.pods.images.conftest import Figure, Lab
from tests.pods.images.rows import LINES, ROWS, Folders, Row, both, ships
from tests.support.engine import Container

LIMITS = ("--memory=100m", "--memory-swap=100m", "--cpus=0.1")
TITLE = "images: with 100m CPU and 100Mi memory"
Table = Callable[[str, str], None]


@dataclass(frozen=True)
class Limited:
    """A container under the limits, and how long it took to start."""

    container: Container
    folders: Folders
    start_seconds: float


def begin(row: Row, lab: Lab) -> Limited:
    """Start one, and wait for its start."""
    container, folders = lab.sidecar(row, *LIMITS)
    container.until(lambda: row.started(container), "its start")
    return Limited(container, folders, time.time() - container.started_at)


@pytest.fixture(scope="module")
def limited(lab: Lab) -> Iterator[dict[str, Limited]]:
    """One of each row, all started at once."""
    lab.backend()
    with ThreadPoolExecutor(len(ROWS)) as threads:
        begun = list(threads.map(lambda row: begin(row, lab), ROWS))
    yield {row.name: one for row, one in zip(ROWS, begun, strict=True)}
    for one in begun:
        one.container.remove()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_it_starts_and_does_its_work(row: Row, limited: dict[str, Limited], table: Table, figure: Figure) -> None:
    one = limited[row.name]
    container = one.container
    _, working_set_mib, limit_mib = container.usage()
    assert limit_mib == 100
    began = time.monotonic()
    row.works(one.folders, container)
    work_seconds = time.monotonic() - began
    if row.port:
        _, working_set_mib, _ = container.usage()
    state = container.state()
    assert not state["OOMKilled"]
    assert state["Running"] == bool(row.port)
    lines = f" ({LINES} lines)" if row.works in {ships, both} else ""
    table(
        TITLE,
        f"{row.name:16} started after {one.start_seconds:.1f} s, worked {work_seconds:.1f} s{lines}, "
        f"working set {working_set_mib:.1f} MiB",
    )
    figure(row.name, "start_seconds_at_100m", one.start_seconds)
    figure(row.name, "work_seconds_at_100m", work_seconds)
