"""The circuit breaker of the delivery: while nothing goes through, one request at a time probes.

Also decides what is said of it: a trouble at once, then more and more rarely; that it is over, once for each time that
a trouble was said.
"""

import math
from enum import StrEnum

from .trouble import Trouble

_SAY_AGAIN_SECONDS = 30.0
_SAY_AGAIN_CAP_SECONDS = 300.0
_KINDS = 64
"""Kinds of trouble whose last mention is remembered; the server invents their names."""


class CircuitState(StrEnum):
    """Of the circuit breaker, in its usual words."""

    CLOSED = "closed"
    """Requests go out."""
    OPEN = "open"
    """None goes out until the pause is over."""
    HALF_OPEN = "half-open"
    """One is under way, to see whether it works again."""


class CircuitEvent(StrEnum):
    """What moves it."""

    FAILED = "failed"
    PROBED = "probed"
    ANSWERED = "answered"


_NEXT = {
    (CircuitState.CLOSED, CircuitEvent.FAILED): CircuitState.OPEN,
    (CircuitState.CLOSED, CircuitEvent.ANSWERED): CircuitState.CLOSED,
    (CircuitState.OPEN, CircuitEvent.PROBED): CircuitState.HALF_OPEN,
    (CircuitState.OPEN, CircuitEvent.FAILED): CircuitState.OPEN,  # others were under way when the first one failed
    (CircuitState.OPEN, CircuitEvent.ANSWERED): CircuitState.CLOSED,
    (CircuitState.HALF_OPEN, CircuitEvent.FAILED): CircuitState.OPEN,
    (CircuitState.HALF_OPEN, CircuitEvent.ANSWERED): CircuitState.CLOSED,
}
"""A probe that is cut off by the stop leaves it half-open; the next one begins there."""


class Circuit:
    """Where the circuit breaker is and why; `now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self.state = CircuitState.CLOSED
        self.trouble: Trouble | None = None
        """The last one, while the circuit is not closed."""
        self.since = 0.0
        """When it left closed."""
        self.attempts = 0
        """Failed ones since then."""
        self._said: dict[str, tuple[float, float]] = {}  # kind -> when it was said last, and not before so long after
        self._said_any = False

    @property
    def is_closed(self) -> bool:
        """Whether requests may go out."""
        return self.state is CircuitState.CLOSED

    def probed(self) -> None:
        """One request goes out to see whether it works again."""
        if self.state is not CircuitState.HALF_OPEN:
            self.state = _NEXT[self.state, CircuitEvent.PROBED]

    def failed(self, trouble: Trouble, now: float) -> bool:
        """An attempt failed as such. Returns whether that is to be said now."""
        if self.is_closed:
            self.since, self.attempts = now, 0
        self.state = _NEXT[self.state, CircuitEvent.FAILED]
        self.trouble = trouble
        self.attempts += 1
        self._said_any |= (said := self.is_to_be_said(trouble.kind, now))
        return said

    def is_to_be_said(self, kind: str, now: float) -> bool:
        """Whether a trouble of this kind was not said just now; it is taken for said then."""
        last, wait_seconds = self._said.get(kind, (-math.inf, 0.0))
        if last < self.since:  # of an outage that is over
            wait_seconds = _SAY_AGAIN_SECONDS
        if now - last < wait_seconds:
            return False
        again_seconds = _SAY_AGAIN_SECONDS if last < self.since else 2 * wait_seconds
        self._said.pop(kind, None)
        self._said[kind] = (now, min(again_seconds, _SAY_AGAIN_CAP_SECONDS))
        if len(self._said) > _KINDS:
            del self._said[next(iter(self._said))]
        return True

    def answered(self) -> bool:
        """An attempt was answered as it should be. Returns whether that is to be said: after a trouble that was."""
        self.state = _NEXT[self.state, CircuitEvent.ANSWERED]
        self.trouble = None
        said, self._said_any = self._said_any, False
        return said
