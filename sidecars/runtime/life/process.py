"""What a process consists of: each sidecar with its settings and context, and what they share. Built here, brought to
life in serving.py and oneshot.py.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sidecars.runtime.observe.health import Health
from sidecars.runtime.observe.logs import Log
from sidecars.runtime.settings.environment import settled_environment
from sidecars.runtime.settings.load import Basics, Settings
from sidecars.runtime.sidecar import Context, Main, Sidecar
from sidecars.runtime.stop import Stop

if TYPE_CHECKING:  # memory that a sidecar without admin endpoint does not pay
    from prometheus_client import CollectorRegistry

    from sidecars.runtime.observe.tracing import Tracing


@dataclass
class Unit:
    """One sidecar of the process with its settings, its context and, once started, its task."""

    sidecar: Sidecar
    settings: Basics
    ctx: Context
    main: Main
    task: asyncio.Task[int] | None = None

    async def run(self) -> int:
        """Run its main once."""
        return await self.main(self.settings, self.ctx) or 0


@dataclass
class Shared:
    """What sidecars with an admin endpoint have in common. The first one's settings say where to listen (run.py refuses
    others that say something else).
    """

    tracing: "Tracing"
    registry: "CollectorRegistry"
    settings: Settings


@dataclass
class SidecarProcess:
    """All sidecars of the process and what they share. `stop` is the process's own, with the longest grace of all;
    each unit's is requested in order. `shared` is None without admin endpoint.
    """

    units: list[Unit]
    stop: Stop
    log: Log
    shared: Shared | None

    def log_abandoned(self, busy: str) -> None:
        """Name the tasks and threads that did not end with the process."""
        self.log.error("left without waiting", action="sidecar.abandoned", busy=busy)


class Absent:
    """Stands where a sidecar without admin endpoint has nothing."""

    def __init__(self, what: str, sidecar: str) -> None:
        self._message = f"cannot use ctx.{what}: the sidecar {sidecar} declares admin=False"

    def __getattr__(self, name: str) -> NoReturn:
        raise TypeError(self._message)


def build(chosen: Sequence[Sidecar], settings: Sequence[Basics], oneshot: str | None = None) -> SidecarProcess:
    """Make the context of each sidecar, with the main of a flag's one-shot or its own; nothing runs yet."""
    name = "+".join(sidecar.name for sidecar in chosen)
    log = Log(name, settings[0].log_level)
    pairs = list(zip(chosen, settings, strict=True))
    shared = _shared(name, pairs, log) if chosen[0].admin else None
    units = [
        Unit(sidecar, its, _context(sidecar, its, shared), sidecar.oneshot(oneshot).main if oneshot else sidecar.main)
        for sidecar, its in pairs
    ]
    stop = Stop(max(unit.ctx.stop.grace_seconds for unit in units))
    return SidecarProcess(units, stop, log, shared)


def _shared(name: str, pairs: Sequence[tuple[Sidecar, Basics]], log: Log) -> Shared:
    # Prometheus and OpenTelemetry: memory that a sidecar without admin endpoint does not pay.
    from sidecars.runtime.observe.metrics import new_registry
    from sidecars.runtime.observe.tracing import Tracing

    first = pairs[0][1]
    assert isinstance(first, Settings)  # noqa: S101 (Sidecar sees to it; tells mypy)
    tracing = Tracing(name, settled_environment(), log)
    return Shared(tracing, new_registry([sidecar.name for sidecar, _ in pairs]), first)


def _context(sidecar: Sidecar, settings: Basics, shared: Shared | None) -> Context:
    name, health, log = sidecar.name, Health(), Log(sidecar.name, settings.log_level)
    if shared is None or not isinstance(settings, Settings):
        absent: Any = (Absent(what, name) for what in ("metrics", "tracer", "admin"))
        metrics, tracer, admin = absent
        return Context(name, Stop(), health, metrics, log, tracer, admin)
    # With an HTTP server and Prometheus: see above.
    from sidecars.runtime.observe.admin import Admin
    from sidecars.runtime.observe.metrics import Metrics

    return Context(
        name=name,
        stop=Stop(settings.grace_seconds),
        health=health,
        metrics=Metrics(name, shared.registry),
        log=log,
        tracer=shared.tracing.tracer(name),
        admin=Admin(name, health),
    )
