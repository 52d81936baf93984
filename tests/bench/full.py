"""`full`: the scenarios of `make test` at their full size: the million lines, the fifty kills, the whole outage.

`make test` runs them scaled down; SIDECARS_FULL=1 selects the full size. Their result is the tests' own: a failure is
something broken, not a slow machine.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Outcome, Row, say

_SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
_NOTHING_TO_RUN = 5
"""pytest's exit status when it found no test."""


def measure() -> Outcome:
    """Run pytest on the scenarios and show it; its last line is the figure."""
    if not _SCENARIOS.is_dir():
        return Outcome((Row("full-size scenarios", "there are none", "all pass"),))
    command = [sys.executable, "-m", "pytest", str(_SCENARIOS), "-p", "no:cacheprovider", "--color=no"]
    last = ""
    with subprocess.Popen(
        command,
        cwd=_SCENARIOS.parents[1],
        env={**os.environ, "SIDECARS_FULL": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            say(f"  {line.rstrip()}")
            last = line.strip(" =\n") or last
    if process.returncode == _NOTHING_TO_RUN:
        return Outcome((Row("full-size scenarios", last, "all pass"),))
    passed = process.returncode == 0
    row = Row("full-size scenarios", last, "all pass", passed)
    return Outcome((row,), () if passed else (f"full: {last}",))
