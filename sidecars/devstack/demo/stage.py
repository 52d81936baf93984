"""What is happening in the demo right now: written by the play, read by the views."""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

_RATE_WINDOW_SECONDS = 1.2


class DemoError(Exception):
    """The demo cannot be shown; the text begins "cannot", and says what to do."""


class ActorState(StrEnum):
    """What the app, the shipper or the backend is doing."""

    ABSENT = "not started"
    STARTING = "starting"
    WRITING = "writing"
    SHIPPING = "shipping"
    RETRYING = "trying again"
    DRAINING = "draining"
    KILLED = "killed (-9)"
    ENDED = "ended"
    ANSWERING = "answering"
    AWAY = "away"


@dataclass(frozen=True)
class Event:
    """Something that happened, `seconds` after the beginning."""

    seconds: float
    text: str


@dataclass(frozen=True)
class Shipped:
    """By the shipper's own metrics: lines stored, lines that turned out to be stored already, lines sent again."""

    indexed: int = 0
    duplicates: int = 0
    retried: int = 0

    def __add__(self, other: "Shipped") -> "Shipped":
        return Shipped(self.indexed + other.indexed, self.duplicates + other.duplicates, self.retried + other.retried)

    @property
    def acknowledged(self) -> int:
        """Lines that the backend answered for, first time or not."""
        return self.indexed + self.duplicates


@dataclass(frozen=True)
class Sample:
    """The counts at one moment."""

    seconds: float
    written: int
    shipped: int
    behind: int


@dataclass
class Stage:
    """The present state of everything; times in seconds since the beginning."""

    planned_seconds: float
    planned_lines: int
    backend_name: str
    app: ActorState = ActorState.ABSENT
    shipper: ActorState = ActorState.ABSENT
    backend: ActorState = ActorState.ANSWERING
    written: int = 0
    found: int = 0
    rotations: int = 0
    shipper_pid: int = 0
    shipper_lives: int = 0
    shipped: Shipped = field(default_factory=Shipped)
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _recent: deque[Sample] = field(default_factory=deque)

    @property
    def shipped_once(self) -> int:
        """Lines that are stored by all we know, each once. What a life that was killed could not count any more is
        found by search; and the app says only now and then how much it has written.
        """
        return min(max(self.shipped.indexed, self.found), self.written)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """The clock of the timeline starts now: everything before was preparation."""
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        """Adds a line to the timeline."""
        self.events.append(Event(self.seconds, text))

    def sample(self) -> None:
        """Remembers the counts of this moment, for rates and for the curve."""
        behind = max(0, self.written - self.found)
        now = Sample(self.seconds, self.written, self.shipped_once, behind)
        self.samples.append(now)
        self._recent.append(now)
        while now.seconds - self._recent[0].seconds > _RATE_WINDOW_SECONDS:
            self._recent.popleft()

    def rates(self) -> tuple[float, float]:
        """Lines per second lately: (written, shipped)."""
        if len(self._recent) < 2:
            return 0.0, 0.0
        first, last = self._recent[0], self._recent[-1]
        seconds = max(last.seconds - first.seconds, 1e-3)
        return (last.written - first.written) / seconds, max(0, last.shipped - first.shipped) / seconds
