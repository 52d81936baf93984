"""When the reading side looks at names, at sizes and at closed files, and when a batch is handed on.

The kernel tells of new names and of writes, but a file that is written thousands of times a second must not wake us as
often: it is looked at on a timer instead (it is hot), and so is all that lies in its folder. What is looked at costs
by how much there is; so a look that took long is followed by a long pause.
"""

import math
from enum import StrEnum

POLL_SECONDS = 0.1
"""How often a hot file is looked at."""
_HOT_SECONDS = 1.0
"""A file that did not grow for so long is left to the kernel to tell of."""
_ROUND_SECONDS = 0.5
"""While a file is hot, all open files are looked at so often ..."""
_CLOSED_SHARE = 1 / 8
"""... and so much of the closed ones at each poll, that all of them are within a second."""
_SCAN_SECONDS = 2.0
_POLLED_SCAN_SECONDS = 0.5
"""Where the kernel tells nothing."""
_LONGEST_SCAN_PAUSE_SECONDS = 30.0
_PAUSES = 200
"""A scan without a cause is followed by a pause of so many times its own duration: half a percent of a core ..."""
_LEAST_PAUSES = 10
"""... and one that new names cause by so many times that, ..."""
_LONGEST_NAMES_PAUSE_SECONDS = 0.5
"""... but no longer: a new file is met within a second."""
_COMPANY_SECONDS = 0.05
"""After a pause, the first lines wait for so long for others to go with them."""


class Scan(StrEnum):
    """What to look at."""

    NONE = "none"
    NAMES = "names"
    """All names, and the files of those that are new. A tenth of the cost of all files."""
    ALL = "all"


class ReadSchedule:
    """The next time of each. Times are in seconds, of one steady clock."""

    def __init__(self, batch_seconds: float) -> None:
        self._batch_seconds = batch_seconds
        self._scan_due = -math.inf
        self._names_due = math.inf
        self._names_after = -math.inf
        self._round_due = -math.inf
        self._flush_due = math.inf
        self._flushed_at = -math.inf

    def scan_due(self, now: float, *, names_changed: bool) -> Scan:
        """Return what to look at: all files when it is time, else the names when there are new ones."""
        if now >= self._scan_due:
            return Scan.ALL
        must_look = now >= self._names_due or (names_changed and now >= self._names_after)
        return Scan.NAMES if must_look else Scan.NONE

    def scanned(self, began: float, now: float, scan: Scan, *, polling: bool) -> None:
        """Note that all names were looked at. `polling`: the kernel tells nothing."""
        took = now - began
        self._names_after = now + min(took * _LEAST_PAUSES, _LONGEST_NAMES_PAUSE_SECONDS)
        self._names_due = math.inf
        self._round_due = now + _ROUND_SECONDS
        if scan is Scan.ALL and polling:
            self._scan_due = max(began + _POLLED_SCAN_SECONDS, self._names_after)
        elif scan is Scan.ALL:
            pause = min(took * _PAUSES, _LONGEST_SCAN_PAUSE_SECONDS)
            self._scan_due = max(began + max(_SCAN_SECONDS, pause), self._names_after)

    def scan_soon(self, now: float) -> None:
        """Note that the last scan could not do all it had to."""
        self._names_due = min(self._names_due, max(self._names_after, now + POLL_SECONDS))

    def must_refresh_all(self, now: float, *, told: bool) -> bool:
        """Tell whether to look at all open files, and not only at the hot ones. `told`: the kernel told of a write."""
        if told or now >= self._round_due:
            self._round_due = now + _ROUND_SECONDS
            return True
        return False

    @staticmethod
    def share_of_closed(*, told: bool, hot: bool) -> float:
        """Return how much of the closed files to look at: all of them when a write was told of that is in no open file
        (`hot` is false), their share while some file is hot, else none.
        """
        if hot:
            return _CLOSED_SHARE
        return 1.0 if told else 0.0

    def batch_begun(self, now: float) -> None:
        """Note the first record of a batch. One that comes after a pause does not wait: there are no more requests for
        that than one in each `batch_seconds`.
        """
        company_seconds = min(_COMPANY_SECONDS, self._batch_seconds)
        self._flush_due = max(now + company_seconds, self._flushed_at + self._batch_seconds)

    def flushed(self, now: float) -> None:
        """Note that the batch was handed on."""
        self._flushed_at, self._flush_due = now, math.inf

    def must_flush(self, now: float) -> bool:
        """Tell whether the batch has waited long enough for company."""
        return now >= self._flush_due

    def next_at(self, now: float, *, hot: bool, has_room: bool, names_changed: bool) -> float:
        """Return when there is something to do, if nothing happens before."""
        due = min(self._scan_due, self._names_due, self._flush_due)
        if hot:
            due = min(due, now + (POLL_SECONDS if has_room else _ROUND_SECONDS))
        return min(due, self._names_after) if names_changed else due


def is_hot(grown_at: float, now: float) -> bool:
    """Tell whether a file that grew at this time is looked at on a timer."""
    return now - grown_at < _HOT_SECONDS
