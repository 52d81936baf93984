"""What the tour has shown so far and shows right now: written by the steps, read by the views."""

import textwrap
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

_COLUMNS = 80


class TourError(Exception):
    """The tour cannot be shown; the text begins "cannot", and says what to do."""


class StepError(Exception):
    """Something is not as it has to be."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}, and saw {seen}")
        self.expected = expected
        self.seen = seen


class Kind(StrEnum):
    """How a line is meant."""

    TITLE = "title"
    STEP = "step"
    FACT = "fact"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Line:
    """A line that stays on the screen."""

    kind: Kind
    text: str


@dataclass
class Board:
    """All lines so far, and the state of this moment."""

    lines: list[Line] = field(default_factory=list)
    services: dict[str, str] = field(default_factory=dict)
    answered: int = 0
    turned_away: int = 0
    found: int = 0
    step: str = ""
    steps: int = 0
    step_began: float = 0.0

    def title(self, text: str) -> None:
        """Above and below the steps."""
        self.lines.append(Line(Kind.TITLE, text))

    def begin(self, step: str) -> None:
        """The next step."""
        self.steps += 1
        self.step = step
        self.step_began = time.monotonic()
        self.lines.append(Line(Kind.STEP, f"{self.steps:>2}  {step}"))

    def fact(self, text: str) -> None:
        """What happened in this step."""
        lines = textwrap.wrap(text, _COLUMNS, initial_indent=" " * 6, subsequent_indent=" " * 8, break_on_hyphens=False)
        self.lines += [Line(Kind.FACT, line) for line in lines]

    def quote(self, lines: Iterable[str]) -> None:
        """What somebody else said, as it is."""
        self.lines += [Line(Kind.FACT, f"      {line}") for line in lines]

    def end(self, error: StepError | None = None) -> None:
        """The step is over."""
        if error is None:
            self.lines.append(Line(Kind.GOOD, f"    ok, {self.seconds:.1f} s"))
        else:
            self.lines.append(Line(Kind.BAD, f"    NOT GOOD after {self.seconds:.1f} s"))
            self.lines.append(Line(Kind.BAD, f"      expected: {error.expected}"))
            self.lines.append(Line(Kind.BAD, f"      seen:     {error.seen}"))
        self.step = ""

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self.step_began
