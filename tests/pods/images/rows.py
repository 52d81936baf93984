"""The images of sidecars, each as a row: how one is started, how it shows that it has started, and its main job.

The next sidecar joins by its row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.pods.images.engine import Container

LINES = 3000
LINE = "2026-01-01T00:00:00.000Z INFO request {:06d} served in 12 ms " + "x" * 90 + "\n"


@dataclass(frozen=True)
class Row:
    """One image. In `words` and `settings`, {backend} is the address of a server and {awaited} that of one that comes
    later.

    `port`: of its admin endpoint; 0: it has none. `started`: whether it has started; `works`: let it do its main job,
    and see it done. `ends_with`: its documented status after SIGTERM.
    """

    name: str
    settings: Mapping[str, str]
    port: int
    started: Callable[[Container], bool]
    works: Callable[["Folders", Container], None]
    words: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    ends_with: int = 0


@dataclass(frozen=True)
class Folders:
    """What is mounted into a container: its logs at /logs, its configuration at /config. `arrive` lets the awaited
    server come.
    """

    logs: Path
    config: Path
    arrive: Callable[[], None] = field(default=lambda: None)


def answers(container: Container) -> bool:
    """Its start-up probe passes."""
    return container.get("/startupz")[0] == 200


def waits(container: Container) -> bool:
    """It has said what it waits for."""
    return '"wait.blocked"' in container.log


def ships(folders: Folders, container: Container) -> None:
    """Some thousands of lines."""
    with (folders.logs / "app.log").open("a", encoding="ascii") as log:
        log.writelines(LINE.format(number) for number in range(LINES))
    size = (folders.logs / "app.log").stat().st_size
    container.until(
        lambda: container.metric("sidecar_log_shipper_acknowledged_bytes_total") >= size, "all lines to be acknowledged"
    )


def reloads(folders: Folders, container: Container) -> None:
    """A change becomes a request."""
    applied = 'sidecar_config_reloader_reloads_total{result="applied"}'
    before = container.metrics()[applied]
    (folders.config / "app.yaml").write_text("changed", encoding="ascii")
    container.until(lambda: container.metrics()[applied] > before, "the app to be told")


def both(folders: Folders, container: Container) -> None:
    """One after the other."""
    ships(folders, container)
    reloads(folders, container)


def ends(folders: Folders, container: Container) -> None:
    """It waits until what it waits for is there, and no longer."""
    assert container.state()["Running"]
    folders.arrive()
    assert container.wait() == 0, container.log


SHIPPER = {
    "LOG_SHIPPER_PATHS": "/logs/*.log",
    "LOG_SHIPPER_ELASTICSEARCH_URL": "{backend}",
    "LOG_SHIPPER_STATE_DIR": "/var/lib/sidecars/log-shipper",
}
RELOADER = {
    "CONFIG_RELOADER_WATCH": "/config",
    "CONFIG_RELOADER_STEPS": '[{{webhook: {{url: "{backend}/told", expect_status: [200, "4xx"]}}}}]',
    "CONFIG_RELOADER_STATE_FILE": "/tmp/state.json",
}
# A volume of the engine takes owner and mode from the folder in the image. (A tmpfs takes the mode alone.)
STATE = ("--volume=/var/lib/sidecars/log-shipper",)

ROWS = (
    Row("log-shipper", SHIPPER, 9101, answers, ships, mounts=STATE),
    Row("config-reloader", RELOADER, 9102, answers, reloads),
    Row(
        "wait-for",
        {"WAIT_FOR_PROGRESS_SECONDS": "0.1", "WAIT_FOR_TARGETS": "tcp://{awaited}"},
        0,
        waits,
        ends,
        ends_with=143,  # 128 + SIGTERM: what ran once and was cut short must not look as if it had succeeded
    ),
    Row(
        "sidecar", {**SHIPPER, **RELOADER}, 9101, answers, both, words=("log-shipper", "config-reloader"), mounts=STATE
    ),
)
SERVING = tuple(row for row in ROWS if row.port)
