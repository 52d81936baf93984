"""The values every sidecar is described and served with: Sidecar (what it is) and Context (what it gets)."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry.trace import Tracer

from sidecars.runtime.admin import Admin
from sidecars.runtime.health import TimedHealth
from sidecars.runtime.logs import Log
from sidecars.runtime.metrics import Metrics
from sidecars.runtime.settings import Settings
from sidecars.runtime.stop import Stop


@dataclass(frozen=True)
class Context:
    """What the runtime hands to `main`."""

    name: str
    stop: Stop
    health: TimedHealth
    metrics: Metrics
    log: Log
    tracer: Tracer
    admin: Admin


Main = Callable[[Any, Context], Awaitable[int | None]]


@dataclass(frozen=True)
class Flag:
    """A flag that runs a one-shot instead of the sidecar; `name` without dashes, as in `Sidecar.oneshots`. `unneeded`
    names settings that the one-shot can do without.
    """

    name: str
    help: str
    unneeded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One line of `sidecar check NAME`: an error makes its exit status 1."""

    level: Literal["ok", "warning", "error"]
    text: str


@dataclass(frozen=True)
class Sidecar:
    """One sidecar: `main(settings, context)` runs until the stop is requested, or until it is done.

    `main` returns None or an exit status. `oneshots` maps each flag's name to the coroutine function that runs in its
    place, without the admin server; its return value is the exit status. `check(settings)` adds findings to `sidecar
    check NAME`.
    """

    name: str
    settings: type[Settings]
    main: Main
    summary: str
    admin: bool = True
    flags: tuple[Flag, ...] = ()
    oneshots: Mapping[str, Main] = field(default_factory=dict)
    check: Callable[[Any], Iterable[Finding]] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError when a flag has no one-shot or a one-shot no flag."""
        if {flag.name for flag in self.flags} != set(self.oneshots):
            raise ValueError(f"cannot use the sidecar {self.name}: its flags and its one-shots differ in name")

    @property
    def prefix(self) -> str:
        """The prefix of its environment variables, such as `LOG_SHIPPER_`."""
        return self.name.replace("-", "_").upper() + "_"
