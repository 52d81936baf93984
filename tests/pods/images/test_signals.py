"""SIGTERM at a random moment within two seconds of the start: each image ends with its documented status, soon.

The sidecar is process 1 of its container: there the kernel drops a signal that the process has no handler for
(pid_namespaces(7)), and so is one to the engine's own process, which is there first. The images therefore begin with
`env --block-signal`; a signal is sent from the moment on that it has done so, and how long that takes is printed.
"""

import random
import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pods.images.conftest import Figure, Lab
from tests.pods.images.rows import ROWS, Row
from tests.support.engine import Container, seconds_of
from tests.support.scale import scaled
from tests.support.waiting import until

RUNS = scaled(8, 50)
WITHIN_SECONDS = 2.0
AT_MOST_SECONDS = 5.0
"""A signal that is lost is waited for until the grace is over; how quick it is when it is heard, is printed."""
ATTEMPTS = 3
TITLE = f"images: SIGTERM at {RUNS} random moments within {WITHIN_SECONDS:.0f} s of the start"
Table = Callable[[str, str], None]


class End(NamedTuple):
    """How it ended: its status, the seconds from the signal to its end, and those from its start until it was heard."""

    status: int
    seconds: float
    deaf_seconds: float
    moment: float


def hears(pid: int) -> bool:
    """Whether SIGTERM is held back, or has a handler. At first the process is the engine's, which has one too."""
    if not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/usr/bin/python3\0"):
        return False
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigCgt"))]
    return any(mask & 1 << (signal.SIGTERM - 1) for mask in masks)


def ended(container: Container, moment: float) -> End:
    """Start it, and send the signal that many seconds later."""
    try:
        state = container.start().state()
        started_at = seconds_of(state["StartedAt"])
        until(lambda: hears(state["Pid"]), "the sidecar to hear signals")
        deaf_seconds = time.time() - started_at
        while time.time() < started_at + moment:
            time.sleep(0.001)
        at = container.signal("TERM")
        status = container.wait()
        return End(status, seconds_of(container.state()["FinishedAt"]) - at, deaf_seconds, moment)
    finally:
        container.remove()


def ended_at_once(row: Row, lab: Lab, moment: float) -> list[End]:
    """The attempts at one moment. One that took too long is made again, not more than twice: what is due to us comes
    again, what is due to others on this machine hardly does.
    """
    attempts: list[End] = []
    while len(attempts) < ATTEMPTS and (not attempts or attempts[-1].seconds > AT_MOST_SECONDS):
        attempts.append(ended(lab.prepared(row, "--network=none")[0], moment))
    return attempts


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_sigterm_at_any_moment_ends_it_at_once(
    row: Row, lab: Lab, rng: random.Random, table: Table, figure: Figure
) -> None:
    moments = [rng.uniform(0, WITHIN_SECONDS) for _ in range(RUNS)]
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda moment: ended_at_once(row, lab, moment), moments))
    attempts = [attempt for run in runs for attempt in run]
    assert {attempt.status for attempt in attempts} == {row.ends_with}, attempts
    seconds = [run[-1].seconds for run in runs]
    deaf_ms = 1000 * statistics.median(attempt.deaf_seconds for attempt in attempts)
    table(
        TITLE,
        f"{row.name:16} status {row.ends_with:3}; ended after {statistics.median(seconds):.2f} s, at most "
        f"{max(seconds):.2f} s ({len(attempts) - RUNS} made again); heard after {deaf_ms:.0f} ms",
    )
    figure(row.name, "term_seconds_median", statistics.median(seconds))
    figure(row.name, "term_seconds_most", max(seconds))
    figure(row.name, "term_runs", RUNS)
    assert max(seconds) <= AT_MOST_SECONDS, runs
