"""`outage`: the backend is gone for 60 s while 5,000 lines a second go on: what is lost, memory, and how it catches up.

The sink closes its address and all connections, later it opens them again; the writer goes on all the time, and for
some time after. Memory growth is the highest resident memory from the beginning of the outage until the backlog is
gone, less the highest of the seconds before it. The catch-up rate is the lines that arrived from the first request
after the outage until the sink was less than a second of input behind; the wait for that first request (the
shipper's pause between attempts) is shown apart.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Process, judged, say, wait_until
from tests.bench.shippers import bench, ours, running, wait_for_lines
from tests.bench.sink import Handle

_LINES_PER_SECOND = 5_000
_BEFORE_SECONDS = 10
_OUTAGE_SECONDS = 60
_AFTER_SECONDS = 40
_SECONDS = _BEFORE_SECONDS + _OUTAGE_SECONDS + _AFTER_SECONDS
_TOTAL = _LINES_PER_SECOND * _SECONDS
_BAR_MIB = 10
_BAR_RATIO = 5
_SAY_SECONDS = 10
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class CatchUp:
    """What followed the outage."""

    first_request_seconds: float
    lines_per_second: float
    peak_mib: float


def measure() -> Outcome:
    """The whole course; then what was lost."""
    with bench() as (folder, served):
        log = folder / "logs" / "app.log"
        log.parent.mkdir()
        log.touch()
        with (
            running(ours(), folder, served.port) as process,
            lines.writer(log, 0, _LINES_PER_SECOND, _SECONDS) as writing,
        ):
            wait_for_lines(process, served, _LINES_PER_SECOND)
            before_mib = _watched(process, _BEFORE_SECONDS, "with the backend")
            served.tell("down")
            outage_mib = _watched(process, _OUTAGE_SECONDS, "without it")
            caught_up = _catch_up(process, served, log)
            writing.wait()
            wait_for_lines(process, served, _TOTAL)
        books, served_text = served.books(), served.as_text()
    ratio = caught_up.lines_per_second / _LINES_PER_SECOND
    growth_mib = max(outage_mib, caught_up.peak_mib) - before_mib
    say(f"  {served_text}; the first request came {caught_up.first_request_seconds:.1f} s after the backend was back")
    say(f"  RSS MiB: {before_mib:.1f} before, {outage_mib:.1f} in the outage, {caught_up.peak_mib:.1f} catching up")
    lost = _TOTAL - int(books["distinct"])
    rows = (
        judged(f"outage of {_OUTAGE_SECONDS} s: lines lost", lost, 0, 0),
        judged("outage: memory growth MiB", growth_mib, _BAR_MIB),
        judged("outage: catch-up rate / input rate", ratio, _BAR_RATIO, least=True),
    )
    return Outcome(rows)


def _watched(process: Process, seconds: float, what: str) -> float:
    """The highest resident memory while some time passes, in MiB; says how it goes."""
    end, peak_mib, say_at = time.monotonic() + seconds, 0.0, 0.0
    while (left := end - time.monotonic()) > 0:
        process.check()
        peak_mib = max(peak_mib, process.resident_mib())
        if time.monotonic() >= say_at:
            say(f"  {what}: {left:.0f} s left, RSS {peak_mib:.1f} MiB")
            say_at = time.monotonic() + _SAY_SECONDS
        time.sleep(min(_LOOK_SECONDS, left))
    return peak_mib


def _catch_up(process: Process, served: Handle, log: Path) -> CatchUp:
    """Bring the backend back and watch the backlog go. Raises Broken when it does not."""
    peaks_mib = [process.resident_mib()]
    served.tell("mark")
    had, back_at = int(served.tell("up")["distinct"]), time.monotonic()

    def level() -> bool:
        process.check()
        peaks_mib.append(process.resident_mib())
        return bool(served.books()["distinct"] > lines.written(log) - _LINES_PER_SECOND)

    wait_until(level, "the backlog to be gone", served.as_text)
    books, seen_at = served.books(), time.monotonic()
    first_at = float(books["marked_at"])
    rate = (int(books["distinct"]) - had) / (seen_at - first_at)
    say(f"  caught up: {int(books['distinct']) - had:,} lines in {seen_at - first_at:.1f} s")
    return CatchUp(first_at - back_at, rate, max(peaks_mib))
