"""How the containers of a pod are stopped: the kubelet's rules as pure functions. Rows of the project's research notes
(read in Kubernetes 1.34):

L6  pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer: first preStop, then waitForTurn, then StopContainer
L7  pkg/kubelet/kuberuntime/kuberuntime_termination_order.go, newTerminationOrdering
L8  both; minimumGracePeriodInSeconds = 2 in kuberuntime_manager.go

Exists apart from rules.py because stopping is a matter of clocks, starting is one of order.
"""

import itertools
from dataclasses import dataclass
from enum import StrEnum

from tests.pods.lifecycle.rules import Container, Kind, Pod

FLOOR_SECONDS = 2.0
"""L8: what a container has between TERM and KILL at the least (minimumGracePeriodInSeconds)."""


class Verb(StrEnum):
    BEGIN = "begin"
    """Begin to stop it: the grace runs from now on, preStop is called."""
    TERM = "TERM"
    KILL = "KILL"


@dataclass(frozen=True)
class Action:
    verb: Verb
    container: str


def stops(pod: Pod, now: float) -> list[Action]:
    """All that is to be done now to the containers that have to end."""
    running = [c for c in pod.containers if c.running]
    return [Action(verb, c.name) for c in running if (verb := next_verb(c, pod, now)) is not None]


def next_verb(container: Container, pod: Pod, now: float) -> Verb | None:
    """L6: in a pod that ends, the stop of every running container begins at once, so that every preStop runs at the
    same time and eats the same grace; only TERM is held back (killContainer, called for all in goroutines of their
    own).
    """
    stop = container.stop
    if stop is None:
        return Verb.BEGIN if pod.ending else None
    if stop.term_at is None:
        ready = stop.pre_stop_done and (not pod.ending or turn_has_come(container, pod))
        return Verb.TERM if ready or now >= stop.deadline else None  # L8: the end of the grace ends all waiting
    return Verb.KILL if not stop.killed and now >= kill_at(container) else None


def turn_has_come(container: Container, pod: Pod) -> bool:
    """L7: TERM reaches a sidecar only when all main containers are gone and the next sidecar of the list, which waits
    for the one after it: one at a time, the last listed first. Who did not run when the end began holds nobody up, and
    cuts the chain: newTerminationOrdering closes its channel, and who waits for it knows of no other.
    """
    if container.kind is not Kind.SIDECAR:
        return True
    if any(main.running for main in pod.mains):
        return False
    later = [c for c in pod.containers[pod.containers.index(container) + 1 :] if c.kind is Kind.SIDECAR]
    chain = itertools.takewhile(lambda c: c.stop is not None, later)
    return not any(c.running for c in chain)


def kill_at(container: Container) -> float:
    """L8: KILL comes at the end of the grace, and 2 s after TERM at the earliest (killContainer: "always give
    containers a minimal shutdown window").
    """
    stop = container.stop
    if stop is None or stop.term_at is None:
        return float("inf")
    return max(stop.deadline, stop.term_at + FLOOR_SECONDS)
