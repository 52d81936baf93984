"""The volumes of one pod, on this machine's disk or as a tmpfs of the engine; ConfigMaps and Secrets as the kubelet
writes them (tests/support/kubelet.py).
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.pods.lifecycle.manifest import Pod, Volume, bytes_of
from tests.support.engine import Engine
from tests.support.kubelet import Volume as KubeletVolume

Objects = dict[tuple[str, str], dict[str, bytes]]
"""By kind and name: the data of every ConfigMap and Secret."""


def data_of(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """The files that a ConfigMap or Secret amounts to."""
    plain = {key: text.encode() for key, text in manifest.get("data", {}).items()}
    if manifest["kind"] == "ConfigMap":
        return plain
    decoded = {key: base64.b64decode(text) for key, text in plain.items()}
    return decoded | {key: text.encode() for key, text in manifest.get("stringData", {}).items()}


class PodVolumes:
    """Made before the pod's first container, removed after its last one."""

    def __init__(self, engine: Engine, folder: Path, pod: Pod) -> None:
        self._engine = engine
        self._folder = folder
        self._pod = pod
        self._in_memory: list[str] = []
        self._written: dict[tuple[str, str], list[KubeletVolume]] = {}
        self.places: dict[str, str] = {}
        """Where each volume is: a folder, or the name of a volume of the engine."""

    def make(self, objects: Objects) -> None:
        """Make them all; KeyError for a ConfigMap or Secret that nobody applied."""
        for volume in self._pod.spec.volumes:
            self.places[volume.name] = self._make(volume, objects)

    def hold(self) -> list[str]:
        """Mounts for the pause container, so that a tmpfs outlives the restart of the one container that uses it."""
        return [
            word
            for name in self._in_memory
            for word in ("--mount", f"type=volume,volume-nocopy,src={name},dst=/tmp/{name}")
        ]

    def update(self, kind: str, name: str, data: Mapping[str, bytes]) -> None:
        """The ConfigMap or Secret has changed."""
        for volume in self._written.get((kind, name), []):
            volume.write(data)

    def remove(self) -> None:
        """The volumes of the engine; the folders belong to the test run."""
        for name in self._in_memory:
            self._engine.remove_volume(name)

    def _make(self, volume: Volume, objects: Objects) -> str:
        folder = self._folder / volume.name
        if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
            name = f"{self._engine.network}-{self._pod.metadata.name}-{volume.name}"
            self._engine.make_memory_volume(name, bytes_of(volume.empty_dir.size_limit or "0"))
            self._in_memory.append(name)
            return name
        folder.mkdir(parents=True)
        if volume.empty_dir is not None:
            folder.chmod(0o777)  # pkg/volume/emptydir/empty_dir.go: perm 0777, umask or not
            return str(folder)
        key = ("ConfigMap", volume.config_map.name) if volume.config_map else ("Secret", _secret(volume))
        written = KubeletVolume(folder)
        written.write(objects[key])
        self._written.setdefault(key, []).append(written)
        return str(folder)


def _secret(volume: Volume) -> str:
    assert volume.secret is not None, f"cannot make volume {volume.name}: its kind is none that is understood"
    return volume.secret.secret_name
