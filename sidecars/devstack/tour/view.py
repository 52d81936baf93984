"""What the tour has shown so far and shows right now, and how a terminal shows it: lines that stay, and below them,
where the terminal can redraw, what is going on just now. The steps write the board, the views read it.
"""

import textwrap
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TextIO

from sidecars.devstack.terminal import Ink, Redrawn, can_redraw, ink_for

_COLUMNS = 80


class StepError(Exception):
    """Something is not as it has to be."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}, and saw {seen}")
        self.expected = expected
        self.seen = seen


class LineKind(StrEnum):
    """How a line is meant."""

    TITLE = "title"
    STEP = "step"
    FACT = "fact"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Line:
    """A line that stays on the screen."""

    kind: LineKind
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
        self.lines.append(Line(LineKind.TITLE, text))

    def begin(self, step: str) -> None:
        """The next step."""
        self.steps += 1
        self.step = step
        self.step_began = time.monotonic()
        self.lines.append(Line(LineKind.STEP, f"{self.steps:>2}  {step}"))

    def fact(self, text: str) -> None:
        """What happened in this step."""
        lines = textwrap.wrap(text, _COLUMNS, initial_indent=" " * 6, subsequent_indent=" " * 8, break_on_hyphens=False)
        self.lines += [Line(LineKind.FACT, line) for line in lines]

    def quote(self, lines: Iterable[str]) -> None:
        """What somebody else said, as it is."""
        self.lines += [Line(LineKind.FACT, f"      {line}") for line in lines]

    def end(self, error: StepError | None = None) -> None:
        """The step is over."""
        if error is None:
            self.lines.append(Line(LineKind.GOOD, f"    ok, {self.seconds:.1f} s"))
        else:
            self.lines.append(Line(LineKind.BAD, f"    NOT GOOD after {self.seconds:.1f} s"))
            self.lines.append(Line(LineKind.BAD, f"      expected: {error.expected}"))
            self.lines.append(Line(LineKind.BAD, f"      seen:     {error.seen}"))
        self.step = ""

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self.step_began


_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
_COLORS = {LineKind.TITLE: _BOLD, LineKind.STEP: _BOLD, LineKind.FACT: _DIM, LineKind.GOOD: _GREEN, LineKind.BAD: _RED}
_WELL = ("healthy", "running", "ended with 0")
_TURNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class View(Protocol):
    """Shows a board while it changes."""

    def draw(self) -> None:
        """To be called a few times a second."""

    def close(self) -> None:
        """Draws for the last time, and leaves the terminal as it was."""


def view_for(board: Board, out: TextIO) -> View:
    """The live view where that is possible, else the plain one."""
    return LiveView(board, out, ink_for(out)) if can_redraw(out) else PlainView(board, out)


class PlainView:
    """For logs and pipes: each line once."""

    def __init__(self, board: Board, out: TextIO) -> None:
        self._board = board
        self._out = out
        self._shown = 0

    def draw(self) -> None:
        """Prints what is new."""
        new = self._board.lines[self._shown :]
        self._shown += len(new)
        for line in new:
            print(line.text, file=self._out)
        self._out.flush()

    def close(self) -> None:
        """Prints what is new."""
        self.draw()


class LiveView:
    """The same lines, in colour, and the moment below them."""

    def __init__(self, board: Board, out: TextIO, ink: Ink) -> None:
        self._board = board
        self._ink = ink
        self._shown = 0
        self._turns = 0
        self._drawn = Redrawn(out)

    def draw(self) -> None:
        """Adds what is new, and draws the moment anew."""
        self._turns += 1
        self._put(moment(self._board, self._ink, _TURNING[self._turns % len(_TURNING)]))

    def close(self) -> None:
        """The moment goes, the lines stay."""
        self._put([])
        self._drawn.close()

    def _put(self, lines: list[str]) -> None:
        new = self._board.lines[self._shown :]
        self._shown += len(new)
        self._drawn.put(lines, staying=[_colored(line, self._ink) for line in new])


def moment(board: Board, ink: Ink, turning: str) -> list[str]:
    """What is going on right now, as lines of at most 80 columns."""
    title = f"  {turning} {board.step}"
    lines = ["", title + f"{board.seconds:.1f} s".rjust(78 - len(title))] if board.step else [""]
    for name, state in board.services.items():
        good = state.startswith(_WELL)
        lines.append(f"    {ink(_DIM, name.ljust(16))}{ink(_GREEN if good else _YELLOW, '● ' + state)}")
    counts = f"{board.answered:,} answered, {board.turned_away:,} turned away, {board.found:,} found"
    return [*lines, f"    {ink(_DIM, 'guests'.ljust(16))}{ink(_CYAN, counts)}"]


def _colored(line: Line, ink: Ink) -> str:
    return ink(_COLORS[line.kind], line.text)
