"""Colours, and lines that are redrawn in place where the terminal can do it: what programs for people draw with."""

import os
from typing import TextIO


def can_redraw(out: TextIO) -> bool:
    """Whether `out` is a terminal that can move its cursor."""
    return out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Ink:
    """Colours, or none of them."""

    def __init__(self, *, colored: bool) -> None:
        self._colored = colored

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colored and text else text


def ink_for(out: TextIO) -> Ink:
    """Colours on a terminal, unless NO_COLOR says otherwise (https://no-color.org)."""
    return Ink(colored=out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR"))


class Redrawn:
    """Lines that are drawn over the last ones; the cursor is hidden and lines do not wrap meanwhile."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn_lines = 0
        out.write("\x1b[?25l\x1b[?7l\n")

    def put(self, lines: list[str], *, staying: list[str] | None = None) -> None:
        """Draws `lines` over the last ones; what is `staying` goes above them, wraps, and is never drawn over."""
        up = f"\x1b[{self._drawn_lines}A" if self._drawn_lines else ""
        kept = "".join(f"{line}\x1b[K\n" for line in staying or [])
        above = f"\x1b[J\x1b[?7h{kept}\x1b[?7l" if kept else ""
        self._out.write(up + above + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._out.flush()
        self._drawn_lines = len(lines)

    def close(self) -> None:
        """What is drawn stays."""
        self._out.write("\x1b[?25h\x1b[?7h\n")
        self._out.flush()
