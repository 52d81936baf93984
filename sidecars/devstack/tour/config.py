"""The folder with the shop's configuration, written as the kubelet writes a ConfigMap: all at once, by one rename.

pkg/volume/util/atomic_writer.go in kubernetes/kubernetes: files go into a new folder, `..data` is a link that is
renamed over the old one, and what the app sees are links through `..data`.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


class ConfigFolder:
    """A folder of this machine that is mounted into the pod. Everybody may read it: the pod runs as another user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Makes these the files."""
        new = Path(tempfile.mkdtemp(prefix="..", dir=self.folder))
        new.chmod(0o755)
        for name, content in files.items():
            (new / name).write_bytes(content)
            (new / name).chmod(0o644)
        data = self.folder / "..data"
        old = self.folder / os.readlink(data) if data.is_symlink() else None
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(data)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)
