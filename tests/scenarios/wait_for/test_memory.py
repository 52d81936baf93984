"""What waiting weighs: it runs in every pod, before and beside the app."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.wait_for.conftest import Start
from tests.support.listeners import Listener

BUDGET_MIB = 25.0


@pytest.mark.rss
def test_waiting_for_ports_and_names_needs_no_http_stack(wait_for: Start, table: Callable[[str, str], None]) -> None:
    with Listener() as nobody:
        run = wait_for(nobody.place, f"tcp://localhost:{nobody.port}", "dns://nosuch.invalid", progress_seconds=0.2)
        run.until_blocked("for 3 of 3")
        rollup = Path(f"/proc/{run.pid}/smaps_rollup").read_text(encoding="ascii")
        loaded = Path(f"/proc/{run.pid}/maps").read_text(encoding="ascii")
    resident_mib = int(re.findall(r"^Rss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) / 1024
    table("memory of the sidecars, MiB resident", f"{'wait-for':16} waits  {resident_mib:6.1f} of {BUDGET_MIB:.0f}")
    assert "aiohttp" not in loaded
    assert resident_mib <= BUDGET_MIB
