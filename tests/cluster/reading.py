"""What the API server says of a pod, in the words of the labs (tests/support/podlab/lab.py)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.support.podlab.lab import ContainerSeen, Ended, PodSeen

Json = Mapping[str, Any]


def pod_seen(pod: Json, *, gone: bool) -> PodSeen:
    """A Pod object."""
    spec, status = pod["spec"], pod.get("status", {})
    said = {one["name"]: one for part in ("initC", "c") for one in status.get(f"{part}ontainerStatuses", [])}
    names = [one["name"] for part in ("initContainers", "containers") for one in spec.get(part, [])]
    containers = tuple(container_seen(name, said.get(name, {})) for name in names)
    return PodSeen(pod["metadata"]["name"], status.get("phase", "Pending"), status.get("podIP", ""), containers, gone)


def container_seen(name: str, status: Json) -> ContainerSeen:
    """One of the container statuses; empty when there is none yet."""
    state = status.get("state", {})
    running, ended = state.get("running"), _ended(state.get("terminated"))
    return ContainerSeen(
        name=name,
        started=bool(status.get("started")),
        ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount", 0)),
        waiting_for=state.get("waiting", {}).get("reason", ""),
        started_at=_seconds(running.get("startedAt")) if running else ended.started_at if ended else None,
        ended=ended,
        ended_before=_ended(status.get("lastState", {}).get("terminated")),
    )


def _ended(terminated: Json | None) -> Ended | None:
    if terminated is None:
        return None
    return Ended(
        exit_code=int(terminated["exitCode"]),
        reason=terminated.get("reason", ""),
        message=terminated.get("message", ""),
        started_at=_seconds(terminated.get("startedAt")),
        ended_at=_seconds(terminated.get("finishedAt")),
    )


def _seconds(stamp: str | None) -> float:
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def minor_of(version: str) -> int:
    """The 34 of `v1.34.2+k3s1`."""
    return int(version.removeprefix("v").split(".")[1].rstrip("+"))
