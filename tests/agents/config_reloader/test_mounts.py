"""Mounts that can never change are found in recorded texts; tests/scenarios/config_reloader has real bind mounts."""

from pathlib import Path

import pytest

from sidecars.config_reloader.watching.mounts import frozen

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
