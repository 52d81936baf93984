"""The waiting room: local connections that cannot be served yet, bounded in number and time; and the limit that makes
some of them wait. Pure.
"""

from dataclasses import dataclass

from .causes import Cause


@dataclass(slots=True)
class Ticket:
    """The place of one connection in the room. `since` is infinite while it does not wait."""

    left_seconds: float
    since: float = float("inf")


class WaitingRoom:
    """How many wait, and for how long each may."""

    def __init__(self, places: int, seconds: float) -> None:
        self._places = places
        self._seconds = seconds
        self.waiting = 0

    def ticket(self) -> Ticket:
        """Return the ticket of a connection that has come."""
        return Ticket(self._seconds)

    def enter(self, ticket: Ticket, now: float) -> Cause | None:
        """Begin to wait. Return why that is not possible, or None."""
        if ticket.left_seconds <= 0:
            return Cause.NO_UPSTREAM
        if self.waiting >= self._places:
            return Cause.ROOM_FULL
        self.waiting += 1
        ticket.since = now
        return None

    def leave(self, ticket: Ticket, now: float) -> None:
        """End to wait: the time is used up by so much."""
        if ticket.since <= now:
            ticket.left_seconds -= now - ticket.since
        ticket.since = float("inf")
        self.waiting -= 1


class Limit:
    """How many connections are served at once; 0: any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    def take(self) -> bool:
        """Take a place, if there is one."""
        if self._most and self.taken >= self._most:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Give a place back."""
        self.taken -= 1
