"""One upstream as it is known: healthy or not, its role, whether it is left out for a while. Pure: `now` is handed in.

Events in (a check ended, a connect ended), changes out. Nothing here forgets by itself: who was the primary stays it
until a check says otherwise.
"""

from dataclasses import dataclass
from enum import StrEnum

from .causes import Cause

EJECT_SECONDS, EJECT_LONGEST_SECONDS = 1.0, 30.0
_LEAST_SHARE = 0.1  # of its weight, with which slow start begins


class NodeRole(StrEnum):
    """What a node is, as it says itself."""

    UNKNOWN = "unknown"
    PRIMARY = "primary"
    REPLICA = "replica"


class NodeHealth(StrEnum):
    """What the checks say of an upstream."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


class NodeChange(StrEnum):
    """What an event has changed."""

    UP = "up"
    DOWN = "down"
    ROLE = "role"
    EJECTED = "ejected"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check ended. `role` UNKNOWN: the check cannot tell, or the node says neither. `cause` of a failure is
    None when it is not about the connection, as with a password.
    """

    ok: bool
    role: NodeRole = NodeRole.UNKNOWN
    detail: str = ""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How many results in a row change the health, and how slowly a node that has come back takes its share."""

    rise: int = 1
    fall: int = 2
    slow_start_seconds: float = 0.0


class UpstreamState:
    """The state of one upstream."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.health = NodeHealth.UNKNOWN
        self.role = NodeRole.UNKNOWN
        self.primary_since = float("inf")
        """Since when it has been a primary without a break."""
        self.detail = ""
        """Why the last check failed; empty when it did not."""
        self.cause: Cause | None = None
        """The cause of that, where it is about the connection."""
        self.connect_failure: Cause | None = None
        """Why the last connect failed; None when it did not."""
        self.ejected_until = -float("inf")
        self.up_since = -float("inf")
        self.away_until = -float("inf")
        """Until when somebody has asked to stay away from it."""
        self._row = 0  # results in a row against the present health
        self._connect_failures = 0
        self._ejections = 0

    def checked(self, result: CheckResult, now: float) -> set[NodeChange]:
        """Take the result of a check. A role counts at once; health by rise and fall, but the first result at once."""
        changes = self._counted(result.ok, now)
        self.detail, self.cause = result.detail, result.cause
        if result.ok:
            self._connect_failures = self._ejections = 0
            self.ejected_until = -float("inf")
            if result.role is not self.role:
                changes.add(NodeChange.ROLE)
                self.role = result.role
        if self.health is NodeHealth.UP and self.role is NodeRole.PRIMARY:
            self.primary_since = min(self.primary_since, now)
        else:
            self.primary_since = float("inf")
        return changes

    def connected(self) -> None:
        """Take note of a connect that worked."""
        self._connect_failures = self._ejections = 0
        self.connect_failure = None
        self.ejected_until = -float("inf")

    def connect_failed(self, cause: Cause, now: float) -> set[NodeChange]:
        """Take note of a connect that did not work; as many in a row as `fall` eject it, longer each time."""
        self.connect_failure = cause
        self._connect_failures += 1
        if self._connect_failures < self._patience.fall:
            return set()
        self._connect_failures = 0
        self._ejections += 1
        self.ejected_until = now + min(EJECT_LONGEST_SECONDS, EJECT_SECONDS * 2.0 ** min(self._ejections - 1, 10))
        return {NodeChange.EJECTED}

    def is_ejected(self, now: float) -> bool:
        """Whether connects to it have failed so often that it is left out while there is another one."""
        return now < self.ejected_until

    def is_away(self, now: float) -> bool:
        """Whether somebody has asked to stay away from it."""
        return now < self.away_until

    def share(self, now: float) -> float:
        """Return which part of its weight it gets: less than 1 for a while after it has come back."""
        slow = self._patience.slow_start_seconds
        return 1.0 if not slow else min(1.0, max(_LEAST_SHARE, (now - self.up_since) / slow))

    def _counted(self, ok: bool, now: float) -> set[NodeChange]:  # noqa: FBT001 (the one fact that is counted)
        towards = NodeHealth.UP if ok else NodeHealth.DOWN
        if self.health is towards:
            self._row = 0
            return set()
        self._row += 1
        is_first = self.health is NodeHealth.UNKNOWN
        if not is_first and self._row < (self._patience.rise if ok else self._patience.fall):
            return set()
        self._row = 0
        self.health = towards
        if ok and not is_first:
            self.up_since = now
        return {NodeChange.UP if ok else NodeChange.DOWN}
