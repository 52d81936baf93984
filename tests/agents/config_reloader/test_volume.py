"""A snapshot of what is watched: consistent for volumes, complete for plain folders, not stopped by a bad file."""

import hashlib
import multiprocessing
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest

from sidecars.config_reloader.core.snapshot import UNREADABLE, EntryKind, EntryState, Snapshot
from sidecars.config_reloader.watching import volume
from sidecars.config_reloader.watching.volume import Bounds
from tests.support.kubelet import Volume
from tests.support.limits import descriptors_left, open_descriptors
from tests.support.scale import scaled


def snapshot(*watch: Path | str) -> Snapshot:
    return volume.take([str(path) for path in watch], contents=True)


def state(seen: Snapshot) -> tuple[EntryKind, EntryState, int]:
    (entry,) = seen.entries
    return entry.kind, entry.state, entry.files


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(params=[False, True], ids=["new kubelet", "old kubelet"])
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Volume:
    made = Volume(tmp_path / "config", links_first=request.param)
    made.write({"app.yaml": b"1", "conf.d/a.conf": b"2"})
    return made


def test_the_keys_of_a_volume_are_its_content(config: Volume) -> None:
    seen = snapshot(config.folder)
    assert state(seen) == (EntryKind.VOLUME, EntryState.OK, 2)
    assert seen.files == {"app.yaml": b"1", "conf.d/a.conf": b"2"}
    assert seen.names["app.yaml"] == hashlib.sha256(b"1").hexdigest()
    assert seen.watch_contents == {str(config.folder)}
    assert not seen.watch_names
    assert not seen.unreadable
    assert volume.take([str(config.folder)]).files == {}
    assert seen.whole


def other_modes(config: Volume) -> None:
    config.change_mode(0o600)
    assert (config.current / "app.yaml").stat().st_mode & 0o777 == 0o644, "the kubelet writes nothing"
    config.rewrite()
    assert (config.current / "app.yaml").stat().st_mode & 0o777 == 0o600


SAME: dict[str, Callable[[Volume], object]] = {
    "an identical rewrite": Volume.rewrite,
    "other modes": other_modes,
    "other times": lambda config: os.utime(config.current / "app.yaml", (1, 1)),
    "recreated": lambda config: config.recreate({"app.yaml": b"1", "conf.d/a.conf": b"2"}),
    "no visible links": lambda config: (config.folder / "app.yaml").unlink(),
    "something beside": lambda config: put(config.folder / "..note"),
}
OTHER: dict[str, dict[str, bytes]] = {
    "a value": {"app.yaml": b"3", "conf.d/a.conf": b"2"},
    "a new key": {"app.yaml": b"1", "conf.d/a.conf": b"2", "new": b""},
    "a key less": {"app.yaml": b"1"},
    "a name": {"app.yml": b"1", "conf.d/a.conf": b"2"},
    "nothing left": {},
}


@pytest.mark.parametrize("act", [*SAME, *OTHER])
def test_the_hash_changes_with_names_and_bytes_and_nothing_else(config: Volume, act: str) -> None:
    before = snapshot(config.folder)
    if act in SAME:
        SAME[act](config)
    else:
        config.write(OTHER[act])
    after = snapshot(config.folder)
    assert (after.hash == before.hash) is (act in SAME)
    assert after.files == OTHER.get(act, before.files)
    assert after.whole


def test_a_new_key_counts_before_its_visible_link_is_there(config: Volume) -> None:
    config.switch(config.make_data({"new": b"3"}))
    for watch, files in [("", {"new": b"3"}), ("new", {"new": b"3"}), ("n*", {"new": b"3"}), ("app.yaml", {})]:
        seen = snapshot(config.folder / watch)
        assert seen.files == files, watch
    assert state(snapshot(config.folder / "app.yaml")) == (EntryKind.FILE, EntryState.MISSING, 0), "no key"


