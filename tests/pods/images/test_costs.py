"""What each image costs: CPU until it has started, memory while it is idle. Printed, and kept for the README."""

from collections.abc import Callable

import pytest

from tests.pods.images.conftest import Figure, Lab
from tests.pods.images.rows import ROWS, Row
from tests.support.engine import docker, image

TITLE = "images: start-up CPU, and memory when idle"
ATTEMPTS = 3
Table = Callable[[str, str], None]


def start_cpu_seconds(row: Row, lab: Lab) -> float:
    """CPU of the whole container, its set-up by the engine included, until the start-up probe passes."""
    container, _ = lab.sidecar(row)
    try:
        container.until(lambda: row.started(container), "its start")
        return container.usage()[0]
    finally:
        container.remove()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_start_costs_no_more_cpu_than_its_bar(row: Row, lab: Lab, table: Table, figure: Figure) -> None:
    """The least of some starts: what others do on the machine makes CPU time longer (shared caches), never shorter."""
    least = min(start_cpu_seconds(row, lab) for _ in range(ATTEMPTS))
    table(TITLE, f"{row.name:16} start {least:.3f} s of CPU, bar {row.bars.start_cpu_seconds}")
    figure(row.name, "start_cpu_seconds", least)
    assert least <= row.bars.start_cpu_seconds


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_memory_when_idle_fits_into_the_usual_request(row: Row, lab: Lab, table: Table, figure: Figure) -> None:
    """After some work (wait-for: while it waits). The working set is what the kubelet goes by: pages of the image's
    files are shared with others and count only in part. 50Mi is what sidecars usually request.
    """
    container, folders = lab.sidecar(row)
    try:
        container.until(lambda: row.started(container), "its start")
        if row.port:
            row.works(folders, container)
        resident_mib, (_, working_set_mib, _) = container.resident_mib(), container.usage()
    finally:
        container.remove()
    megabytes = int(docker("image", "inspect", image(row.name), "--format", "{{.Size}}")) / 1e6
    table(
        TITLE,
        f"{row.name:16} {resident_mib:.1f} MiB resident, {working_set_mib:.1f} MiB working set, {megabytes:.1f} MB",
    )
    figure(row.name, "idle_rss_mib", resident_mib)
    figure(row.name, "working_set_mib", working_set_mib)
    figure(row.name, "size_mb", megabytes)
    assert working_set_mib <= 50
    assert megabytes <= row.bars.image_mb
