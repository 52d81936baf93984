"""`steady`: what a usual load costs, 10,000 lines a second into one file for 20 s: share of a core, and peak memory.

CPU time from the first line written until the last one has arrived, over the same time by the clock; memory is the
peak since the program started, its start included. A process of its own writes the lines.
"""

import time
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Row, judged, pause, say, table
from tests.bench.shippers import OURS, Shipper, one_by_one, running, wait_for_lines
from tests.bench.sink import Handle

_LINES_PER_SECOND = 10_000
_SECONDS = 20
_BARS_MIB = {OURS: 64.0}


def measure() -> Outcome:
    """Each program once, ours first."""
    costs = one_by_one(_cost)
    shown = [(name, f"{percent:.1f}", f"{peak_mib:.1f}") for name, (percent, peak_mib) in costs.items()]
    table(("program", "% of a core", "peak RSS MiB"), shown)
    rows: list[Row] = []
    for name, (percent, peak_mib) in costs.items():
        what = f"at {_LINES_PER_SECOND:,} lines/s, {name}"
        rows.append(judged(f"{what}: % of a core", percent, None))
        rows.append(judged(f"{what}: peak RSS MiB", peak_mib, _BARS_MIB.get(name)))
    return Outcome(rows)


def _cost(shipper: Shipper, folder: Path, served: Handle) -> tuple[float, float]:
    """Percent of a core, and peak MiB."""
    log = folder / "logs" / "app.log"
    lines.write(log, 0, 1)
    with running(shipper, folder, served.port) as process:
        wait_for_lines(process, served, 1)
        cpu_before, began = process.cpu_seconds(), time.monotonic()
        with lines.writer(log, 1, _LINES_PER_SECOND, _SECONDS):
            pause(_SECONDS, shipper.name)
            wait_for_lines(process, served, 1 + _LINES_PER_SECOND * _SECONDS)
        share = (process.cpu_seconds() - cpu_before) / (time.monotonic() - began)
        say(f"  {shipper.name}: {served.as_text()}")
        return 100 * share, process.peak_mib()
