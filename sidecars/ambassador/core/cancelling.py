"""Which node a CancelRequest is for: the keys of the sessions that run. Pure.

A request for another node would cancel nothing there, or the wrong query: process ids are the same on many nodes, so
the whole key decides.
"""

from typing import Generic, TypeVar

P = TypeVar("P")


class CancelKeys(Generic[P]):
    """The places of sessions, by process id and secret key. What is unknown is forwarded nowhere."""

    def __init__(self) -> None:
        self._places: dict[bytes, P] = {}

    def remember(self, key: bytes, place: P) -> None:
        """Keep where a session is."""
        if key:
            self._places[key] = place

    def forget(self, key: bytes, place: P) -> None:
        """Drop a session that has ended, unless another one has got the same key since."""
        if key in self._places and self._places[key] == place:
            del self._places[key]

    def place(self, key: bytes) -> P | None:
        """Return where the session with this key is."""
        return self._places.get(key)

    def __len__(self) -> int:
        return len(self._places)
