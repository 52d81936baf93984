"""What state the sidecar is in, as named conditions. Pure: the time is an argument.

Ready means: started, and no condition failing. A degraded condition is shown with its reason but keeps the sidecar
ready, because an unready native sidecar takes the whole pod out of its Services (KEP 753: sidecar readiness counts).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How one condition is."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Condition:
    """One named condition; `since` is the wall-clock second at which it took its present state."""

    name: str
    state: State
    reason: str
    since: float


class Health:
    """The conditions of one sidecar, and whether it has started."""

    def __init__(self) -> None:
        self.started = False
        self._conditions: dict[str, Condition] = {}

    def mark_started(self) -> None:
        """Say that the start is over: /startupz answers 200 from here on, for good."""
        self.started = True

    def set(self, name: str, state: State, reason: str, now: float) -> bool:
        """Set a condition. The reason may change within a state, `since` then stays. Returns True when the state
        changed.
        """
        old = self._conditions.get(name)
        changed = old is None or old.state is not state
        since = now if old is None or changed else old.since
        self._conditions[name] = Condition(name, state, reason, since)
        return changed

    def forget(self) -> None:
        """Drop all conditions: those of a run that crashed say nothing about the next. What has started, has."""
        self._conditions.clear()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions, by name."""
        return tuple(self._conditions[name] for name in sorted(self._conditions))

    @property
    def ready(self) -> bool:
        """Whether the sidecar may be given work."""
        return self.started and all(condition.state is not State.FAILING for condition in self.conditions)


class TimedHealth:
    """A Health that knows the clock, so that the wiring code need not pass the time at every call."""

    def __init__(self, health: Health, clock: Callable[[], float]) -> None:
        self.health = health
        self._clock = clock

    def set(self, name: str, state: State, reason: str = "") -> bool:
        """Set a condition as of now; True when its state changed."""
        return self.health.set(name, state, reason, self._clock())

    def forget(self) -> None:
        """Drop all conditions."""
        self.health.forget()

    def mark_started(self) -> None:
        """Say that the start is over."""
        self.health.mark_started()

    @property
    def started(self) -> bool:
        """Whether the start is over."""
        return self.health.started

    @property
    def ready(self) -> bool:
        """Whether the sidecar may be given work."""
        return self.health.ready

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions, by name."""
        return self.health.conditions
