"""What a process consists of: each sidecar with its settings and context, and what they share. Built here, brought to
life in app.py.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from sidecars.runtime.admin import Admin
from sidecars.runtime.health import Health, TimedHealth
from sidecars.runtime.logs import Log
from sidecars.runtime.metrics import Metrics, new_registry
from sidecars.runtime.settings import Settings, process_environment
from sidecars.runtime.sidecar import Context, Main, Sidecar
from sidecars.runtime.stop import Stop, now
from sidecars.runtime.tracing import Tracing


@dataclass
class Unit:
    """One sidecar of the process with its settings, its context and, once started, its task."""

    sidecar: Sidecar
    settings: Settings
    ctx: Context
    main: Main
    task: asyncio.Task[int] | None = None


@dataclass
class Process:
    """All sidecars of the process and what they share. `stop` is the process's own; each unit's is requested in
    order.
    """

    units: list[Unit]
    stop: Stop
    log: Log
    tracing: Tracing
    registry: CollectorRegistry
    early: Sequence[int] = ()
    signals: list[int] = field(default_factory=list)


def build(chosen: Sequence[Sidecar], settings: Sequence[Settings], early: Sequence[int]) -> Process:
    """Make the context of each sidecar; nothing runs yet."""
    name = "+".join(sidecar.name for sidecar in chosen)
    log = Log(name, settings[0].log_level)
    tracing = Tracing(name, process_environment(), log)
    registry = new_registry([sidecar.name for sidecar in chosen])
    units: list[Unit] = []
    for sidecar, its in zip(chosen, settings, strict=True):
        health = TimedHealth(Health(), now)
        ctx = Context(
            name=sidecar.name,
            stop=Stop(its.grace_seconds),
            health=health,
            metrics=Metrics(sidecar.name, registry),
            log=Log(sidecar.name, its.log_level),
            tracer=tracing.tracer(sidecar.name),
            admin=Admin(sidecar.name, health),
        )
        units.append(Unit(sidecar, its, ctx, sidecar.main))
    return Process(units, Stop(), log, tracing, registry, early)
