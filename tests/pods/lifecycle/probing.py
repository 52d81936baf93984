"""What a row of probe results amounts to, and when the next one is due: pkg/kubelet/prober/worker.go as pure functions.

Exists so that start-up, liveness and readiness are one table each, told apart by what their verdict is used for.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from tests.pods.lifecycle.manifest import Probe


class Use(StrEnum):
    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


VERDICT_AT_FIRST = {Use.STARTUP: None, Use.READINESS: False, Use.LIVENESS: True}
"""prober/worker.go, newWorker: not known, failing, passing, until enough results have come in."""


@dataclass(frozen=True)
class Probing:
    """One probe of one run of a container."""

    use: Use
    verdict: bool | None
    due_at: float
    in_a_row: int = 0
    last: bool | None = None
    under_way: bool = False


def begin(use: Use, probe: Probe, now: float) -> Probing:
    """The run has started at `now`."""
    return Probing(use, VERDICT_AT_FIRST[use], now + probe.initial_delay_seconds)


def is_due(probing: Probing, now: float, *, started: bool) -> bool:
    """Start-up probes come first and end with their success; the others begin then (worker.go, doProbe)."""
    of_its_time = not probing.verdict if probing.use is Use.STARTUP else started
    return of_its_time and not probing.under_way and now >= probing.due_at


def sent(probing: Probing, probe: Probe, now: float) -> Probing:
    """One is under way; the next one is due a period later."""
    return replace(probing, under_way=True, due_at=now + probe.period_seconds)


def answered(probing: Probing, probe: Probe, *, good: bool) -> Probing:
    """Count a result; the verdict changes when as many in a row say the same as its threshold asks for."""
    in_a_row = probing.in_a_row + 1 if good is probing.last else 1
    enough = in_a_row >= (probe.success_threshold if good else probe.failure_threshold)
    verdict = good if enough else probing.verdict
    return replace(probing, under_way=False, last=good, in_a_row=in_a_row, verdict=verdict)
