"""Stopping, and the project's only clocks and sleeps.

Every wait in a sidecar must end when a stop is asked for, so sleeping belongs to the stop; keeping the clocks here
too lets the linter forbid them everywhere else, which is what keeps the deciding code pure and the tests on virtual
time.
"""

import asyncio
import math
import time
from datetime import UTC, datetime

_SHORTEST_SECONDS = 0.001
"""No wait is shorter; see `seconds_until`."""


def now() -> float:
    """Return the wall clock: seconds since 1970, for showing and for comparing with other machines' times."""
    return time.time()


def monotonic() -> float:
    """Return a clock for measuring spans: the running loop's own (virtual in tests), else the system's."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # not on a loop
        return time.monotonic()


def seconds_until(at: float) -> float:
    """Return how long to wait until a time of `monotonic`: 0 when it has come, else at least a millisecond.

    A loop may end a wait up to its clock's resolution too early (asyncio's `call_at`), and does not wait at all for
    less. Who then compares the clock again, finds that it is not time yet, and waits again, would turn on the spot.
    """
    return _at_least_a_moment(at - monotonic())


def _at_least_a_moment(seconds: float) -> float:
    return max(seconds, _SHORTEST_SECONDS) if seconds > 0 else 0.0


def rfc3339(at_seconds: float) -> str:
    """Return a wall-clock time as RFC 3339 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Stop:
    """The request to stop: made once, seen by all, with a deadline `grace_seconds` later (on the loop's clock)."""

    def __init__(self, grace_seconds: float = 30.0) -> None:
        self.grace_seconds = grace_seconds
        self.reason = ""
        self.since = 0.0  # wall clock of the request
        self._event = asyncio.Event()
        self._deadline = math.inf

    @property
    def requested(self) -> bool:
        """Whether somebody asked for the stop."""
        return self._event.is_set()

    def request(self, reason: str) -> None:
        """Ask for the stop and start the grace. Later requests change nothing: the first deadline stands."""
        if self.requested:
            return
        self.reason = reason
        self.since = now()
        self._deadline = monotonic() + self.grace_seconds
        self._event.set()

    def remaining(self) -> float:
        """Return the seconds of grace left: infinity before the request, never below zero."""
        return max(0.0, self._deadline - monotonic())

    async def wait(self) -> None:
        """Return when the stop is requested."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> bool:
        """Sleep, or return early when the stop is requested. Returns True when it is requested."""
        try:
            async with asyncio.timeout(_at_least_a_moment(seconds)):
                await self._event.wait()
        except TimeoutError:
            pass  # slept to the end
        return self.requested

    async def pause(self, seconds: float) -> None:
        """Sleep to the end, stop or no stop: for the pauses of what a stopping sidecar still tries."""
        await asyncio.sleep(_at_least_a_moment(seconds))
