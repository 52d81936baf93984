"""The images of sidecars, each as a row: how one is started, how it shows that it has started, and its main job.

How it is started is declared in its folder. The next sidecar joins by its declaration, and by its main job in WORKS.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sidecars.declaration import Bars, Declaration, declarations, image_bars
from tests.support.engine import Container
from tests.support.sidecars import TOGETHER

LINES = 3000
LINE = "2026-01-01T00:00:00.000Z INFO request {:06d} served in 12 ms " + "x" * 90 + "\n"


@dataclass(frozen=True)
class Row:
    """One image, and the sidecars that are started of it. `words`: of the command line. `works`: let it do its main
    job, and see it done.
    """

    name: str
    runs: tuple[Declaration, ...]
    works: Callable[["Folders", Container], None]
    words: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """Of its admin endpoint; 0: it has none."""
        return self.runs[0].port

    @property
    def bars(self) -> Bars:
        """What it must not exceed."""
        return self.runs[0].bars if len(self.runs) == 1 else image_bars(self.name, DECLARED)

    @property
    def ends_with(self) -> int:
        """Its documented status after SIGTERM."""
        return self.runs[0].ends_with

    @property
    def volumes(self) -> tuple[str, ...]:
        """Options for its state. A volume takes owner and mode from the folder in the image (a tmpfs its mode)."""
        return tuple(f"--volume={declared.state}" for declared in self.runs if declared.state)

    def variables(self, **places: str) -> dict[str, str]:
        """The least that it works with, see sidecars/declaration.py."""
        return {
            key: text
            for declared in self.runs
            for key, text in declared.variables(**places, state=declared.state).items()
        }

    def started(self, container: Container) -> bool:
        """Its start-up probe passes; without one: it has said what it does."""
        return container.get("/startupz")[0] == 200 if self.port else bool(container.log)


@dataclass(frozen=True)
class Folders:
    """What is mounted into a container: its logs at /logs, its configuration at /config. `arrive` lets the awaited
    server come.
    """

    logs: Path
    config: Path
    arrive: Callable[[], None] = field(default=lambda: None)


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


def connects(folders: Folders, container: Container) -> None:
    """What comes to it reaches the server that has come."""
    folders.arrive()
    container.until(
        lambda: sum(v for k, v in container.metrics().items() if k.startswith("sidecar_ambassador_upstream_up")) == 1,
        "the upstream to be up",
    )


def starts(folders: Folders, container: Container) -> None:
    """Nothing more than that: for a sidecar whose job nobody has described here."""


WORKS = {"ambassador": connects, "log-shipper": ships, "config-reloader": reloads, "wait-for": ends}
DECLARED = declarations()
ROWS = (
    *(Row(name, (declared,), WORKS.get(name, starts)) for name, declared in DECLARED.items()),
    Row("sidecar", tuple(DECLARED[name] for name in TOGETHER), both, words=TOGETHER),
)
