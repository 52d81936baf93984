"""Which files are found, and how soon: globs, links, what only looks like a log, what cannot be read yet."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.logs import LogWriter
from tests.support.scene import Scene
from tests.support.sidecars import ShipperProcess

GENEROUS_SECONDS = 10.0
"""For what takes less than a second on a machine with nothing else to do (`make bench` prints the figure)."""
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Takes from root what lets it read everything."""


def put(path: Path, *lines: str) -> list[str]:
    """A file with these lines, in folders that are made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return list(lines)


def arrives(scene: Scene, shipper: ShipperProcess, documents: int) -> None:
    shipper.until(lambda: scene.count() >= documents, f"{documents} documents soon", GENEROUS_SECONDS)


def test_a_new_file_is_shipped_soon(scene: Scene) -> None:
    """Also when nothing has happened for a while, and when its folder is new as well."""
    shipper = scene.shipper({"paths": f"{scene.logs}/**/*.log"}).start()
    shipper.until(lambda: shipper.status()["uptime_seconds"] > 3, "it to be idle")
    written: list[str] = []
    for name in ("one.log", "two.log", "deep/er/three.log", "deep/er/four.log", "deep/five.log"):
        written += put(scene.logs / name, name)
        arrives(scene, shipper, len(written))
    scene.expect(shipper, written)


def test_a_new_line_of_an_idle_file_is_shipped_soon(scene: Scene) -> None:
    shipper = scene.shipper().start()
    writer = LogWriter(scene.logs / "app.log")
    for _ in range(2):
        writer.write()
        arrives(scene, shipper, len(writer.written))
        idle_since = shipper.status()["uptime_seconds"]
        shipper.until(lambda at=idle_since: shipper.status()["uptime_seconds"] > at + 2, "it to be idle")  # type: ignore[misc]
    scene.expect(shipper, writer.written)


def test_folders_that_do_not_exist_yet_are_waited_for(scene: Scene) -> None:
    shipper = scene.shipper({"paths": f"{scene.logs}/later/on/*.log"}).start()
    written = put(scene.logs / "later" / "on" / "app.log", "one", "two")
    arrives(scene, shipper, 2)
    shutil.rmtree(scene.logs / "later")
    shipper.until(lambda: not shipper.status()["files"], "the removed file to be let go")
    written += put(scene.logs / "later" / "on" / "app.log", "three")
    scene.expect(shipper, written)


def test_two_stars_cross_folders_and_excluded_files_are_left_out(scene: Scene) -> None:
    shipper = scene.shipper(
        {"paths": f"{scene.logs}/**/*.log", "exclude": f"*.debug.log,{scene.logs}/private/*"}
    ).start()
    wanted = ["top.log", "a/one.log", "a/b/two.log", "a/b/c/.hidden.log", "debug.log"]
    unwanted = ["x.debug.log", "a/y.debug.log", "private/secret.log", "a/b/three.txt", "old.log.gz"]
    for name in unwanted:
        put(scene.logs / name, "not to be shipped")
    written = [line for name in wanted for line in put(scene.logs / name, name)]
    scene.expect(shipper, written)


def test_overlapping_globs_ship_a_file_once(scene: Scene) -> None:
    patterns = (f"{scene.logs}/*.log", f"{scene.logs}/**", f"{scene.logs}/a*")
    shipper = scene.shipper({"paths": ",".join(patterns)}).start()
    scene.expect(shipper, put(scene.logs / "app.log", "one", "two"))


def test_names_with_special_characters_are_shipped(scene: Scene) -> None:
    shipper = scene.shipper({"paths": f"{scene.logs}/**"}).start()
    names = [
        "with space.log",
        'quo"te.log',
        "back\\slash.log",
        "brackets[1].log",
        "ünï.log",
        "new\nline.log",
        "-dash",
        "*",
    ]
    written = [line for name in names for line in put(scene.logs / name, f"in {name!r}")]
    scene.expect(shipper, written)
    assert {Path(hit["_source"]["log"]["file"]["path"]).name for hit in scene.hits()} == set(names)


def test_symlinks_to_files_and_folders_are_followed_once(scene: Scene) -> None:
    elsewhere = scene.folder / "elsewhere"
    written = put(elsewhere / "real.log", "one") + put(elsewhere / "folder" / "inner.log", "two")
    (scene.logs / "link.log").symlink_to(elsewhere / "real.log")
    (scene.logs / "again.log").symlink_to(elsewhere / "real.log")
    (scene.logs / "dangling.log").symlink_to(elsewhere / "nothing.log")
    (scene.logs / "loop.log").symlink_to(scene.logs / "loop.log")
    (scene.logs / "linked").symlink_to(elsewhere / "folder")
    shipper = scene.shipper({"paths": f"{scene.logs}/*.log,{scene.logs}/linked/*.log"}).start()
    arrives(scene, shipper, 2)
    written += put(elsewhere / "nothing.log", "three")  # the link leads somewhere now
    LogWriter(elsewhere / "real.log").write_bytes(b"four\n")
    scene.expect(shipper, [*written, "four"])


def test_what_only_looks_like_a_log_blocks_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO without a writer, a folder, a socket, a device; and a log next to them."""
    os.mkfifo(scene.logs / "fifo.log")
    (scene.logs / "folder.log").mkdir()
    (scene.logs / "null.log").symlink_to(os.devnull)
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(scene.logs)  # a socket's path may not be long
    try:
        listener.bind("socket.log")
        shipper = scene.shipper().start()
        written = put(scene.logs / "app.log", "one", "two")
        arrives(scene, shipper, 2)
        (scene.logs / "fifo.log").unlink()
        written += put(scene.logs / "fifo.log", "a log at last")
        scene.expect(shipper, written)
    finally:
        listener.close()