SHAPES = {
    "a key": ("app.yaml", EntryKind.FILE, {"app.yaml": b"1"}),
    "a key below": ("conf.d/a.conf", EntryKind.FILE, {"a.conf": b"2"}),
    "a glob": ("*.yaml", EntryKind.GLOB, {"app.yaml": b"1"}),
    "a glob below": ("conf.d/*", EntryKind.GLOB, {"a.conf": b"2"}),
    "a glob of any depth": ("**/*.conf", EntryKind.GLOB, {"conf.d/a.conf": b"2"}),
    "a glob without a match": ("*.json", EntryKind.GLOB, {}),
    "a folder below": ("conf.d", EntryKind.VOLUME, {"a.conf": b"2"}),
    "the data itself": ("..data", EntryKind.VOLUME, {"app.yaml": b"1", "conf.d/a.conf": b"2"}),
}


@pytest.mark.parametrize(("watch", "kind", "files"), SHAPES.values(), ids=SHAPES.keys())
def test_parts_of_a_volume(config: Volume, watch: str, kind: EntryKind, files: dict[str, bytes]) -> None:
    before = snapshot(config.folder / watch)
    assert (state(before), before.files) == ((kind, EntryState.OK, len(files)), files)
    assert before.watch_contents == {str(config.folder)}
    config.write({"app.yaml": b"1", "conf.d/a.conf": b"2", "beside": b"4"})
    assert (snapshot(config.folder / watch).hash == before.hash) == (watch != "..data")


def test_a_volume_without_its_data_is_waited_for(config: Volume) -> None:
    (config.folder / "..data").unlink()
    for watch in ("", "app.yaml", "*"):
        seen = snapshot(config.folder / watch)
        assert state(seen)[1:] == (EntryState.MISSING, 0), watch
        assert not seen.whole
        assert str(config.folder) in seen.watch_contents | seen.watch_names
    config.remove()
    assert state(snapshot(config.folder)) == (EntryKind.FILE, EntryState.MISSING, 0)
    assert snapshot(config.folder).watch_names == {str(config.folder.parent)}


