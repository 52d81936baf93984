"""The moment between waiting and becoming the command, in a process of its own, with signals at exact places."""

import sys

import pytest

from tests.support.processes import run

PROGRAM = """
import os, signal, sys
from sidecars.runtime.life.signals import SIGNALS
from sidecars.wait_for.become import CannotBecome, become

SIGNALS.listen()
{before}
try:
    become(("sh", "-c", "exit 7"))
except CannotBecome as error:
    os.kill(os.getpid(), signal.SIGTERM)  # while it says why
    sys.exit(error.status)
"""
PENDING = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); os.kill(os.getpid(), signal.SIGTERM)"

MOMENTS = {
    "no signal": ("pass", 7),
    "a signal just before": ("os.kill(os.getpid(), signal.SIGTERM)", 143),
    "Ctrl-C just before": ("os.kill(os.getpid(), signal.SIGINT)", 130),
    "a signal while it looks": (PENDING, 143),
}


@pytest.mark.parametrize(("before", "status"), MOMENTS.values(), ids=MOMENTS.keys())
def test_no_signal_is_lost_on_the_way_to_the_command(before: str, status: int) -> None:
    """The command is not run after a signal; a later one does not kill who says so."""
    program = PROGRAM.replace("{before}", before)
    assert run(sys.executable, "-c", program).returncode == status
