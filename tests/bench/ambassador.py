"""`ambassador`: what passing bytes through costs, beside haproxy and stunnel: CPU of the proxy process, and latency.

A client and a server in C stand on both sides (tcp_peer.c). All programs run at once and take turns, three times, so
that what else the machine does is shared by all. A ratio is of medians; spreads are lowest / median / highest.
"""

import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Outcome, Row, say, spread, table
from tests.bench.proxies import COPY, HAPROXY, OURS, STUNNEL, Doors, Peer, haproxy, missing, ours, peer, stunnel

_RUNS = 3
_GIB = 1 << 30
_ANSWER_BYTES = 256
_BUSY, _BUSY_TIMES = 32, 1500
_CALM_TIMES, _CALM_RATE = 2000, 1000.0
_SET_UPS = 250
_ADDED_US = 50.0

Figures = dict[str, list[float]]
"""By program: one figure for each run."""


@dataclass(frozen=True)
class _Load:
    """One kind of load: words for tcp_peer, and how a run becomes a figure. `is_latency`: the median of the answers,
    else CPU seconds of the proxy times `scale`.
    """

    what: str
    tls: bool
    words: tuple[str, int, int, int, float]
    scale: float = 1.0
    is_latency: bool = False


_SMALL = 1e6 / (_BUSY * _BUSY_TIMES)
_LOADS = (
    _Load("plain, down: CPU s per GiB", False, ("D", _GIB, 1, 1, 0.0)),
    _Load("plain, up: CPU s per GiB", False, ("U", _GIB, 1, 1, 0.0)),
    _Load("TLS, down: CPU s per GiB", True, ("D", _GIB, 1, 1, 0.0)),
    _Load("TLS, up: CPU s per GiB", True, ("U", _GIB, 1, 1, 0.0)),
    _Load("plain, small requests: CPU us each", False, ("E", _ANSWER_BYTES, _BUSY, _BUSY_TIMES, 0.0), _SMALL),
    _Load("TLS, small requests: CPU us each", True, ("E", _ANSWER_BYTES, _BUSY, _BUSY_TIMES, 0.0), _SMALL),
    _Load("plain, 1,000/s: median us", False, ("E", _ANSWER_BYTES, 1, _CALM_TIMES, _CALM_RATE), 1.0, True),
    _Load("TLS, 1,000/s: median us", True, ("E", _ANSWER_BYTES, 1, _CALM_TIMES, _CALM_RATE), 1.0, True),
    _Load("TLS connections set up: CPU ms each", True, ("C", 1, 4, _SET_UPS, 0.0), 1e3 / (4 * _SET_UPS)),
)


def measure() -> Outcome:
    """Every load, all programs taking turns."""
    for reason in missing():
        say(f"  not measured: {reason}")
    is_missing = " ".join(missing())
    with tempfile.TemporaryDirectory(prefix="sidecars-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        behind = stack.enter_context(peer(folder))
        started = [
            stack.enter_context(start(_own(folder, name), behind))
            for name, start in (("ours", ours), ("haproxy", haproxy), ("stunnel", stunnel))
            if f"{name}:" not in is_missing
        ]
        found = [(load, _measure(load, started, behind)) for load in _LOADS]
    shown = [(load.what, name, spread(figures, 3)) for load, each in found for name, figures in each.items()]
    table(("load", "program", "lowest / median / highest"), shown)
    return Outcome([row for load, each in found for row in _rows(load.what, each)])


def _own(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _measure(load: _Load, started: list[Doors], behind: Peer) -> Figures:
    found: Figures = {}
    for run in range(_RUNS + 1):
        for doors in started:
            for name, port in (doors.tls if load.tls else doors.plain).items():
                before = doors.cpu_seconds()
                _, median_us, _ = behind.ask(port, *load.words)
                figure = median_us if load.is_latency else (doors.cpu_seconds() - before) * load.scale
                if run:  # the first one warms up
                    found.setdefault(name, []).append(figure)
    return found


_BARS: dict[str, tuple[tuple[str, ...], float]] = {
    "plain, down: CPU s per GiB": ((COPY,), 0.6),
    "plain, up: CPU s per GiB": ((COPY,), 0.6),
    "TLS, down: CPU s per GiB": ((HAPROXY, STUNNEL), 1.0),
    "TLS, up: CPU s per GiB": ((HAPROXY, STUNNEL), 1.0),
    "TLS, small requests: CPU us each": ((HAPROXY,), 1.3),
    "TLS connections set up: CPU ms each": ((HAPROXY,), 1.0),
}
"""The best of these peers, and how many times its figure is allowed."""


def _rows(what: str, found: Figures) -> list[Row]:
    middle = {name: statistics.median(figures) for name, figures in found.items()}
    mine = middle.pop(OURS)
    bar, is_met = _bar(what, middle, mine)
    rows = [Row(what, f"{mine:.3f}", bar, is_met)]
    return rows + [
        Row(f"  {name}, and ours to it", f"{value:.3f}, {mine / value:.2f}") for name, value in middle.items()
    ]


def _bar(what: str, peers: dict[str, float], mine: float) -> tuple[str, bool | None]:
    if what.endswith("median us") and (known := [peers[name] for name in (HAPROXY, COPY) if name in peers]):
        return f"<= haproxy + {_ADDED_US:.0f}", mine <= known[0] + _ADDED_US
    names, times = _BARS.get(what, ((), 0.0))
    if best := [peers[name] for name in names if name in peers]:
        return f"<= {times:g} x {min(best):.3f}", mine <= times * min(best)
    return "", None
