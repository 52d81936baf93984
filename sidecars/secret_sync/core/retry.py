"""When something that failed is tried again. Pure: time and chance are arguments.

The pause grows with how long the trouble has lasted, a tenth to a quarter of it: a fault of 20 s is over 5 s after its
end at most, one of ten minutes costs some 35 requests, and many replicas spread over a time that grows with the outage.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .outcome import Failure, FailureReason

FIRST_SECONDS = 1.0
SHARE = (0.1, 0.24)
LONGEST_SECONDS = 60.0
SLOW_SECONDS = (55.0, 65.0)
"""For what somebody has to change: a policy, a path, a role."""

_SLOW = frozenset(
    {
        FailureReason.DENIED,
        FailureReason.REFUSED,
        FailureReason.MISSING,
        FailureReason.DELETED,
        FailureReason.DISABLED,
        FailureReason.EXPIRED,
        FailureReason.UNUSABLE,
    }
)


@dataclass(frozen=True)
class LastingFault:
    """Trouble that lasts: since when, how many tries failed, and when the next one is due."""

    since: float
    failures: int
    reason: FailureReason
    text: str
    retry_at: float
    over: bool = False
    """Whether others of the same kind succeed again, so that the next try need not wait for its turn."""


def failed(before: LastingFault | None, failure: Failure, now: float, chance: Callable[[], float]) -> LastingFault:
    """Return the fault after one more failure; Retry-After is obeyed where the answer had it."""
    reason, wait = failure.reason, failure.retry_after
    since = now if before is None else before.since
    failures = 1 if before is None else before.failures + 1
    if wait is not None:
        pause = max(wait, FIRST_SECONDS) + 0.5 * chance()
    elif reason in _SLOW:
        low, high = SLOW_SECONDS
        pause = low + (high - low) * chance()
    else:
        low, high = SHARE
        grown = (now - since) * (low + (high - low) * chance())
        pause = min(max(FIRST_SECONDS * (1 + chance()), grown), LONGEST_SECONDS)
    return LastingFault(since, failures, reason, failure.text, now + pause)


class Limiter:
    """At most one retry a second, whatever fails."""

    def __init__(self) -> None:
        self._next = 0.0

    def at(self, now: float) -> float:
        """Return when the next retry may go out."""
        return max(self._next, now)

    def take(self, now: float) -> None:
        """Note that one goes out now."""
        self._next = now + FIRST_SECONDS
