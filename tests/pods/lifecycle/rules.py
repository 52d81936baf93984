"""When containers of a pod start, when the pod is done, and what it amounts to: the kubelet's rules as pure functions.

Exists so that pods can be run on a container engine alone (worker.py) and still be held to what a cluster does. Rows of
the project's research notes, and what they rest on (read in Kubernetes 1.34):

L2   order and gating   KEP 753 (keps/sig-node/753-sidecar-containers); pkg/kubelet/kuberuntime/kuberuntime_container.go
L12  end of a Job       pkg/kubelet/status/status_manager.go, mergePodStatus; kuberuntime_manager.go, computePodActions
L13  ignored statuses   pkg/kubelet/kubelet_pods.go (getPhase)
L14  always restarted   KEP 753, Proposal; kuberuntime_manager.go (doBackOff)

How containers are stopped (L6, L7, L8) is in stopping.py.
"""

from dataclasses import dataclass
from enum import StrEnum

BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS = 10.0, 300.0
"""pkg/kubelet/kubelet.go: initialCrashLoopBackOff, MaxCrashLoopBackOff."""


class Kind(StrEnum):
    """What a container is to its pod."""

    INIT = "init"
    """Runs to its end before the next of the list starts."""
    SIDECAR = "sidecar"
    """A restartable init container: stays."""
    MAIN = "main"


class Life(StrEnum):
    """Where the present run of a container is."""

    WAITING = "waiting"
    """It never ran."""
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True)
class Stop:
    """A container that is being stopped. Times are seconds of one clock."""

    deadline: float
    """The end of the grace."""
    pre_stop_done: bool
    term_at: float | None = None
    killed: bool = False


@dataclass(frozen=True)
class Container:
    """What the rules know of a container."""

    name: str
    kind: Kind
    life: Life = Life.WAITING
    hooked: bool = False
    """This run's postStart has finished (or there is none)."""
    probed: bool = False
    """This run's start-up probe has passed (or there is none)."""
    begun: bool = False
    """It was `started` at least once in the life of the pod."""
    runs: int = 0
    exit_code: int = 0
    """Of the last run that ended."""
    ended_at: float = 0.0
    """When the last run ended."""
    stop: Stop | None = None
    """The stop of the present run, kept after its end."""

    @property
    def running(self) -> bool:
        return self.life is Life.RUNNING

    @property
    def started(self) -> bool:
        """L2: "started" is a running process, its postStart over and its start-up probe passed. Readiness is not asked
        (KEP 753, Proposal).
        """
        return self.running and self.hooked and self.probed


@dataclass(frozen=True)
class Pod:
    """What the rules know of a pod; the containers in the order of the manifest, init containers first."""

    containers: tuple[Container, ...]
    restart_policy: str = "Always"
    ending: bool = False
    """It was deleted, or its work is done: nothing starts any more."""

    @property
    def mains(self) -> tuple[Container, ...]:
        return tuple(c for c in self.containers if c.kind is Kind.MAIN)

    @property
    def quiet(self) -> bool:
        """No container runs."""
        return not any(c.running for c in self.containers)


class Phase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


def next_start(pod: Pod, now: float) -> str | None:
    """L2: the container to start now, one at a time. The list of init containers is walked in its order; an entry lets
    the next one through when it has started (a sidecar) or ended well (any other). All main containers follow, each
    after the postStart of the one before it (KEP 753; kuberuntime_container.go starts them one after the other).
    """
    if pod.ending:
        return None
    for container in pod.containers:
        if may_start(container, pod, now):
            return container.name
        if not lets_through(container):
            return None
    return None


def lets_through(container: Container) -> bool:
    """Whether the next entry of the list may start. A sidecar that has once started holds nobody up when it dies."""
    match container.kind:
        case Kind.INIT:
            return container.life is Life.EXITED and container.exit_code == 0
        case Kind.SIDECAR:
            return container.begun
        case _:
            return container.hooked or not container.running


def may_start(container: Container, pod: Pod, now: float) -> bool:
    """Whether it is not running, should, and its back-off is over."""
    if container.life is Life.EXITED:
        return runs_again(container, pod.restart_policy) and now >= container.ended_at + back_off(container.runs)
    return container.life is Life.WAITING


def runs_again(container: Container, restart_policy: str) -> bool:
    """L14: a sidecar is restarted whatever the pod says (KEP 753, Proposal: its Always wins over Never and OnFailure).
    An init container that ended well is done; else the pod's policy decides.
    """
    if container.kind is Kind.SIDECAR:
        return True
    failed = container.exit_code != 0
    if container.kind is Kind.INIT or restart_policy == "OnFailure":
        return failed and restart_policy != "Never"
    return restart_policy == "Always"


def back_off(runs: int) -> float:
    """L14: how long after its end a container waits, which ran so often: the first restart comes at once, then 10 s,
    doubled each time up to 5 minutes (kuberuntime_manager.go, doBackOff: the first failure only opens the account).
    """
    return 0.0 if runs < 2 else float(min(BACK_OFF_SECONDS * 2 ** (runs - 2), LONGEST_BACK_OFF_SECONDS))


def init_failed(pod: Pod) -> bool:
    """An init container failed for good, so that the main containers will never run."""
    return any(
        c.kind is Kind.INIT and c.life is Life.EXITED and c.exit_code and not runs_again(c, pod.restart_policy)
        for c in pod.containers
    )


def work_is_done(pod: Pod) -> bool:
    """L12: sidecars do not keep a pod alive. It is done when no main container will run again (kuberuntime_manager.go,
    computePodActions: nothing to keep and nothing to start means KillPod).
    """
    return init_failed(pod) or all(c.life is Life.EXITED and not runs_again(c, pod.restart_policy) for c in pod.mains)


def phase(pod: Pod) -> Phase:
    """L12: the phase turns Succeeded or Failed only once nothing runs, sidecars included (status_manager.go,
    mergePodStatus). L13: how sidecars exited is not asked (kubelet_pods.go, getPhase).
    """
    begun = any(c.life is not Life.WAITING for c in pod.mains)
    if not (pod.ending or work_is_done(pod)) or not pod.quiet:
        return Phase.RUNNING if begun else Phase.PENDING
    good = not init_failed(pod) and all(c.life is Life.EXITED and c.exit_code == 0 for c in pod.mains)
    return Phase.SUCCEEDED if good else Phase.FAILED