def test_a_volume_whose_data_is_back_at_once_was_never_missing(config: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers other than the kubelet remove the link and make it again."""
    data = config.current.name
    (config.folder / "..data").unlink()
    monkeypatch.setattr(os, "sched_yield", lambda: config.switch(data))
    assert state(snapshot(config.folder)) == (EntryKind.VOLUME, EntryState.OK, 2)


def test_a_volume_that_never_rests_is_unstable(config: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    real, swaps = os.readv, []

    def swapping(fd: int, buffers: list[bytearray]) -> int:
        config.rewrite()
        swaps.append(fd)
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", swapping)
    assert state(snapshot(config.folder)) == (EntryKind.VOLUME, EntryState.UNSTABLE, 0)
    assert len(swaps) < 1000, "it gives up"
    monkeypatch.undo()
    assert snapshot(config.folder).whole


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A plain folder with some files."""
    for name in ("nginx.conf", ".hidden", "sub/deep/a.conf", "..ignored"):
        put(tmp_path / "etc" / name, name)
    return tmp_path / "etc"


def test_a_plain_folder_is_read_with_all_below_it(etc: Path) -> None:
    seen = snapshot(etc)
    assert seen.files == {name: name.encode() for name in ("nginx.conf", ".hidden", "sub/deep/a.conf")}
    assert state(seen) == (EntryKind.FOLDER, EntryState.OK, 3)
    assert seen.watch_contents == {str(etc / below) for below in ("", "sub", "sub/deep")}
    put(etc / "nginx.conf", "other")
    assert snapshot(etc).hash != seen.hash
    assert snapshot(f"{os.path.relpath(etc)}/").names == snapshot(etc).names, "a slash at the end"


def test_a_glob_looks_only_where_it_may_match(etc: Path) -> None:
    os.mkfifo(etc / "sub" / "pipe")
    seen = snapshot(etc / "*.conf")
    assert seen.names.keys() == {"nginx.conf"}
    assert seen.watch_contents == {str(etc)}
    assert not seen.unreadable
    seen = snapshot(etc / "*/deep/*.conf")
    assert seen.names.keys() == {"sub/deep/a.conf"}
    assert seen.watch_contents == {str(etc / "sub/deep")}
    assert seen.watch_names == {str(etc), str(etc / "sub")}


def test_a_volume_mounted_below_a_plain_folder_is_read_as_a_volume(etc: Path) -> None:
    inner = Volume(etc / "conf.d")
    inner.write({"b.conf": b"b", "c/d.conf": b"d"})
    seen = snapshot(etc)
    assert {"conf.d/b.conf", "conf.d/c/d.conf"} < seen.names.keys()
    assert str(inner.folder) in seen.watch_contents
    inner.rewrite()
    assert snapshot(etc).hash == seen.hash
    (inner.folder / "..data").unlink()
    assert state(snapshot(etc)) == (EntryKind.FOLDER, EntryState.MISSING, 0), "half of it must not be told"


@pytest.mark.parametrize("target", ["..data/app.yaml", "app.yaml"])
@pytest.mark.parametrize("watch", ["", "app.yaml", "*.yaml"])
def test_links_into_a_volume_are_watched_where_the_swap_happens(tmp_path: Path, target: str, watch: str) -> None:
    away = Volume(tmp_path / "away" / "config")
    away.write({"app.yaml": b"1"})
    (tmp_path / "hop").mkdir()
    (tmp_path / "app").mkdir()
    (tmp_path / "srv").symlink_to("away")
    (tmp_path / "hop" / "link").symlink_to(f"../srv/config/{target}")
    (tmp_path / "app" / "app.yaml").symlink_to(tmp_path / "hop" / "link")
    seen = snapshot(tmp_path / "app" / watch)
    assert seen.files == {"app.yaml": b"1"}
    assert seen.watch_contents == {str(tmp_path / "app"), str(tmp_path / "hop"), str(away.folder)}
    assert seen.watch_names == {str(tmp_path)}, "where srv could be made to lead elsewhere"
    away.write({"app.yaml": b"2"})
    assert snapshot(tmp_path / "app" / watch).files == {"app.yaml": b"2"}


def test_links_to_folders_are_followed_and_loops_end(etc: Path, tmp_path: Path) -> None:
    put(tmp_path / "real" / "x.conf")
    (tmp_path / "real" / "back").symlink_to(etc)
    (etc / "linked").symlink_to(tmp_path / "real")
    (etc / "self").symlink_to(".")
    seen = snapshot(etc)
    assert {"linked/x.conf", "nginx.conf"} < seen.names.keys()
    assert {problem.path for problem in seen.unreadable} == {str(etc / "self"), str(etc / "linked" / "back")}
    assert str(tmp_path / "real") in seen.watch_contents
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "current").symlink_to(tmp_path / "real")
    seen = snapshot(tmp_path / "links" / "current")
    assert state(seen) == (EntryKind.FOLDER, EntryState.OK, 6)
    assert str(tmp_path / "links") in seen.watch_names, "where it could be made to lead elsewhere"


def bad_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is at most 107 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a named pipe": (os.mkfifo, "not a regular file"),
    "a socket": (bad_socket, "not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "link to something that is not there"),
    "a loop": (lambda path: path.symlink_to(path.name), "circle"),
}


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_is_told_and_stops_nothing_else(
    etc: Path, make: Callable[[Path], object], reason: str
) -> None:
    without = snapshot(etc)
    make(etc / "bad")
    seen = snapshot(etc)
    assert [(p.path, reason in p.reason) for p in seen.unreadable] == [(str(etc / "bad"), True)]
    assert seen.names == {**without.names, "bad": UNREADABLE}
    assert seen.files == without.files
    assert seen.whole
    (alone,) = snapshot(etc / "bad").entries
    assert alone.state is EntryState.MISSING, "there is nothing to tell"
    (etc / "bad").unlink()
    put(etc / "bad", "")
    assert len({without.hash, seen.hash, snapshot(etc).hash}) == 3


