"""`steady`: what a usual load costs, 10,000 lines a second into one file for 20 s: share of a core, and peak memory.

CPU time from the first line written until the last one has arrived, over the same time by the clock; memory is the
peak since the program started, its start included. A process of its own writes the lines.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Row, pause, say, table
from tests.bench.shippers import OURS, Shipper, ours, peers, running, wait_for_lines
from tests.bench.sink import Handle, sink

_LINES_PER_SECOND = 10_000
_SECONDS = 20
_BAR_MIB = 64


@dataclass(frozen=True)
class Cost:
    """Of one program under the load."""

    name: str
    core_percent: float
    peak_mib: float


def measure() -> Outcome:
    """Each program once, ours first."""
    with tempfile.TemporaryDirectory(prefix="sidecars-bench-") as temporary, sink() as served:
        costs = [_cost(shipper, Path(temporary) / shipper.name, served) for shipper in (ours(), *peers()[0])]
    table(
        ("program", "% of a core", "peak RSS MiB"),
        [(cost.name, f"{cost.core_percent:.1f}", f"{cost.peak_mib:.1f}") for cost in costs],
    )
    return Outcome([row for cost in costs for row in _rows(cost)])


def _cost(shipper: Shipper, folder: Path, served: Handle) -> Cost:
    served.tell("reset")
    (folder / "logs").mkdir(parents=True)
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
        return Cost(shipper.name, 100 * share, process.peak_mib())


def _rows(cost: Cost) -> list[Row]:
    is_ours = cost.name == OURS
    what = f"at {_LINES_PER_SECOND:,} lines/s, {cost.name}"
    return [
        Row(f"{what}: % of a core", f"{cost.core_percent:.1f}"),
        Row(
            f"{what}: peak RSS MiB",
            f"{cost.peak_mib:.1f}",
            f"<= {_BAR_MIB}" if is_ours else "",
            cost.peak_mib <= _BAR_MIB if is_ours else None,
        ),
    ]
