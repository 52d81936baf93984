"""Mounts that can never change are found: from recorded texts, and from a real bind mount where that is permitted. And
the torture: a volume that is swapped as fast as can be is still seen in one version, and whole.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest

from sidecars.config_reloader.core.snapshot import EntryState, Snapshot
from sidecars.config_reloader.watching import volume
from sidecars.config_reloader.watching.mounts import frozen
from tests.support.kubelet import Volume
from tests.support.scale import scaled

# Recorded in pods; only the mount points are ours. Fields: proc(5), /proc/pid/mountinfo.
LINE = "612 599 0:87 {root} {point} ro,relatime - tmpfs tmpfs rw,size=65536k,inode64"
SUBPATH_KEY = "/..2024_05_01_10_00_00.123456789/app.yaml"
SUBPATH_FOLDER = "/var/lib/kubelet/pods/7d/volumes/kubernetes.io~projected/all/..2024_05_01_10_00_00.1/conf.d"
WHOLE = "/var/lib/kubelet/pods/7d/volumes/kubernetes.io~configmap/config"
OVERLAY = "599 400 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b"


def info(*mounts: tuple[str, Path | str]) -> str:
    lines = [LINE.format(root=root, point=str(point).replace(" ", r"\040")) for root, point in mounts]
    return "\n".join([OVERLAY, *lines, ""])


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc app"
    (folder / "conf.d").mkdir(parents=True)
    for name in ("app.yaml", "other.json", "conf.d/a.conf"):
        (folder / name).touch()
    return folder


FOUND = {
    # what is mounted where, what is watched, what is frozen
    "a key, watched": (SUBPATH_KEY, "app.yaml", "app.yaml", "app.yaml"),
    "a key, its folder watched": (SUBPATH_KEY, "app.yaml", "", "app.yaml"),
    "a key, a glob that takes it": (SUBPATH_KEY, "app.yaml", "*.yaml", "app.yaml"),
    "a key that was replaced since": (f"{SUBPATH_KEY}//deleted", "app.yaml", "", "app.yaml"),
    "a file of the node": ("/srv/app.yaml", "app.yaml", "app.yaml", "app.yaml"),
    "a folder, watched": (SUBPATH_FOLDER, "conf.d", "conf.d", "conf.d"),
    "a folder, a file of it watched": (SUBPATH_FOLDER, "conf.d", "conf.d/a.conf", "conf.d"),
    "a folder, the one above watched": (SUBPATH_FOLDER, "conf.d", "", "conf.d"),
    "a folder, a glob that leads there": (SUBPATH_FOLDER, "conf.d", "**/*.conf", "conf.d"),
    "a glob that does not take the key": (SUBPATH_KEY, "app.yaml", "*.json", None),
    "a glob that does not lead there": (SUBPATH_FOLDER, "conf.d", "*.conf", None),
    "another file": (SUBPATH_KEY, "app.yaml", "other.json", None),
    "a whole volume": (WHOLE, "", "", None),
    "a key of a whole volume": (WHOLE, "", "app.yaml", None),
    "a whole volume below": (WHOLE, "conf.d", "", None),
}


@pytest.mark.parametrize(("root", "point", "watch", "expected"), FOUND.values(), ids=FOUND.keys())
def test_what_can_never_change(etc: Path, root: str, point: str, watch: str, expected: str | None) -> None:
    found = frozen([str(etc / watch)], info((root, etc / point)))
    assert [item.path for item in found] == ([str(etc / expected)] if expected else [])
    assert all("mount the whole volume" in item.reason for item in found)


def test_a_whole_volume_mounted_inside_a_frozen_one_can_change(etc: Path) -> None:
    text = info((SUBPATH_FOLDER, etc), (WHOLE, etc / "conf.d"))
    assert frozen([str(etc / "conf.d")], text) == []
    assert [item.path for item in frozen([str(etc)], text)] == [str(etc)]


def test_what_a_later_mount_hides_does_not_count(etc: Path) -> None:
    assert frozen([str(etc)], info((SUBPATH_KEY, etc / "app.yaml"), (WHOLE, etc))) == []
    assert frozen([str(etc)], info((SUBPATH_FOLDER, etc), (WHOLE, etc))) == []


def test_a_link_to_a_frozen_folder_is_seen_through(etc: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(etc)
    found = frozen([str(tmp_path / "link" / "conf.d")], info((SUBPATH_FOLDER, etc / "conf.d")))
    assert [item.path for item in found] == [str(etc / "conf.d")]


def test_files_that_every_container_has_are_left_out() -> None:
    mounted = info(*(("/var/lib/kubelet/pods/7d/etc-hosts", f"/etc/{name}") for name in ("hosts", "resolv.conf")))
    assert frozen(["/etc"], mounted) == []


def test_each_is_told_once(etc: Path) -> None:
    text = info((SUBPATH_KEY, etc / "app.yaml"))
    assert len(frozen([str(etc), str(etc / "*.yaml"), str(etc / "app.yaml")], text)) == 1


@pytest.mark.parametrize("text", ["", "nonsense\n", "1 2 3\n\n"])
def test_a_text_that_says_nothing_finds_nothing(etc: Path, text: str) -> None:
    assert frozen([str(etc)], text) == []


def test_a_real_bind_mount_of_one_key_is_found(tmp_path: Path) -> None:
    script = """
