"""The lab (tests/support/podlab/lab.py) on a container engine alone."""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.pods.lifecycle import manifest as understood
from tests.pods.lifecycle.volumes import Objects, data_of
from tests.pods.lifecycle.worker import PodWorker
from tests.support.engine import Engine, EngineError
from tests.support.podlab.events import EventLog
from tests.support.podlab.lab import Manifest, PodSeen, Unable

_PATIENCE_SECONDS = 60.0
_TOLD_LINES = 25


class DockerLab:
    """A context manager: whatever runs is removed at its end."""

    precise = True
    patience_seconds = 60.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engine = Engine(secrets.token_hex(3))
        self._events = EventLog()
        self._objects: Objects = {}
        self._workers: dict[str, PodWorker] = {}

    def __enter__(self) -> Self:
        self._engine.open()
        self._engine.follow(self._on_death)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.delete(0)
        for worker in self._workers.values():
            worker.join(_PATIENCE_SECONDS)
        self._engine.close()

    def apply(self, manifest: Manifest) -> None:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Pod":
            assert name not in self._workers, f"cannot run two pods of the name {name}; choose another"
            worker = PodWorker(understood.read(manifest), self._engine, self._folder / name, self._events)
            self._workers[name] = worker
            worker.start(self._objects)
            return
        data = self._objects[manifest["kind"], name] = data_of(manifest)
        for worker in self._workers.values():
            if not worker.seen.gone:
                worker.volumes.update(manifest["kind"], name, data)

    def seen(self, pod: str) -> PodSeen:
        return self._workers[pod].seen

    def log(self, pod: str, container: str) -> str:
        return self._workers[pod].log(container)

    def run(self, pod: str, container: str, command: Sequence[str]) -> str:
        try:
            return self._engine.run_inside(self._workers[pod].engine_name(container), command)
        except EngineError as error:
            raise Unable(str(error)) from None

    def delete(self, pod: str, grace_seconds: int | None = None) -> None:
        self._workers[pod].delete(grace_seconds)

    def events_of(self, pod: str) -> list[dict[str, Any]]:
        """The event log of one pod."""
        return self._events.of([pod])

    def story(self, pods: Sequence[str]) -> str:
        told = [json.dumps(line) for line in self._events.of(pods)]
        for pod in pods:
            worker = self._workers.get(pod)
            for container in () if worker is None else worker.seen.containers:
                said = self.log(pod, container.name).splitlines()[-_TOLD_LINES:]
                told += [f"--- {pod}/{container.name}: {container}", *said]
        return "\n".join(told)

    def _on_death(self, engine_name: str) -> None:
        for worker in list(self._workers.values()):
            worker.died(engine_name)
