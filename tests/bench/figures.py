"""Where figures come from and how they are shown.

CPU is user plus system time of the whole process (/proc/PID/stat, in ticks of 10 ms), memory its VmHWM (peak) and VmRSS
(/proc/PID/status), context switches the voluntary ones of all its threads: the kernel's own books, read from
outside, the same for every program.
"""

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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


def judged(what: str, value: float, bar: float | None, digits: int = 1, *, least: bool = False) -> Row:
    """A figure and the most (or the least) that it may be; without a bar it is only shown."""
    shown = f"{value:,.{digits}f}"
    if bar is None:
        return Row(what, shown)
    return Row(what, shown, f"{'>=' if least else '<='} {bar:,g}", value >= bar if least else value <= bar)


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


def p99(values: Sequence[float]) -> float:
    """By nearest rank: of up to a hundred it is the highest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


@dataclass(frozen=True)
class Rest:
    """What a program does while nothing happens. A wake-up is a voluntary context switch of one of its threads."""

    resident_mib: float
    cpu_ms_per_second: float
    wakeups_per_second: float


def at_rest(programs: Mapping[str, Process], seconds: float) -> dict[str, Rest]:
    """Measure programs at the same time, while this many seconds pass."""
    before = {name: (one.cpu_seconds(), one.voluntary_switches()) for name, one in programs.items()}
    began = time.monotonic()
    pause(seconds, f"at rest: {', '.join(programs)}")
    passed, found = time.monotonic() - began, {}
    for name, one in programs.items():
        cpu_seconds, switches = before[name]
        cpu_ms = 1000 * (one.cpu_seconds() - cpu_seconds) / passed
        found[name] = Rest(one.resident_mib(), cpu_ms, (one.voluntary_switches() - switches) / passed)
    return found


def show_rests(rests: Mapping[str, Rest]) -> None:
    """Print them as a table."""
    table(
        ("program", "RSS MiB", "CPU ms per s", "wake-ups per s"),
        [
            (name, f"{one.resident_mib:.1f}", f"{one.cpu_ms_per_second:.2f}", f"{one.wakeups_per_second:.2f}")
            for name, one in rests.items()
        ],
    )


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
