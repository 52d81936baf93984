"""`reload`: from the swap of a volume to the request that tells of it (200 swaps), and what the programs cost at rest.

The volume is written as the kubelet does it; the clock starts before the rename that makes the new content visible,
and stops when the request's head has reached the app. The programs run all at once, each with a volume of its own, and
take turns, so that what else the machine does is shared by all. At rest: 60 s, in which everything that is done by a
timer is done.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Broken, Outcome, Process, Row, at_rest, judged, p99, pause, say, show_rests
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
                pause(chance.uniform(0.02, 0.1), "a moment")
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
    pause(1.0, "the last requests")
    runner.target.arrivals(0)
    runner.milliseconds.clear()
    runner.requests = 0


def _rest(runners: list[Runner]) -> list[Row]:
    rests = at_rest({runner.name: runner.process for runner in runners}, _REST_SECONDS)
    show_rests(rests)
    rows = []
    for name, rest in rests.items():
        rows.append(_row(name, f"reload at rest, {name}: RSS MiB", rest.resident_mib, _BAR_MIB))
        rows.append(_row(name, f"reload at rest, {name}: CPU ms per s", rest.cpu_ms_per_second, _BAR_CPU_MS))
        rows.append(_row(name, f"reload at rest, {name}: wake-ups per s", rest.wakeups_per_second, _BAR_WAKEUPS))
    return rows


def _speed(runner: Runner) -> list[Row]:
    found = runner.milliseconds
    median, slowest = statistics.median(found), p99(found)
    say(
        f"  {runner.name}: {len(found)} swaps, {runner.requests} requests; ms: lowest {min(found):.2f}, median "
        f"{median:.2f}, p99 {slowest:.2f}, highest {max(found):.2f}"
    )
    return [
        _row(runner.name, f"swap to request, {runner.name}: median ms", median, _BAR_MEDIAN_MS),
        _row(runner.name, f"swap to request, {runner.name}: p99 ms", slowest, _BAR_P99_MS),
    ]


def _row(name: str, what: str, value: float, bar: float) -> Row:
    return judged(what, value, bar if name == OURS else None, 2)


def _content(version: int) -> dict[str, bytes]:
    return {"app.yaml": b"version: %d\n" % version * 100, "rules.yaml": b"rules: []\n" * 100}
