"""Writes a volume as the kubelet does, step by step (pkg/volume/util/atomic_writer.go, `AtomicWriter.Write`).

Older kubelets make the links of new keys before the rename of `..data`, newer ones after it; links of deleted keys and
the old folder go last in both.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path


class Volume:
    """A ConfigMap, Secret or projected volume at `folder`, which is made when it is missing."""

    def __init__(self, folder: Path, *, links_first: bool = False, mode: int = 0o644) -> None:
        self.folder = folder
        self.mode = mode
        self._links_first = links_first
        self._payload: dict[str, bytes] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, payload: Mapping[str, bytes]) -> bool:
        """Make `payload` (path below the volume -> bytes) the content; whether anything was written."""
        new = dict(payload)
        if self._has_data() and new == self._payload:
            self._link(new)  # also mends links that are missing (kubernetes#121472)
            return False
        self._swap(new)
        return True

    def rewrite(self) -> None:
        """The same content in a new folder: what a restarted kubelet, or another writer, may do."""
        self._swap(self._payload)

    def change_mode(self, mode: int) -> None:
        """Only the modes change: the kubelet compares bytes, so it does not write (`shouldWritePayload`)."""
        self.mode = mode
        self.write(self._payload)

    def remove(self) -> None:
        """The folder goes, with all that is in it."""
        shutil.rmtree(self.folder)

    def recreate(self, payload: Mapping[str, bytes]) -> None:
        """The folder goes, and another comes at the same path."""
        self.remove()
        self.folder.mkdir()
        self.write(payload)

    @property
    def current(self) -> Path:
        """The timestamped folder that `..data` leads to."""
        return self.folder / (self.folder / "..data").readlink()

    def make_data(self, payload: Mapping[str, bytes]) -> str:
        """Steps 5 and 6: the new folder with all files in it; its name."""
        stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
        new = Path(tempfile.mkdtemp(prefix=stamp, dir=self.folder))
        new.chmod(0o755)
        for name, data in payload.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
            (new / name).chmod(self.mode)
        return new.name

    def switch(self, data: str) -> None:
        """Steps 8 and 9: `..data` leads to the folder of this name from now on."""
        temporary = self.folder / "..data_tmp"
        temporary.symlink_to(data)
        temporary.rename(self.folder / "..data")

    def _swap(self, payload: dict[str, bytes]) -> None:
        old = self.current if self._has_data() else None
        data = self.make_data(payload)
        if self._links_first:
            self._link(payload)
        self.switch(data)
        if not self._links_first:
            self._link(payload)
        for name in {_first(key) for key in self._payload} - {_first(key) for key in payload}:
            (self.folder / name).unlink(missing_ok=True)
        self._payload = payload
        if old is not None:
            shutil.rmtree(old)

    def _link(self, payload: Mapping[str, bytes]) -> None:
        """The visible links: one for the first part of each path."""
        for name in {_first(key) for key in payload}:
            if not os.path.lexists(self.folder / name):
                (self.folder / name).symlink_to(f"..data/{name}")

    def _has_data(self) -> bool:
        return os.path.lexists(self.folder / "..data")


def _first(key: str) -> str:
    return key.partition("/")[0]