import subprocess, sys
from pathlib import Path
from sidecars.config_reloader.watching.mounts import frozen
from tests.support.kubelet import Volume
config = Volume(Path("config of it"))
config.write({"app.yaml": b"1", "conf.d/a.conf": b"2"})
for target in ("app.yaml", "conf.d"):
    subprocess.run(["mount", "--bind", config.current / target, Path("etc") / target], check=True)
assert frozen([str(config.folder)]) == []
config.write({"app.yaml": b"2", "conf.d/a.conf": b"2"})
print(*(item.path for item in frozen(["etc"])))
"""
    (tmp_path / "etc" / "conf.d").mkdir(parents=True)
    (tmp_path / "etc" / "app.yaml").touch()
    if subprocess.run(["unshare", "-m", "mount", "--bind", "etc", "etc"], cwd=tmp_path, check=False).returncode:
        pytest.skip("may not mount here (unshare -m)")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = ["unshare", "-m", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "etc" / name) for name in ("app.yaml", "conf.d")]


def snapshot(*watch: Path) -> Snapshot:
    return volume.take([str(path) for path in watch], contents=True)


def swap_for_ever(folder: str, stop: "Synchronized[int]") -> None:
    made, n, parent = Volume(Path(folder)), 0, os.getppid()
    while not stop.value and os.getppid() == parent:  # a test that is killed leaves nobody behind
        n += 1
        made.write({"one": b"%d" % n, "two": b"%d" % n, "dir/three": b"%d" % n})


@pytest.fixture
def torn(tmp_path: Path) -> Iterator[Path]:
    """A volume that is swapped as fast as can be."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    top = Path(tempfile.mkdtemp(prefix="sidecars-torn-", dir=memory))
    folder = top / "torn"
    Volume(folder).write({"one": b"0", "two": b"0", "dir/three": b"0"})
    stop = multiprocessing.get_context("spawn").Value("i", 0)
    writer = multiprocessing.get_context("spawn").Process(target=swap_for_ever, args=(str(folder), stop))
    writer.start()
    yield folder
    stop.value = 1
    writer.join(30)
    shutil.rmtree(top)


def test_a_look_never_mixes_versions_and_is_never_short(torn: Path) -> None:
    looks, unstable, n = scaled(3_000, 100_000), 0, 0
    versions: set[bytes] = set()
    plain = torn.parent / "plain"
    plain.mkdir()
    (plain / "one").symlink_to(torn / "one")
    (plain / "three").symlink_to(torn / "..data/dir/three")
    give_up_at = time.monotonic() + 60
    while n < looks or (len(versions) < looks // 100 and time.monotonic() < give_up_at):
        n += 1
        seen = snapshot(torn) if n % 2 else snapshot(torn / "one", plain, torn / "dir/*")
        if any(entry.state is EntryState.UNSTABLE for entry in seen.entries):
            unstable += 1
            continue
        assert [entry.files for entry in seen.entries] == ([3] if n % 2 else [1, 2, 1]), f"it was short: {seen}"
        values = set(seen.files.values())
        assert len(values) == 1, f"versions mixed: {seen.files}"
        versions |= values
    assert len(versions) >= looks // 100, "the writer stood still"
    assert unstable < n // 2
