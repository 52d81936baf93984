"""What each sidecar weighs: a pod pays for it in every replica, so a budget is a promise like any other.

Resident memory of the real process, in the environment of its image (see agents.py), against the stand-in.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rules import agents
from tests.rules.conftest import Fleet

TITLE = "memory of the sidecars, MiB resident"
LINES_PER_SECOND = 10_000
LOAD_SECONDS = 5
LOADED_MIB = 64
UNNEEDED = {"libstdc++", "libbz2", "liblzma"}
TLS = {"libssl"}
LINE = "2026-01-01T00:00:00.000Z INFO request {:09d} served in 12 ms " + "x" * 90 + "\n"

ACKNOWLEDGED = "sidecar_log_shipper_acknowledged_bytes_total"

Table = Callable[[str, str], None]


def write_lines(log: Path, first: int, count: int) -> None:
    with log.open("a", encoding="ascii") as app:
        app.writelines(LINE.format(number) for number in range(first, first + count))


def has_worked(running: agents.Shipped, log: Path) -> bool:
    """Tell whether it has (or all have) done its main job with what was written for it."""
    acknowledged = "log-shipper" not in running.name or running.metric(ACKNOWLEDGED) >= log.stat().st_size
    reloaded = "config-reloader" not in running.name or running.metric("sidecar_config_reloader_reloads_total") >= 1
    return acknowledged and reloaded


def idle_mib(running: agents.Shipped) -> float:
    """Return what it weighs after it has worked: connections, codecs and metrics that load at first use count."""
    log = running.folder / "app.log"
    if not log.stat().st_size:
        write_lines(log, 0, 100)
        (running.folder / "config" / "app.yaml").write_text("changed", encoding="ascii")
    running.until(lambda: has_worked(running, log), "the first work to be done")
    return running.resident_mib()


@pytest.mark.parametrize("name", agents.SERVING)
def test_an_idle_sidecar_keeps_within_its_budget_and_has_loaded_no_library_that_it_does_not_need(
    name: str, fleet: Fleet, table: Table
) -> None:
    resident_mib, budget_mib = idle_mib(fleet(name)), agents.DECLARED[name].bars.idle_mib
    table(TITLE, f"{name:16} idle   {resident_mib:6.1f} of {budget_mib:.0f}")
    assert resident_mib <= budget_mib
    assert not fleet(name).libraries() & UNNEEDED


def test_two_in_one_process_weigh_hardly_more_than_one(fleet: Fleet, table: Table) -> None:
    together_mib = idle_mib(fleet(agents.TOGETHER))
    alone_mib = [idle_mib(fleet(name)) for name in agents.TOGETHER.split()]
    budget_mib = agents.TOGETHER_FACTOR * max(alone_mib)
    times = f"{together_mib / max(alone_mib):.2f} times the heavier one, two processes take {sum(alone_mib):.1f}"
    table(TITLE, f"{'both in one':16} idle   {together_mib:6.1f} of {budget_mib:.0f} ({times})")
    assert together_mib <= budget_mib


@pytest.mark.parametrize("name", agents.ENDING)
def test_what_ends_by_itself_keeps_within_its_budget_while_it_waits(name: str, tmp_path: Path, table: Table) -> None:
    """After it has told what blocks it at least once: by then everything is loaded."""
    words = ("tcp://127.0.0.1:1", "dns://nowhere.invalid") if name == "wait-for" else ()
    waiting = agents.Shipped(name, tmp_path, "", *words).start(wait=False)
    waiting.until(lambda: waiting.stderr, "its first progress line")
    resident_mib, budget_mib = waiting.resident_mib(), agents.DECLARED[name].bars.idle_mib
    table(TITLE, f"{name:16} idle   {resident_mib:6.1f} of {budget_mib:.0f}")
    assert resident_mib <= budget_mib
    assert not waiting.libraries() & (UNNEEDED | TLS)


def test_the_log_shipper_keeps_within_its_budget_at_ten_thousand_lines_a_second(fleet: Fleet, table: Table) -> None:
    """The peak since the start: a busy machine makes the run longer, never the figure smaller than it was."""
    running = fleet("log-shipper")
    log, before, began = running.folder / "load.log", running.metric(ACKNOWLEDGED), time.monotonic()
    for step in range(LOAD_SECONDS * 10):
        write_lines(log, step * LINES_PER_SECOND // 10, LINES_PER_SECOND // 10)
        time.sleep(max(0.0, began + (step + 1) / 10 - time.monotonic()))
    written = log.stat().st_size
    running.until(lambda: running.metric(ACKNOWLEDGED) >= before + written, "all lines to be acknowledged")
    peak_mib = running.memory_bytes("VmHWM") / 2**20
    table(TITLE, f"{'log-shipper':16} loaded {peak_mib:6.1f} of {LOADED_MIB}")
    assert peak_mib <= LOADED_MIB


def test_a_shipping_environment_holds_nothing_of_the_development_one() -> None:
    packages = next((agents.shipping_environment("log-shipper").parents[1] / "lib").glob("python3*/site-packages"))
    assert (packages / "isal").exists()
    assert not any((packages / name).exists() for name in ("requests", "httpx", "pytest"))
