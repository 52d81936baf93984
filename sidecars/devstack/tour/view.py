"""The tour on a terminal: lines that stay, and below them, where the terminal can redraw, what is going on just now."""

from typing import Protocol, TextIO

from sidecars.devstack.demo.view import Ink, Redrawn, can_redraw, ink_for

from .board import Board, Kind, Line

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
_COLORS = {Kind.TITLE: _BOLD, Kind.STEP: _BOLD, Kind.FACT: _DIM, Kind.GOOD: _GREEN, Kind.BAD: _RED}
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
