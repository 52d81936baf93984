"""`latency`: from a line written to the bulk request that carries it: in a new file, and in one that was idle.

The clock starts before the file is created (or appended to) and stops when the request's head has reached the sink,
so noticing, reading and the wait for company in a batch (`batch_seconds`) are all in it. Runs begin at random
moments, so that no timer of the program is met in step. The p99 of fifty runs is their slowest.
"""

import random
import statistics
import time
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Process, judged, p99, pause, say, wait_until
from tests.bench.shippers import bench, ours, running, wait_for_lines
from tests.bench.sink import Handle

_NEW_RUNS = 50
_IDLE_RUNS = 25
_BAR_SECONDS = 1.0
_IDLE_SECONDS = 2.0
"""Longer than the shipper takes a file for busy, so that it has to be woken up by an event."""


def measure() -> Outcome:
    """Ours; new files first, then an idle one."""
    chance = random.Random(3)
    with bench() as (folder, served):
        idle = folder / "logs" / "idle.log"
        idle.parent.mkdir()
        lines.write(idle, 0, 1)
        with running(ours(), folder, served.port) as process:
            wait_for_lines(process, served, 1)
            new_seconds, idle_seconds = [], []
            for number in range(1, _NEW_RUNS + 1):
                pause(chance.uniform(0.2, 1.2), "a moment")
                new_seconds.append(_seconds(process, served, idle.with_name(f"new-{number}.log"), number))
            say(f"  {_NEW_RUNS} new files: {_text(new_seconds)}")
            for number in range(_NEW_RUNS + 1, _NEW_RUNS + 1 + _IDLE_RUNS):
                pause(chance.uniform(_IDLE_SECONDS, _IDLE_SECONDS + 1), "the file is idle")
                idle_seconds.append(_seconds(process, served, idle, number))
            say(f"  {_IDLE_RUNS} lines in an idle file: {_text(idle_seconds)}")
    return Outcome(
        (
            judged("new file to its first request, p99 s", p99(new_seconds), _BAR_SECONDS, 2),
            judged("line in an idle file to its request, p99 s", p99(idle_seconds), _BAR_SECONDS, 2),
        )
    )


def _seconds(process: Process, served: Handle, log: Path, number: int) -> float:
    """One line, until its request is there."""
    served.tell("mark")
    began = time.monotonic()
    lines.write(log, number, 1)
    wait_until(lambda: served.books()["marked_at"] is not None, "a bulk request", served.as_text)
    wait_for_lines(process, served, number + 1)
    return float(served.books()["marked_at"]) - began


def _text(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, p99 {p99(seconds):.2f} s, lowest {min(seconds):.2f} s"
