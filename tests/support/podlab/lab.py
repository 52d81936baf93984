"""What a scenario may ask of the place that runs its pods, be it a cluster or a container engine alone.

Pods go in as plain Kubernetes manifests and are seen in Kubernetes' own words, so that a scenario is written once and
cannot tell where it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support.waiting import until

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a run of a container ended. Times are seconds since 1970; whole ones in a cluster."""

    exit_code: int
    reason: str
    message: str
    started_at: float
    ended_at: float


@dataclass(frozen=True)
class ContainerSeen:
    """A container as `kubectl get pod -o json` shows it."""

    name: str
    started: bool
    ready: bool
    restarts: int
    waiting_for: str = ""
    """Reason of the state `waiting`."""
    started_at: float | None = None
    """Of the present run, or of the last one when it has ended."""
    ended: Ended | None = None
    """Set when it is not running."""
    ended_before: Ended | None = None
    """How the run before the present one ended."""

    @property
    def running(self) -> bool:
        return self.started_at is not None and self.ended is None


@dataclass(frozen=True)
class PodSeen:
    """A pod, or what was last seen of it."""

    name: str
    phase: str
    ip: str
    containers: tuple[ContainerSeen, ...]
    """Init containers first, in the order of the manifest."""
    gone: bool = False
    """Deleted, and all its containers have ended."""

    def __getitem__(self, container: str) -> ContainerSeen:
        return next(c for c in self.containers if c.name == container)

    def end(self, container: str) -> Ended:
        """How this container ended."""
        ended = self[container].ended
        assert ended is not None, f"{container} has not ended: {self[container]}"
        return ended

    @property
    def over(self) -> bool:
        """Its work is done, or cannot be done."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def ready(self) -> bool:
        """Every container that stays is ready."""
        return self.phase == "Running" and all(c.ready for c in self.containers if c.ended is None)


class Lab(Protocol):
    """A place that runs pods. Names are unique within a lab."""

    precise: bool
    """Whether times are finer than seconds."""
    patience_seconds: float
    """How long anything may take."""

    def apply(self, manifest: Manifest) -> None:
        """Create a Pod or ConfigMap. An existing ConfigMap gets the new data; so do the volumes."""

    def seen(self, pod: str) -> PodSeen:
        """How it stands with this pod."""

    def log(self, pod: str, container: str) -> str:
        """What this container wrote to stdout and stderr in its present run."""

    def run(self, pod: str, container: str, command: Sequence[str]) -> str:
        """Run a program in a container: its stdout. Raises Unable when it fails or the container is not there."""

    def delete(self, pod: str, grace_seconds: int | None = None) -> None:
        """Begin to delete it, with its own grace or another; returns at once."""


class Unable(Exception):
    """The lab could not do what it was asked for."""


CANNOT_RUN = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"}


def until_seen(lab: Lab, pod: str, what: str, condition: Callable[[PodSeen], object]) -> PodSeen:
    """Wait until a pod is seen so, and return it; says what is wrong when it can never run."""
    found: list[PodSeen] = []

    def met() -> object:
        found[:] = [lab.seen(pod)]
        for container in found[0].containers:
            assert container.waiting_for not in CANNOT_RUN, (
                f"cannot run {container.name} of pod {pod}: {container.waiting_for}; load our images into the cluster "
                "(make images builds them), or set SIDECAR_IMAGE_PREFIX and SIDECAR_IMAGE_TAG to where they are"
            )
        return condition(found[0])

    try:
        until(met, f"pod {pod}: {what}", lab.patience_seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}\nlast seen: {found[-1:]}") from None
    return found[0]
