"""The moment between waiting and becoming the command, in a process of its own, with signals at exact places."""

import sys

import pytest

from tests.support.processes import run

PROGRAM = """
import asyncio, os, signal, sys
from sidecars.runtime import Stop
from sidecars.wait_for.become import become

class Context:
    stop = Stop()

def tell(number):
    os.kill(os.getpid(), number)

async def main():
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(task.cancel))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    {before}
    try:
        return await become(("sh", "-c", "exit 7"), Context)
    except asyncio.CancelledError:
        return 99

sys.exit(asyncio.run(main()))
"""

MOMENTS = {
    "no signal": ("pass", 7),
    "a signal just before": ("tell(signal.SIGTERM)", 99),
    "a signal while it looks": ("loop.call_soon(tell, signal.SIGTERM)", 143),
    "Ctrl-C while it looks": ("loop.call_soon(tell, signal.SIGINT)", 130),
}


@pytest.mark.parametrize(("before", "status"), MOMENTS.values(), ids=MOMENTS.keys())
def test_no_signal_is_lost_on_the_way_to_the_command(before: str, status: int) -> None:
    """What came before cancels, what comes during the last look is found pending; else the command runs."""
    program = PROGRAM.replace("{before}", before)
    assert run(sys.executable, "-c", program).returncode == status
