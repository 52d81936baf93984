"""The circuit breaker of the delivery: while nothing goes through, one request at a time probes.

The circuit also decides what is said of it: a diagnosis at once, then more and more rarely; that it is over, once for
each time that a diagnosis was said.
"""

import math
from enum import StrEnum

from .diagnosis import Diagnosis

_SAY_AGAIN_SECONDS = 30.0
_SAY_AGAIN_CAP_SECONDS = 300.0
_KINDS = 64
"""Kinds of diagnosis whose last mention is remembered; the server invents their names."""


class CircuitState(StrEnum):
    """Of the circuit breaker, in its usual words."""

    CLOSED = "closed"
    """Requests go out."""
    OPEN = "open"
    """No request goes out until the pause is over."""
    HALF_OPEN = "half-open"
    """One request is out, to see whether it works again."""


class CircuitEvent(StrEnum):
    """What moves it."""

    FAILED = "failed"
    PROBED = "probed"
    ANSWERED = "answered"


_NEXT = {
    (CircuitState.CLOSED, CircuitEvent.FAILED): CircuitState.OPEN,
    (CircuitState.CLOSED, CircuitEvent.ANSWERED): CircuitState.CLOSED,
    (CircuitState.OPEN, CircuitEvent.PROBED): CircuitState.HALF_OPEN,
    (CircuitState.OPEN, CircuitEvent.FAILED): CircuitState.OPEN,  # others were out when the first one failed
    (CircuitState.OPEN, CircuitEvent.ANSWERED): CircuitState.CLOSED,
    (CircuitState.HALF_OPEN, CircuitEvent.PROBED): CircuitState.HALF_OPEN,  # the stop cut the probe before off
    (CircuitState.HALF_OPEN, CircuitEvent.FAILED): CircuitState.OPEN,
    (CircuitState.HALF_OPEN, CircuitEvent.ANSWERED): CircuitState.CLOSED,
}


class Circuit:
    """The state of the circuit breaker, and why; `now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self.state = CircuitState.CLOSED
        self.diagnosis: Diagnosis | None = None
        """The last one, while the circuit is not closed."""
        self._since = 0.0
        """When it left closed."""
        self._failed_attempts = 0
        """Since then."""
        self._said: dict[str, tuple[float, float]] = {}  # kind -> when it was said last, and not before so long after
        self._said_any = False

    @property
    def is_closed(self) -> bool:
        """Return whether requests may go out."""
        return self.state is CircuitState.CLOSED

    def lasts(self, now: float) -> dict[str, object]:
        """Return since when and for how many attempts it is not closed, as fields of a log line; {} while it is."""
        if self.is_closed:
            return {}
        return {"failed_attempts": self._failed_attempts, "for_seconds": round(now - self._since, 1)}

    def probed(self) -> None:
        """Note that one request goes out to see whether it works again."""
        self.state = _NEXT[self.state, CircuitEvent.PROBED]

    def failed(self, diagnosis: Diagnosis, now: float) -> bool:
        """Note that an attempt failed as such. Return whether that is to be said now."""
        if self.is_closed:
            self._since, self._failed_attempts = now, 0
        self.state = _NEXT[self.state, CircuitEvent.FAILED]
        self.diagnosis = diagnosis
        self._failed_attempts += 1
        self._said_any |= (said := self.is_to_be_said(diagnosis.kind, now))
        return said

    def is_to_be_said(self, kind: str, now: float) -> bool:
        """Return whether a diagnosis of this kind was not said just now; it counts as said then."""
        last, wait_seconds = self._said.get(kind, (-math.inf, 0.0))
        if last < self._since:  # of an outage that is over
            wait_seconds = _SAY_AGAIN_SECONDS
        if now - last < wait_seconds:
            return False
        again_seconds = _SAY_AGAIN_SECONDS if last < self._since else 2 * wait_seconds
        self._said.pop(kind, None)
        self._said[kind] = (now, min(again_seconds, _SAY_AGAIN_CAP_SECONDS))
        if len(self._said) > _KINDS:
            del self._said[next(iter(self._said))]
        return True

    def answered(self) -> bool:
        """Note that an attempt was answered as it should be. Return whether that is to be said: after a diagnosis that
        was.
        """
        self.state = _NEXT[self.state, CircuitEvent.ANSWERED]
        self.diagnosis = None
        said, self._said_any = self._said_any, False
        return said
