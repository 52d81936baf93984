"""`idle`: what a program costs that has nothing to do: memory, CPU and wake-ups per second, over 20 s.

Idle after it has worked: it shipped a hundred lines first, so that connections, codecs and metrics that load at their
first use are in the figures.
"""

from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Rest, at_rest, judged, pause, show_rests
from tests.bench.shippers import OURS, Shipper, one_by_one, running, wait_for_lines
from tests.bench.sink import Handle

_LINES = 100
_SETTLE_SECONDS = 5
_SECONDS = 20
_BARS_MIB = {OURS: 45.0}


def measure() -> Outcome:
    """Each program once, ours first."""
    rests = one_by_one(_rest)
    show_rests(rests)
    return Outcome([judged(f"idle, {name}: RSS MiB", r.resident_mib, _BARS_MIB.get(name)) for name, r in rests.items()])


def _rest(shipper: Shipper, folder: Path, served: Handle) -> Rest:
    lines.write(folder / "logs" / "app.log", 0, _LINES)
    with running(shipper, folder, served.port) as process:
        wait_for_lines(process, served, _LINES)
        pause(_SETTLE_SECONDS, f"{shipper.name} comes to rest")
        return at_rest({shipper.name: process}, _SECONDS)[shipper.name]
