"""Where figures come from and how they are shown.

CPU is user plus system time of the whole process (/proc/PID/stat, in ticks of 10 ms), memory its VmHWM (peak) and VmRSS
(/proc/PID/status), context switches the voluntary ones of all its threads: the kernel's own books, read from
outside, the same for every program.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Process:
    """A running program, seen through /proc."""

    pid: int

    def cpu_seconds(self) -> float:
        """User and system time since its start."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def check(self) -> None:
        """Raise Broken when it has ended."""
        if self._stat()[0] == "Z":
            raise Broken("the program has ended by itself")

    def peak_mib(self) -> float:
        """The highest resident memory so far."""
        return self._status("VmHWM:") / 1024

    def resident_mib(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS:") / 1024

    def voluntary_switches(self) -> int:
        """How often its threads went to sleep: each is a wake-up, too."""
        statuses = [path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/status")]
        return sum(_value(text, "voluntary_ctxt_switches:") for text in statuses)

    def _stat(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def _status(self, key: str) -> int:
        return _value(Path(f"/proc/{self.pid}/status").read_text(), key)


def _value(status: str, key: str) -> int:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(key))


@dataclass(frozen=True)
class Row:
    """A line of the summary: what was measured, and the bar it is held against (met: None when there is none)."""

    what: str
    measured: str
    bar: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """Of one benchmark: its rows, and what was broken (lost lines, ended programs), which is what fails a run."""

    rows: Sequence[Row]
    broken: Sequence[str] = ()


class Broken(Exception):
    """The benchmark cannot give figures, because something does not work at all."""


def wait_until(condition: Callable[[], bool], what: str, instead: Callable[[], str] = str) -> None:
    """Look again and again until it is so. Raises Broken, with what there is instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"waited {_PATIENCE_SECONDS:.0f} s in vain for: {what}; {instead()}")
        time.sleep(_LOOK_SECONDS)


def say(text: str) -> None:
    """Progress and results, as they come."""
    print(text, flush=True)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Lowest, median and highest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{low:,.{digits}f} / {middle:,.{digits}f} / {high:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as needed, the first one to the left."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, tuple("-" * width for width in widths), *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        say("  " + "  ".join(cells))


def pause(seconds: float, what: str) -> None:
    """Let a measured interval pass, with a sign of life on a terminal."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if sys.stdout.isatty():
            print(f"\r  {what}: {left:3.0f} s left ", end="", flush=True)
        time.sleep(min(1.0, left))
    if sys.stdout.isatty():
        print("\r" + " " * (len(what) + 20) + "\r", end="", flush=True)
