"""`many_files`: 10,000 files at rest: memory, CPU, and how soon a new line is met among them.

All are delivered first; their last change is ten minutes ago, as of rotated logs. Then, in turn: nothing is written;
20 lines a second go to one file; a new file appears; a file at rest is written again; the program is started again.
"""

import os
import socket
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import lines
from tests.bench.figures import Outcome, Process, Row, pause, say, spread, table, wait_until
from tests.bench.shippers import Shipper, ours, running, wait_for_lines
from tests.bench.sink import Handle, sink

_FILES = int(os.environ.get("BENCH_FILES", "10000"))
_LINES = 5
_OLD_SECONDS = 600
_SETTLE_SECONDS = 20
_SECONDS = 30
_TRIES = 5
_RATE = 20
_BAR_CPU_PERCENT = 1.0
_BAR_MIB = 70.0
_BAR_SECONDS = 1.0
_BAR_RESTART_LINES = 100


@dataclass
class Figures:
    """What was measured, in the order of the docstring."""

    idle_cpu_percent: float = 0.0
    idle_mib: float = 0.0
    busy_cpu_percent: float = 0.0
    checkpoint_bytes: int = 0
    metrics_bytes: int = 0
    new_seconds: tuple[float, ...] = ()
    again_seconds: tuple[float, ...] = ()
    restart_lines: int = 0
    restart_cpu_seconds: float = 0.0


def measure() -> Outcome:
    """One run."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="sidecars-bench-") as temporary, sink() as served:
        folder = Path(temporary)
        logs = folder / "logs"
        logs.mkdir()
        for number in range(_FILES):
            _write_old(logs / f"app-{number:05}.log", number * _LINES)
        shipper, port = _shipper()
        with running(shipper, folder, served.port) as process:
            began = time.monotonic()
            wait_for_lines(process, served, _FILES * _LINES)
            say(f"  first delivery of {_FILES:,} files took {time.monotonic() - began:.1f} s")
            _at_rest(process, port, figures)
            _busy(process, logs, figures)
            _latencies(process, served, logs, figures)
            pause(_SETTLE_SECONDS, "the checkpoint is written")
        _restart(shipper, folder, (served.port, port), figures)
    _show(figures)
    return Outcome(_rows(figures))


def _write_old(path: Path, first: int) -> None:
    lines.write(path, first, _LINES)
    then = time.time() - _OLD_SECONDS
    os.utime(path, (then, then))


def _at_rest(process: Process, port: int, figures: Figures) -> None:
    pause(_SETTLE_SECONDS, "the files come to rest")
    figures.idle_cpu_percent = _cpu_percent(process, _SECONDS)
    figures.idle_mib = process.resident_mib()
    figures.metrics_bytes = len(_ask(port, "/metrics"))


def _busy(process: Process, logs: Path, figures: Figures) -> None:
    first = _FILES * _LINES
    with lines.writer(logs / "app-00000.log", first, _RATE, _SECONDS + 2) as written:
        pause(1, "one file is written")
        figures.busy_cpu_percent = _cpu_percent(process, _SECONDS)
        written.wait()
    saved = logs.parent / "state" / "checkpoint.json"
    figures.checkpoint_bytes = saved.stat().st_size


def _latencies(process: Process, served: Handle, logs: Path, figures: Figures) -> None:
    number = _FILES * _LINES + _RATE * (_SECONDS + 2)
    wait_for_lines(process, served, number)

    def latency(path: Path) -> float:
        nonlocal number
        pause(3, "all is at rest")
        began = time.monotonic()
        lines.write(path, number, 1)
        number += 1
        wait_until(lambda: served.books()["distinct"] >= number, f"the line in {path.name}")
        return time.monotonic() - began

    figures.new_seconds = tuple(latency(logs / f"new-{each}.log") for each in range(_TRIES))
    figures.again_seconds = tuple(latency(logs / f"app-{100 + each:05}.log") for each in range(_TRIES))


def _restart(shipper: Shipper, folder: Path, ports: tuple[int, int], figures: Figures) -> None:
    said = folder / "said"
    before = said.read_bytes().count(b"\n")
    with running(shipper, folder, ports[0]) as process:
        wait_until(lambda: bool(_ask(ports[1], "/startupz")), "the start")
        pause(_SETTLE_SECONDS, "it has started again")
        figures.restart_cpu_seconds = process.cpu_seconds()
        figures.restart_lines = said.read_bytes().count(b"\n") - before


def _ask(port: int, path: str) -> bytes:
    """The answer of the admin endpoint; empty while there is none."""
    try:
        return bytes(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read())
    except OSError:
        return b""


def _shipper() -> tuple[Shipper, int]:
    """Ours, and the port of its admin endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    shipper = ours()

    def environment(folder: Path, sink_port: int) -> dict[str, str]:
        return {**shipper.environment(folder, sink_port), "LOG_SHIPPER_ADMIN_PORT": str(port)}

    return replace(shipper, environment=environment), port


def _cpu_percent(process: Process, seconds: float) -> float:
    before, began = process.cpu_seconds(), time.monotonic()
    pause(seconds, "measuring")
    return 100 * (process.cpu_seconds() - before) / (time.monotonic() - began)


def _show(figures: Figures) -> None:
    table(
        ("figure", "value"),
        [
            ("CPU at rest, % of a core", f"{figures.idle_cpu_percent:.2f}"),
            ("RSS at rest, MiB", f"{figures.idle_mib:.1f}"),
            (f"CPU with {_RATE} lines/s in one file, % of a core", f"{figures.busy_cpu_percent:.2f}"),
            ("checkpoint, bytes", f"{figures.checkpoint_bytes:,}"),
            ("metrics, bytes", f"{figures.metrics_bytes:,}"),
            ("line in a new file, s (lowest / median / highest)", spread(figures.new_seconds, 2)),
            ("line in a file at rest, s", spread(figures.again_seconds, 2)),
            ("log lines at the restart", f"{figures.restart_lines:,}"),
            ("CPU of the restart and 20 s, s", f"{figures.restart_cpu_seconds:.2f}"),
        ],
    )


def _rows(figures: Figures) -> list[Row]:
    def row(what: str, measured: float, bar: float, digits: int) -> Row:
        name = f"{_FILES:,} files: {what}"
        return Row(name, f"{measured:.{digits}f}", f"<= {bar:g}", measured <= bar)

    return [
        row("% of a core at rest", figures.idle_cpu_percent, _BAR_CPU_PERCENT, 2),
        row("RSS MiB at rest", figures.idle_mib, _BAR_MIB, 1),
        row("slowest line in a new file, s", max(figures.new_seconds), _BAR_SECONDS, 2),
        row("slowest line in a file at rest, s", max(figures.again_seconds), _BAR_SECONDS, 2),
        row("log lines at a restart", figures.restart_lines, _BAR_RESTART_LINES, 0),
    ]
