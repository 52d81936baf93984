"""`idle`: what a program costs that has nothing to do: memory, CPU and wake-ups per second, over 20 s.

Idle after it has worked: it shipped a hundred lines first, so that connections, codecs and metrics that load at their
first use are in the figures. A wake-up is a voluntary context switch of one of its threads.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Row, pause, table
from tests.bench.shippers import OURS, Shipper, ours, peers, running, wait_for_lines
from tests.bench.sink import Handle, sink

_LINES = 100
_SETTLE_SECONDS = 5
_SECONDS = 20
_BAR_MIB = 45


@dataclass(frozen=True)
class Rest:
    """What one program does while nothing happens."""

    name: str
    resident_mib: float
    cpu_ms_per_second: float
    wakeups_per_second: float


def measure() -> Outcome:
    """Each program once, ours first."""
    with tempfile.TemporaryDirectory(prefix="sidecars-bench-") as temporary, sink() as served:
        rests = [_rest(shipper, Path(temporary) / shipper.name, served) for shipper in (ours(), *peers()[0])]
    table(
        ("program", "RSS MiB", "CPU ms per s", "wake-ups per s"),
        [(r.name, f"{r.resident_mib:.1f}", f"{r.cpu_ms_per_second:.2f}", f"{r.wakeups_per_second:.2f}") for r in rests],
    )
    return Outcome([_row(rest) for rest in rests])


def _rest(shipper: Shipper, folder: Path, served: Handle) -> Rest:
    served.tell("reset")
    (folder / "logs").mkdir(parents=True)
    lines.write(folder / "logs" / "app.log", 0, _LINES)
    with running(shipper, folder, served.port) as process:
        wait_for_lines(process, served, _LINES)
        pause(_SETTLE_SECONDS, f"{shipper.name} comes to rest")
        cpu_before, switches_before, began = process.cpu_seconds(), process.voluntary_switches(), time.monotonic()
        pause(_SECONDS, shipper.name)
        seconds = time.monotonic() - began
        return Rest(
            shipper.name,
            process.resident_mib(),
            1000 * (process.cpu_seconds() - cpu_before) / seconds,
            (process.voluntary_switches() - switches_before) / seconds,
        )


def _row(rest: Rest) -> Row:
    is_ours = rest.name == OURS
    return Row(
        f"idle, {rest.name}: RSS MiB",
        f"{rest.resident_mib:.1f}",
        f"<= {_BAR_MIB}" if is_ours else "",
        rest.resident_mib <= _BAR_MIB if is_ours else None,
    )