def test_a_file_that_goes_after_it_was_listed_is_no_trouble(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def late(path: str, **options: int | None) -> os.stat_result:
        if path == "nginx.conf":
            (etc / path).unlink()
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", late)
    seen = snapshot(etc)
    assert (seen.whole, seen.unreadable, "nginx.conf" in seen.names) == (True, (), False)


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[None]:
    """An ordinary user: root may read everything."""
    if os.geteuid():
        yield
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    yield
    os.seteuid(0)


def test_an_unreadable_file_counts_as_soon_as_it_can_be_read(etc: Path, somebody: None) -> None:
    (etc / "nginx.conf").chmod(0)
    (etc / "sub").chmod(0)
    if not os.geteuid():
        os.seteuid(65534)
    seen = snapshot(etc)
    assert {p.path for p in seen.unreadable} == {str(etc / "nginx.conf"), str(etc / "sub")}
    assert all("permission denied" in p.reason for p in seen.unreadable)
    assert seen.files.keys() == {".hidden"}
    whole = snapshot(etc / "sub")
    assert (state(whole)[1], len(whole.unreadable)) == (EntryState.MISSING, 1)
    if not os.getuid():
        os.seteuid(0)
    (etc / "nginx.conf").chmod(0o644)
    assert snapshot(etc).hash != seen.hash


def test_what_is_missing_is_waited_for_at_its_nearest_parent(tmp_path: Path) -> None:
    for watch in ("not/yet", "not/yet/*.yaml", "not"):
        seen = snapshot(tmp_path / watch)
        assert (seen.whole, seen.entries[0].state, seen.unreadable) == (False, EntryState.MISSING, ())
        assert seen.watch_names == {str(tmp_path)}
    put(tmp_path / "file")
    assert snapshot(tmp_path / "file" / "below").watch_names == {str(tmp_path)}
    assert state(snapshot(tmp_path / "file" / "*"))[:2] == (EntryKind.GLOB, EntryState.MISSING)


def test_several_entries_are_one_content_with_their_clashes(config: Volume, etc: Path) -> None:
    put(etc / "app.yaml", "plain")
    seen = snapshot(config.folder, etc)
    assert seen.clashes == ("app.yaml",)
    assert seen.files["app.yaml"] == b"1"
    assert [entry.kind for entry in seen.entries] == [EntryKind.VOLUME, EntryKind.FOLDER]
    assert not snapshot(config.folder, etc / "gone").whole


BOUNDS: list[tuple[Bounds, str]] = [
    # three files of ten bytes each, in two folders
    (Bounds(3, 30), ""),
    (Bounds(2, 30), "more than 2 files (max_files) are watched"),
    (Bounds(3, 29), "more than 29 bytes (max_bytes) are watched"),
    (Bounds(1, 30), "more than 1 folders (max_files) are watched"),
]


@pytest.mark.parametrize(("bounds", "said"), BOUNDS)
def test_too_much_is_said_and_leaves_the_other_entries_alone(tmp_path: Path, bounds: Bounds, said: str) -> None:
    for name in ("deep/a", "deep/b", "deep/c"):
        put(tmp_path / "flat" / name, "ten bytes.")
    (tmp_path / "empty").mkdir()
    seen = volume.take([str(tmp_path / "flat"), str(tmp_path / "empty")], bounds)
    assert [entry.state for entry in seen.entries] == [EntryState.TOO_LARGE if said else EntryState.OK, EntryState.OK]
    assert said in seen.entries[0].too_large
    assert ("raise the limit" in seen.entries[0].too_large) is bool(said)


def test_a_deep_tree_ends(tmp_path: Path) -> None:
    put(tmp_path.joinpath(*["d"] * 70) / "a")
    seen = snapshot(tmp_path)
    assert "below 64 folders" in seen.unreadable[0].reason
    assert seen.whole


def test_short_of_descriptors_is_no_change(etc: Path) -> None:
    before, whole, seen = open_descriptors(), snapshot(etc), snapshot(etc)
    for room in range(9 + before):  # those that are open need not be the lowest
        with descriptors_left(room):
            seen = snapshot(etc)
        assert seen.hash == whole.hash if seen.whole else seen.entries[0].state is EntryState.UNSTABLE
        assert not seen.whole or room
    assert seen.whole, "with enough of them it is whole"
    assert open_descriptors() == before, "descriptors leak"


def test_a_name_that_is_not_utf_8_is_read(etc: Path) -> None:
    with open(os.fsencode(etc) + b"/caf\xe9", "wb") as file:
        file.write(b"x")
    os.mkfifo(os.fsencode(etc) + b"/pip\xe9")
    seen = snapshot(etc)
    assert seen.files[os.fsdecode(b"caf\xe9")] == b"x"
    seen.unreadable[0].path.encode()


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


def test_a_snapshot_never_mixes_versions_and_is_never_short(torn: Path) -> None:
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
