"""`throughput`: lines per CPU-second, ours and each peer's, over the same files into the same sink.

A million lines in four files wait when the program starts; the figure is its CPU time from its first instruction
(interpreter, imports and all) until the sink has taken the last line. The runs take turns (A B A B ...), so that a
machine that is slower for a while is slower for all; each is done at least three times. CPU time and not the clock
is compared, because a sidecar's cost is the CPU it takes from the app. Ours compresses and makes ids; see
`shippers` for what a peer leaves out. Peak memory is that of the same runs, so with the backlog that they start on.
"""

import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Row, judged, say, spread, table
from tests.bench.shippers import OURS, Shipper, bench, ours, peers, running, wait_for_lines
from tests.bench.sink import Handle

_FILES = 4
_LINES = 1_000_000
_RUNS = 3
_BAR_LINES_PER_CPU_SECOND = 200_000


@dataclass(frozen=True)
class Run:
    """One run of one program."""

    cpu_seconds: float
    clock_seconds: float
    peak_mib: float
    wire_bytes: int
    repeated: int

    @property
    def rate(self) -> float:
        """Lines per CPU-second."""
        return _LINES / self.cpu_seconds


def measure() -> Outcome:
    """All runs, the table, and the rows of the summary."""
    found, missing = peers()
    shippers = [ours(), *found]
    for reason in missing:
        say(f"  not measured: {reason}")
    runs: dict[str, list[Run]] = {shipper.name: [] for shipper in shippers}
    with bench() as (folder, served):
        logs = folder / "logs"
        _write(logs)
        for turn in range(_RUNS):
            for shipper in shippers:
                run = _run(shipper, folder / shipper.name, logs, served)
                runs[shipper.name].append(run)
                what = f"{run.cpu_seconds:.2f} CPU-seconds, {run.rate:,.0f} lines each"
                say(f"  run {turn + 1} of {_RUNS}, {shipper.name}: {what}")
    _print(runs)
    return Outcome(_rows(runs))


def _write(logs: Path) -> None:
    logs.mkdir()
    share = _LINES // _FILES
    size = sum(lines.write(logs / f"app-{number}.log", number * share, share) for number in range(_FILES))
    say(f"  {_LINES:,} lines in {_FILES} files, {size / _LINES:.0f} bytes each on average")


def _run(shipper: Shipper, folder: Path, logs: Path, served: Handle) -> Run:
    """One run from an empty state. Raises Broken when lines do not arrive."""
    served.tell("reset")
    folder.mkdir()
    (folder / "logs").symlink_to(logs)
    began = time.monotonic()
    with running(shipper, folder, served.port) as process:
        wait_for_lines(process, served, _LINES)
        cpu_seconds, clock_seconds, peak_mib = process.cpu_seconds(), time.monotonic() - began, process.peak_mib()
    books = served.books()
    shutil.rmtree(folder)
    return Run(cpu_seconds, clock_seconds, peak_mib, books["bytes"], books["repeated"])


def _print(runs: dict[str, list[Run]]) -> None:
    """Each figure as lowest / median / highest of the runs."""
    rows = [
        (
            name,
            f"{_LINES:,}",
            spread([run.cpu_seconds for run in of], 2),
            spread([run.rate for run in of], 0),
            spread([run.peak_mib for run in of]),
            spread([run.clock_seconds for run in of]),
            f"{of[0].wire_bytes / 1e6:,.0f}",
            str(max(run.repeated for run in of)),
        )
        for name, of in runs.items()
    ]
    head = ("min / median / max", "lines", "CPU s", "lines per CPU s", "peak RSS MiB", "clock s", "MB sent", "repeated")
    table(head, rows)


def _rows(runs: dict[str, list[Run]]) -> list[Row]:
    medians = {name: statistics.median(run.rate for run in of) for name, of in runs.items()}
    mine = medians.pop(OURS)
    rows = [judged("lines per CPU-second, gzip and ids", mine, _BAR_LINES_PER_CPU_SECOND, 0, least=True)]
    for name, rate in medians.items():
        rows.append(judged(f"the same, times {name}'s {rate:,.0f}", mine / rate, 1, 2, least=True))
    return rows
