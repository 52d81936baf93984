"""When a target is tried again, and when it counts as ready: attempts, back-off, and how long it has to stay up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BASE_SECONDS = 0.1
"""The back-off begins here, and doubles up to the longest pause."""
_FIRST_PROGRESS_SECONDS = 2.0
"""The first line that says what is missing comes so early: somebody is looking on."""
_ATTEMPTS = 5
"""A target that has to stay up is tried about so often meanwhile, or every `interval_seconds`."""


def progress_pauses(progress_seconds: float) -> Iterator[float]:
    """Yield the pauses before each line that says what is still missing; the first one is short."""
    yield min(_FIRST_PROGRESS_SECONDS, progress_seconds)
    while True:
        yield progress_seconds


class Delays(Protocol):
    """The pauses after failures: runtime.Backoff, or a list in a test."""

    def next(self) -> float:
        """Return the next pause in seconds."""

    def reset(self) -> None:
        """Begin again with the shortest."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The settings of a schedule."""

    stable_seconds: float
    interval_seconds: float


class AttemptSchedule:
    """The schedule of one target. Times in seconds of any one clock."""

    def __init__(self, pace: Pace, delays: Delays) -> None:
        self._pace = pace
        self._delays = delays
        self._up_since: float | None = None

    def succeeded(self, now: float) -> float | None:
        """Note a success. Return the pause before the next attempt, or None: the target is ready."""
        self._delays.reset()
        if self._up_since is None:
            self._up_since = now
        left_seconds = self._up_since + self._pace.stable_seconds - now
        if left_seconds <= 0:
            return None
        return min(self._pace.interval_seconds, self._pace.stable_seconds / _ATTEMPTS, left_seconds)

    def failed(self) -> float:
        """Note a failure: what was up begins anew. Return the pause before the next attempt."""
        self._up_since = None
        return self._delays.next()

    def up_seconds(self, now: float) -> float:
        """Return for how long every attempt was a success."""
        return 0.0 if self._up_since is None else now - self._up_since