def test_a_file_that_cannot_be_read_yet_is_shipped_when_it_can(scene: Scene) -> None:
    """It is said once, with the path; other files do not suffer."""
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("needs setpriv (util-linux) to take root's privileges from a process")
    locked = scene.logs / "locked.log"
    written = put(locked, "locked")
    locked.chmod(0)
    shipper = scene.shipper(prefix=prefix).start()
    written += put(scene.logs / "open.log", "open")
    arrives(scene, shipper, 1)
    shipper.until(lambda: shipper.logged("file.unreadable"), "the complaint")
    assert scene.count() == 1
    locked.chmod(0o600)
    scene.expect(shipper, written)
    (line,) = shipper.logged("file.unreadable")
    assert (line["file"], line["reason"]) == (str(locked), "Permission denied")
    assert f"{locked}: Permission denied" in line["message"]


def test_a_folder_that_cannot_be_read_yet_is_shipped_when_it_can(scene: Scene) -> None:
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("needs setpriv (util-linux) to take root's privileges from a process")
    folder = scene.logs / "locked"
    written = put(folder / "app.log", "locked")
    folder.chmod(0)
    try:
        shipper = scene.shipper({"paths": f"{scene.logs}/**/*.log"}, prefix).start()
        written += put(scene.logs / "open.log", "open")
        arrives(scene, shipper, 1)
    finally:
        folder.chmod(0o700)
    scene.expect(shipper, written)


def test_an_empty_file_is_followed_and_ships_nothing(scene: Scene) -> None:
    shipper = scene.shipper().start()
    log = scene.logs / "app.log"
    log.touch()
    scene.until_followed(shipper, log)
    assert shipper.metric("read_bytes_total") == 0
    scene.expect(shipper, put(log, "one"))


def test_a_glob_without_a_file_is_said_until_it_has_one(scene: Scene) -> None:
    shipper = scene.shipper({"paths": f"{scene.logs}/*.log,{scene.folder}/later/*.log"}).start()
    written = put(scene.logs / "app.log", "one")
    arrives(scene, shipper, 1)
    shipper.until(lambda: shipper.logged("paths.unreached"), "the warning")
    (said,) = shipper.logged("paths.unreached")
    assert f"{scene.folder}/later/*.log" in said["message"]
    assert f"{scene.logs}/*.log" not in said["message"]
    status, body = shipper.ask("/readyz")
    assert (status, f"{scene.folder}/later/*.log" in body) == (200, True)
    assert shipper.metric("unmatched_paths") == 1
    written += put(scene.folder / "later" / "app.log", "two")
    shipper.until(lambda: shipper.logged("paths.reached"), "the all-clear")
    assert shipper.metric("unmatched_paths") == 0
    assert "later" not in shipper.ask("/readyz")[1]
    scene.expect(shipper, written)


def test_a_folder_that_may_not_be_entered_is_said_with_the_remedy(scene: Scene) -> None:
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("needs setpriv (util-linux) to take root's privileges from a process")
    folder = scene.logs / "private"
    written = put(folder / "app.log", "one")
    folder.chmod(0)
    try:
        shipper = scene.shipper({"paths": f"{folder}/*.log"}, prefix).start()
        shipper.until(lambda: shipper.logged("paths.unreached"), "the warning")
        text = shipper.logged("paths.unreached")[0]["message"]
        assert all(word in text for word in (f"cannot enter the folder {folder}:", f" {os.geteuid()}:", "runAsUser"))
        assert str(folder) in shipper.ask("/readyz")[1]
        assert shipper.metric("closed_folders") == 1
    finally:
        folder.chmod(0o700)
    scene.expect(shipper, written)
