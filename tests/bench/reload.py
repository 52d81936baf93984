"""`reload`: from the swap of a volume to the request that tells of it (200 swaps), and what the programs cost at rest.

The volume is written as the kubelet does it; the clock starts before the rename that makes the new content visible,
and stops when the request's head has reached the app. The programs run all at once, each with a volume of its own, and
take turns, so that what else the machine does is shared by all. At rest: 60 s, in which everything that is done by a
timer is done.
"""

import math
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Broken, Outcome, Process, Row, pause, say, table
from tests.bench.reload_target import Target, target
from tests.bench.reloaders import OURS, Program, ours, peers
from tests.bench.shippers import running
from tests.support.kubelet import Volume

_SWAPS = 200
_WARM_UP_SWAPS = 20
_PATIENCE_SECONDS = 10.0
_FIRST_SECONDS = 0.5
_SETTLE_SECONDS = 5
_REST_SECONDS = 60
_BAR_MEDIAN_MS, _BAR_P99_MS = 5.0, 20.0
_BAR_MIB, _BAR_CPU_MS, _BAR_WAKEUPS = 45.0, 1.0, 1.0


class TimedVolume(Volume):
    """Knows when its content was last replaced (CLOCK_MONOTONIC)."""

    swapped_at = 0.0

    def switch(self, data: str) -> None:
        self.swapped_at = time.monotonic()
        super().switch(data)


@dataclass
class Runner:
    """A running program with its volume and its app, and what was measured."""

    name: str
    volume: TimedVolume
    target: Target
    process: Process
    milliseconds: list[float] = field(default_factory=list)
    requests: int = 0
    version: int = 0

    def swap(self, patience_seconds: float) -> float | None:
        """Replace the content; milliseconds until the first request after it, None when none comes."""
        self.requests += len(self.target.arrivals(0))
        self.version += 1
        self.volume.write(_content(self.version))
        deadline = time.monotonic() + patience_seconds
        while (left_seconds := deadline - time.monotonic()) > 0:
            arrivals = self.target.arrivals(left_seconds)
            self.requests += len(arrivals)
            if later := [at for at in arrivals if at >= self.volume.swapped_at]:
                return 1000 * (min(later) - self.volume.swapped_at)
        self.process.check()
        return None

    def measure(self) -> None:
        """One swap that counts."""
        found = self.swap(_PATIENCE_SECONDS)
        if found is None:
            raise Broken(f"{self.name} did not tell of a swap within {_PATIENCE_SECONDS:.0f} s")
        self.milliseconds.append(found)


def measure() -> Outcome:
    """All programs, taking turns."""
    others, missing = peers()
    for reason in missing:
        say(f"  not measured: {reason}")
    chance = random.Random(11)
    with tempfile.TemporaryDirectory(prefix="sidecars-bench-") as temporary, ExitStack() as stack:
        runners = [stack.enter_context(_runner(one, Path(temporary) / one.name)) for one in (ours(), *others)]
        for runner in runners:
            _warm_up(runner)
        for _ in range(_SWAPS):
            for runner in runners:
                _let_pass(chance.uniform(0.02, 0.1))
                runner.measure()
        rows = [row for runner in runners for row in _speed(runner)]
        pause(_SETTLE_SECONDS, "the programs come to rest")
        return Outcome((*rows, *_rest(runners)))


@contextmanager
def _runner(program: Program, folder: Path) -> Iterator[Runner]:
    volume = TimedVolume(folder / "volume")
    volume.write(_content(0))
    with target() as app, running(program, folder, app.port) as process:
        yield Runner(program.name, volume, app, process)


def _warm_up(runner: Runner) -> None:
    """Until it tells of swaps; and some more, for what is done at the first time."""
    for _ in range(round(60 / _FIRST_SECONDS)):
        if runner.swap(_FIRST_SECONDS) is not None:
            break
    for _ in range(_WARM_UP_SWAPS):
        runner.measure()
    _let_pass(1.0)
    runner.target.arrivals(0)
    runner.milliseconds.clear()
    runner.requests = 0


def _rest(runners: list[Runner]) -> list[Row]:
    before = [(one.process.cpu_seconds(), one.process.voluntary_switches()) for one in runners]
    began = time.monotonic()
    pause(_REST_SECONDS, "at rest")
    seconds = time.monotonic() - began
    rows, shown = [], []
    for runner, (cpu_seconds, switches) in zip(runners, before, strict=True):
        process = runner.process
        cpu_ms = 1000 * (process.cpu_seconds() - cpu_seconds) / seconds
        wakeups = (process.voluntary_switches() - switches) / seconds
        mib = process.resident_mib()
        shown.append((runner.name, f"{mib:.1f}", f"{cpu_ms:.2f}", f"{wakeups:.2f}"))
        what = f"reload at rest, {runner.name}"
        rows.append(_row(runner, f"{what}: RSS MiB", mib, _BAR_MIB))
        rows.append(_row(runner, f"{what}: CPU ms per s", cpu_ms, _BAR_CPU_MS))
        rows.append(_row(runner, f"{what}: wake-ups per s", wakeups, _BAR_WAKEUPS))
    table(("program", "RSS MiB", "CPU ms per s", "wake-ups per s"), shown)
    return rows


def _speed(runner: Runner) -> list[Row]:
    found = runner.milliseconds
    median, p99 = statistics.median(found), sorted(found)[math.ceil(0.99 * len(found)) - 1]
    say(
        f"  {runner.name}: {len(found)} swaps, {runner.requests} requests; ms: lowest {min(found):.2f}, median "
        f"{median:.2f}, p99 {p99:.2f}, highest {max(found):.2f}"
    )
    return [
        _row(runner, f"swap to request, {runner.name}: median ms", median, _BAR_MEDIAN_MS),
        _row(runner, f"swap to request, {runner.name}: p99 ms", p99, _BAR_P99_MS),
    ]


def _row(runner: Runner, what: str, value: float, bar: float) -> Row:
    if runner.name != OURS:
        return Row(what, f"{value:.2f}")
    return Row(what, f"{value:.2f}", f"<= {bar:g}", value <= bar)


def _content(version: int) -> dict[str, bytes]:
    return {"app.yaml": b"version: %d\n" % version * 100, "rules.yaml": b"rules: []\n" * 100}


def _let_pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left_seconds := end - time.monotonic()) > 0:
        time.sleep(left_seconds)
