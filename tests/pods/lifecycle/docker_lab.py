"""The lab (tests/support/podlab/lab.py) on a container engine alone."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.pods.lifecycle.pod import Pod
from tests.support.engine import PODS_LABEL, docker
from tests.support.podlab.lab import Manifest, PodSeen, Unable

_PATIENCE_SECONDS = 60.0


class DockerLab:
    """A context manager: whatever runs is removed at its end."""

    precise = True
    patience_seconds = _PATIENCE_SECONDS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._word = secrets.token_hex(3)
        self._configs: dict[str, dict[str, bytes]] = {}
        self._pods: dict[str, Pod] = {}

    def __enter__(self) -> Self:
        docker("network", "create", "--label", f"{PODS_LABEL}={self._word}", f"{PODS_LABEL}-{self._word}")
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self._pods.values():
            pod.delete(0)
        for pod in self._pods.values():
            pod.join(_PATIENCE_SECONDS)
        if left := docker("ps", "--all", "--quiet", "--filter", f"label={PODS_LABEL}={self._word}").split():
            docker("rm", "--force", "--volumes", *left)
        docker("network", "rm", f"{PODS_LABEL}-{self._word}")

    def apply(self, manifest: Manifest) -> None:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Pod":
            assert name not in self._pods, f"cannot run two pods of the name {name}; choose another"
            self._pods[name] = Pod(manifest, self._word, self._folder / name)
            self._pods[name].start(self._configs)
            return
        self._configs[name] = {key: text.encode() for key, text in manifest["data"].items()}
        for pod in self._pods.values():
            if not pod.seen.gone:
                pod.update(name, self._configs[name])

    def seen(self, pod: str) -> PodSeen:
        return self._pods[pod].seen

    def log(self, pod: str, container: str) -> str:
        kept, run = self._folder / pod / f"{container}.log", self._pods[pod].members[container].run
        if kept.exists():
            return kept.read_text(encoding="utf-8")
        return run.log if run is not None else ""

    def run(self, pod: str, container: str, command: Sequence[str]) -> str:
        run = self._pods[pod].members[container].run
        if run is None:
            raise Unable(f"{container} has not been started")
        done = run.execute(*command)
        if done.returncode:
            raise Unable(f"{command}: {done.stderr.strip()}")
        return done.stdout.strip()

    def delete(self, pod: str, grace_seconds: int | None = None) -> None:
        self._pods[pod].delete(grace_seconds)
