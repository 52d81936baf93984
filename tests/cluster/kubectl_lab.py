"""The lab (tests/support/podlab/lab.py) on the cluster that KUBECONFIG points to, through kubectl.

Everything is in a namespace of its own, which enforces the restricted Pod Security level. How a deleted pod ended is
known from a watch that runs all the time: the last event of a pod carries it. Should the test run be killed, this
removes what is left: `kubectl delete namespace -l app.kubernetes.io/managed-by=sidecars-tests`.
"""

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from tests.support.podlab.lab import ContainerSeen, Ended, Manifest, PodSeen, Unable
from tests.support.waiting import until

NATIVE_MINOR = 29
_CALL_SECONDS = 120.0
_OWNER = "sidecars-tests"


def kubectl(*arguments: str, given: str | None = None) -> str:
    """One kubectl command: its stdout. Raises Unable with its own words."""
    try:
        done = subprocess.run(
            ["kubectl", *arguments], input=given, capture_output=True, text=True, timeout=_CALL_SECONDS, check=False
        )
    except FileNotFoundError:
        raise Unable("cannot find kubectl; install it") from None
    except subprocess.TimeoutExpired:
        raise Unable(f"kubectl {' '.join(arguments)}: no end within {_CALL_SECONDS:.0f} s") from None
    if done.returncode:
        raise Unable(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def without_native() -> str:
    """Why this cluster has no native sidecars, or nothing; by the server alone where nodes may not be listed."""
    server = json.loads(kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
    versions = {"the API server": server}
    try:
        nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    except Unable:
        nodes = []
    versions |= {node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}
    old = {name: version for name, version in versions.items() if minor_of(version) < NATIVE_MINOR}
    return f"native sidecars need Kubernetes 1.{NATIVE_MINOR}: {old}" if old else ""


class KubectlLab:
    """A context manager: the namespace is deleted at its end."""

    precise = False
    patience_seconds = 180.0

    def __init__(self) -> None:
        self.namespace = f"sidecars-tests-{secrets.token_hex(3)}"
        self._pods: dict[str, PodSeen] = {}
        self._watch: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._keep_watching, daemon=True)

    def __enter__(self) -> Self:
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/managed-by": _OWNER}
        metadata = {"name": self.namespace, "labels": labels}
        kubectl("create", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._watch is not None:
            self._watch.terminate()
        self._watcher.join(_CALL_SECONDS)
        kubectl("delete", "namespace", self.namespace, "--timeout=100s")

    def call(self, *arguments: str, given: str | None = None) -> str:
        """Kubectl in the namespace."""
        return kubectl("--namespace", self.namespace, *arguments, given=given)

    def apply(self, manifest: Manifest) -> None:
        said = self.call("apply", "-f", "-", given=json.dumps(manifest))
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Pod":
            until(lambda: name in self._pods, f"the watch shows pod {name}", self.patience_seconds)
        elif "configured" in said:
            # The kubelet would look at the volume within a minute or two; a changed pod makes it look now.
            touched = f"sidecars.test/touched={time.time()}"
            self.call("annotate", "pod", "--all", "--overwrite", touched)

    def seen(self, pod: str) -> PodSeen:
        return self._pods[pod]

    def log(self, pod: str, container: str) -> str:
        return self.call("logs", pod, "--container", container)

    def run(self, pod: str, container: str, command: Sequence[str]) -> str:
        return self.call("exec", pod, "--container", container, "--", *command)

    def delete(self, pod: str, grace_seconds: int | None = None) -> None:
        # No grace at all would take the pod off the API server before the kubelet has ended it.
        grace = [] if grace_seconds is None else [f"--grace-period={max(1, grace_seconds)}"]
        self.call("delete", "pod", pod, "--wait=false", "--ignore-not-found", *grace)

    def until_complete(self, job: str) -> None:
        """Wait until this Job has completed; AssertionError when it fails or never does."""
        status: dict[str, Any] = {}

        def ended() -> bool:
            status.update(json.loads(self.call("get", "job", job, "--output=json"))["status"])
            return "completionTime" in status or "failed" in status

        until(ended, f"Job {job} completes", self.patience_seconds)
        conditions = {one["type"] for one in status.get("conditions", []) if one["status"] == "True"}
        assert "Complete" in conditions, status

    def _keep_watching(self) -> None:
        """The API server ends every watch after a while; the next one begins with all pods that are there."""
        path = f"/api/v1/namespaces/{self.namespace}/pods?watch=1"
        while not self._closing.is_set():
            with subprocess.Popen(["kubectl", "get", "--raw", path], stdout=subprocess.PIPE, text=True) as watch:
                self._watch = watch
                assert watch.stdout is not None
                for line in watch.stdout:
                    if line.endswith("\n"):  # else the watch was ended in the middle of it
                        self._take(json.loads(line))
            self._closing.wait(1)

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
            seen = pod_seen(event["object"], gone=event["type"] == "DELETED")
            self._pods[seen.name] = seen


def pod_seen(pod: Mapping[str, Any], *, gone: bool) -> PodSeen:
    """A Pod object."""
    spec, status = pod["spec"], pod.get("status", {})
    said = {one["name"]: one for part in ("initC", "c") for one in status.get(f"{part}ontainerStatuses", [])}
    names = [one["name"] for part in ("initContainers", "containers") for one in spec.get(part, [])]
    containers = tuple(container_seen(name, said.get(name, {})) for name in names)
    return PodSeen(pod["metadata"]["name"], status.get("phase", "Pending"), status.get("podIP", ""), containers, gone)


def container_seen(name: str, status: Mapping[str, Any]) -> ContainerSeen:
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


def _ended(terminated: Mapping[str, Any] | None) -> Ended | None:
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
