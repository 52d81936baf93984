"""What goes into the state machine of rollout.py (events), and what comes out of it: actions, and facts for the log and
the metrics. Values only; times are monotonic seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from sidecars.kit.notify.core.outcome import Outcome

from .advance import Value
from .plan import Done, PlanStep
from .snapshot import Snapshot
from .steps import Step


class Initial(StrEnum):
    """Whether the app is notified of the content that is there at the first start."""

    NONE = "none"
    WHEN_READY = "when-ready"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be rolled out. `number`: contents are counted. `seen_at`: when it was first seen; `since`: since when
    the app lacks the newest content.
    """

    number: int
    hash: str
    seen_at: float
    since: float
    notifies: bool = True
    """Whether the app is notified; otherwise the content is only rendered, validated and published."""
    when_ready: bool = False
    """Wait, without an attempt, until somebody is there to be notified."""
    forced: bool = False
    """Also when the app has this content already, and without splay."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about rollouts. `once`: prepare one content, notify nobody, try nothing twice."""

    steps: tuple[Step, ...] = ()
    renders: bool = False
    initial: Initial = Initial.NONE
    quiet_seconds: float = 0.0
    max_wait_seconds: float = inf
    splay_seconds: float = 0.0
    once: bool = False


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known from before the start: from the state file, and from the folder that the app reads.

    `applied`: the content that the app has. `possible`: content that it may have been given since. `refused`: content
    that was rolled back. All hashes, "" for none. `output`: the folder of the published generation.
    """

    applied: str = ""
    possible: str = ""
    refused: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Content that is not in force, and why."""

    content: Content
    done: Done
    at: float


# Events.


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot was taken. The first one is the start."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for the content of this snapshot, which is whole, to be rolled out now, whatever the app has."""

    request: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended; without `outcome` because it was cancelled. `folder`: the generation that was rendered, or put
    back, and `hash` its content. `observed`: what the confirm steps saw, by their index.
    """

    number: int
    outcome: Outcome | None
    folder: str = ""
    hash: str = ""
    observed: Mapping[int, Value | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is `wake_at`."""


Event = Seen | Asked | AttemptEnded | TimePassed


# Actions.


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """Begin this attempt: of which step, with which content, in which folder (rendered; "": as watched). `others`: the
    steps that a HOLD or an OBSERVE is about. `observed`: what a CONFIRM saw before.
    """

    number: int
    step: PlanStep
    hash: str
    folder: str = ""
    others: tuple[PlanStep, ...] = ()
    observed: Value | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel this attempt."""

    number: int


@dataclass(frozen=True, slots=True)
class WriteState:
    """Write down what is known, before what comes after this."""

    remembered: Remembered


@dataclass(frozen=True, slots=True)
class Keep:
    """This published generation is good: it is the one to go back to."""

    folder: str


@dataclass(frozen=True, slots=True)
class Discard:
    """This generation was rendered and is not wanted."""

    folder: str


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """Answer a request; without `done` because it takes too long, with what holds it up."""

    request: int
    hash: str
    done: Done | None
    blocked: str = ""


# Facts, for the log and the metrics.


@dataclass(frozen=True, slots=True)
class ContentChanged:
    """New content is to be rolled out."""

    hash: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """How an attempt ended. `attempts`: how many there were. `repeated`: the content was rejected before, and that was
    said. `given_up`: it hung, and newer content took its place.
    """

    step: PlanStep
    outcome: Outcome
    attempts: int
    repeated: bool
    given_up: bool


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """How a content ended, or is going to: not yet `ended` when it is still being rolled back, or only remembered.
    `notified`: the app heard of it just now. `repeated`: that it is refused was said before.
    """

    content: Content
    done: Done
    seconds: float
    notified: bool = False
    repeated: bool = False
    ended: bool = True


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The last good generation is published again."""

    content: Content
    done: Done


Fact = ContentChanged | StepReport | RolloutReport | RolledBack
Action = StepAttempt | Cancel | WriteState | Keep | Discard | RequestAnswer | Fact
