"""What state the sidecar is in, as named conditions.

Ready means: started, and no condition failing. A degraded condition is shown with its reason but keeps the sidecar
ready, because an unready native sidecar takes the whole pod out of its Services (KEP 753: sidecar readiness counts).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sidecars.runtime.clock import now


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
    """The conditions of one sidecar, and whether it has started. `clock` gives wall-clock seconds."""

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self.started = False
        self._clock = clock
        self._conditions: dict[str, Condition] = {}

    def mark_started(self) -> None:
        """Say that the start is over: /startupz answers 200 from here on, for good."""
        self.started = True

    def set(self, name: str, state: State, reason: str = "") -> bool:
        """Set a condition as of now. The reason may change within a state, `since` then stays. Return whether the state
        changed.
        """
        old = self._conditions.get(name)
        changed = old is None or old.state is not state
        since = self._clock() if old is None or changed else old.since
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
