"""The project's only clocks.

Exists as a module of its own so that the linter can forbid clocks everywhere else: that keeps the deciding code pure
and the tests on virtual time. Sleeping is in stop.py.
"""

import asyncio
import time
from datetime import UTC, datetime

_SHORTEST_SECONDS = 0.001
"""No wait is shorter; see `seconds_until`."""


def now() -> float:
    """Return the wall clock: seconds since 1970, for showing and for comparing with other machines' times."""
    return time.time()


def monotonic() -> float:
    """Return a clock for measuring spans, in seconds: the running loop's own (virtual in tests), else the system's."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # not on a loop
        return time.monotonic()


def seconds_until(at: float) -> float:
    """Return how long to wait until a time of `monotonic`: 0 when it has come, else at least a millisecond.

    A loop may end a wait up to its clock's resolution too early (asyncio's `call_at`), and does not wait at all for
    less. A caller that then compares the clock again, finds that it is not time yet, and waits again, would spin.
    """
    return at_least_a_moment(at - monotonic())


def at_least_a_moment(seconds: float) -> float:
    """Return a time to wait, lengthened to the millisecond that a loop needs in order to wait at all."""
    return max(seconds, _SHORTEST_SECONDS) if seconds > 0 else 0.0


def rfc3339(at_seconds: float) -> str:
    """Return a wall-clock time as RFC 3339 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
