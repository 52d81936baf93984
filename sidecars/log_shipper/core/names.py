"""Which file each path led to, to notice that it leads to another one now, and what may have been missed meanwhile."""

from collections.abc import Container, Mapping
from typing import Protocol

from .identity import FileKey

_OVERTAKEN_SECONDS = 2.0
"""So long after a rotation one goes on looking for generations that nobody saw: a folder that is listed while its files
are being renamed shows some of them under no name at all."""


class LedTo(Protocol):
    """The file that a path led to, and the modification time that it had then."""

    @property
    def key(self) -> FileKey:
        """Return which file it is."""

    @property
    def modified_ns(self) -> int:
        """Return the time in nanoseconds."""


class Names:
    """The last known file of each path."""

    def __init__(self, known: Mapping[str, LedTo]) -> None:
        self._known = dict(known)
        self._searches: dict[str, tuple[int, float]] = {}

    def changed(self, found: Mapping[str, LedTo], followed: Container[FileKey], now: float) -> list[str]:
        """Take what the paths lead to now; returns those that led to another file before and lead to one that is not
        followed yet (the others are former generations that were renamed once more).

        A path that leads nowhere for the moment, between rename and create, is remembered as long as its file is.
        """
        rotated: list[str] = []
        for path, led in found.items():
            before = self._known.get(path, led)
            if before.key != led.key and before.key in followed and led.key not in followed:
                rotated.append(path)
                self.search(path, before.modified_ns, now)
        kept = {path: led for path, led in self._known.items() if path not in found and led.key in followed}
        self._known = {**kept, **found}
        return rotated

    def search(self, path: str, since_ns: int, now: float) -> None:
        """Note that there may be generations of `path` that nobody saw, from this modification time on."""
        self._searches[path] = (min(since_ns, self._searches.get(path, (since_ns, now))[0]), now)

    def searches(self, now: float) -> dict[str, int]:
        """The paths rotated a moment ago, with the modification time from which on there may be generations of them
        that nobody saw.
        """
        self._searches = {path: at for path, at in self._searches.items() if now - at[1] < _OVERTAKEN_SECONDS}
        return {path: since_ns for path, (since_ns, _) in self._searches.items()}

    def search_on(self, path: str, now: float) -> None:
        """Note that there was one: there may be more."""
        self._searches[path] = (self._searches[path][0], now)
