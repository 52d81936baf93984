"""Which files are found, and how soon: globs, links, what only looks like a log, what cannot be read yet."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
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


def arrives(stage: LogStage, shipper: ShipperProcess, documents: int) -> None:
    shipper.until(lambda: stage.arrived_count() >= documents, f"{documents} documents soon", GENEROUS_SECONDS)


def test_a_new_file_is_shipped_soon(stage: LogStage) -> None:
    """Also when nothing has happened for a while, and when its folder is new as well."""
    shipper = stage.new_shipper({"paths": f"{stage.logs}/**/*.log"}).start()
    shipper.until(lambda: shipper.status()["uptime_seconds"] > 3, "it to be idle")
    written: list[str] = []
    for name in ("one.log", "two.log", "deep/er/three.log", "deep/er/four.log", "deep/five.log"):
        written += put(stage.logs / name, name)
        arrives(stage, shipper, len(written))
    stage.expect(shipper, written)


def test_a_new_line_of_an_idle_file_is_shipped_soon(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    writer = LogWriter(stage.logs / "app.log")
    for _ in range(2):
        writer.write()
        arrives(stage, shipper, len(writer.written))
        idle_since = shipper.status()["uptime_seconds"]
        shipper.until(lambda at=idle_since: shipper.status()["uptime_seconds"] > at + 2, "it to be idle")  # type: ignore[misc]
    stage.expect(shipper, writer.written)


def test_folders_that_do_not_exist_yet_are_waited_for(stage: LogStage) -> None:
    shipper = stage.new_shipper({"paths": f"{stage.logs}/later/on/*.log"}).start()
    written = put(stage.logs / "later" / "on" / "app.log", "one", "two")
    arrives(stage, shipper, 2)
    shutil.rmtree(stage.logs / "later")
    shipper.until(lambda: not shipper.status()["files"], "the removed file to be let go")
    written += put(stage.logs / "later" / "on" / "app.log", "three")
    stage.expect(shipper, written)


def test_two_stars_cross_folders_and_excluded_files_are_left_out(stage: LogStage) -> None:
    shipper = stage.new_shipper(
        {"paths": f"{stage.logs}/**/*.log", "exclude": f"*.debug.log,{stage.logs}/private/*"}
    ).start()
    wanted = ["top.log", "a/one.log", "a/b/two.log", "a/b/c/.hidden.log", "debug.log"]
    unwanted = ["x.debug.log", "a/y.debug.log", "private/secret.log", "a/b/three.txt", "old.log.gz"]
    for name in unwanted:
        put(stage.logs / name, "not to be shipped")
    written = [line for name in wanted for line in put(stage.logs / name, name)]
    stage.expect(shipper, written)


def test_overlapping_globs_ship_a_file_once(stage: LogStage) -> None:
    patterns = (f"{stage.logs}/*.log", f"{stage.logs}/**", f"{stage.logs}/a*")
    shipper = stage.new_shipper({"paths": ",".join(patterns)}).start()
    stage.expect(shipper, put(stage.logs / "app.log", "one", "two"))


def test_names_with_special_characters_are_shipped(stage: LogStage) -> None:
    shipper = stage.new_shipper({"paths": f"{stage.logs}/**"}).start()
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
    written = [line for name in names for line in put(stage.logs / name, f"in {name!r}")]
    stage.expect(shipper, written)
    assert {Path(hit["_source"]["log"]["file"]["path"]).name for hit in stage.hits()} == set(names)


def test_symlinks_to_files_and_folders_are_followed_once(stage: LogStage) -> None:
    elsewhere = stage.folder / "elsewhere"
    written = put(elsewhere / "real.log", "one") + put(elsewhere / "folder" / "inner.log", "two")
    (stage.logs / "link.log").symlink_to(elsewhere / "real.log")
    (stage.logs / "again.log").symlink_to(elsewhere / "real.log")
    (stage.logs / "dangling.log").symlink_to(elsewhere / "nothing.log")
    (stage.logs / "loop.log").symlink_to(stage.logs / "loop.log")
    (stage.logs / "linked").symlink_to(elsewhere / "folder")
    shipper = stage.new_shipper({"paths": f"{stage.logs}/*.log,{stage.logs}/linked/*.log"}).start()
    arrives(stage, shipper, 2)
    written += put(elsewhere / "nothing.log", "three")  # the link leads somewhere now
    LogWriter(elsewhere / "real.log").write_bytes(b"four\n")
    stage.expect(shipper, [*written, "four"])


def test_what_only_looks_like_a_log_blocks_nothing(stage: LogStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO without a writer, a folder, a socket, a device; and a log next to them."""
    os.mkfifo(stage.logs / "fifo.log")
    (stage.logs / "folder.log").mkdir()
    (stage.logs / "null.log").symlink_to(os.devnull)
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(stage.logs)  # a socket's path may not be long
    try:
        listener.bind("socket.log")
        shipper = stage.new_shipper().start()
        written = put(stage.logs / "app.log", "one", "two")
        arrives(stage, shipper, 2)
        (stage.logs / "fifo.log").unlink()
        written += put(stage.logs / "fifo.log", "a log at last")
        stage.expect(shipper, written)
    finally:
        listener.close()


def test_a_file_that_cannot_be_read_yet_is_shipped_when_it_can(stage: LogStage) -> None:
    """It is said once, with the path; other files do not suffer."""
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("needs setpriv (util-linux) to take root's privileges from a process")
    locked = stage.logs / "locked.log"
    written = put(locked, "locked")
    locked.chmod(0)
    shipper = stage.new_shipper(prefix=prefix).start()
    written += put(stage.logs / "open.log", "open")
    arrives(stage, shipper, 1)
    shipper.until(lambda: shipper.logged("file.unreadable"), "the complaint")
    assert stage.arrived_count() == 1
    locked.chmod(0o600)
    stage.expect(shipper, written)
    (line,) = shipper.logged("file.unreadable")
    assert (line["file"], line["reason"]) == (str(locked), "Permission denied")
    assert f"{locked}: Permission denied" in line["message"]


def test_a_folder_that_cannot_be_read_yet_is_shipped_when_it_can(stage: LogStage) -> None:
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("needs setpriv (util-linux) to take root's privileges from a process")
    folder = stage.logs / "locked"
    written = put(folder / "app.log", "locked")
    folder.chmod(0)
    try:
        shipper = stage.new_shipper({"paths": f"{stage.logs}/**/*.log"}, prefix).start()
        written += put(stage.logs / "open.log", "open")
        arrives(stage, shipper, 1)
    finally:
        folder.chmod(0o700)
    stage.expect(shipper, written)


def test_an_empty_file_is_followed_and_ships_nothing(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    log.touch()
    stage.until_followed(shipper, log)
    assert shipper.metric("read_bytes_total") == 0
    stage.expect(shipper, put(log, "one"))


def test_a_glob_without_a_file_is_said_until_it_has_one(stage: LogStage) -> None:
    shipper = stage.new_shipper({"paths": f"{stage.logs}/*.log,{stage.folder}/later/*.log"}).start()
    written = put(stage.logs / "app.log", "one")
    arrives(stage, shipper, 1)
    shipper.until(lambda: shipper.logged("paths.unreached"), "the warning")
    (said,) = shipper.logged("paths.unreached")
    assert f"{stage.folder}/later/*.log" in said["message"]
    assert f"{stage.logs}/*.log" not in said["message"]
    status, body = shipper.ask("/readyz")
    assert (status, f"{stage.folder}/later/*.log" in body) == (200, True)
    assert shipper.metric("unmatched_paths") == 1
    written += put(stage.folder / "later" / "app.log", "two")
    shipper.until(lambda: shipper.logged("paths.reached"), "the all-clear")
    assert shipper.metric("unmatched_paths") == 0
    assert "later" not in shipper.ask("/readyz")[1]
    stage.expect(shipper, written)


def test_a_folder_that_may_not_be_entered_is_said_with_the_remedy(stage: LogStage) -> None:
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("needs setpriv (util-linux) to take root's privileges from a process")
    folder = stage.logs / "private"
    written = put(folder / "app.log", "one")
    folder.chmod(0)
    try:
        shipper = stage.new_shipper({"paths": f"{folder}/*.log"}, prefix).start()
        shipper.until(lambda: shipper.logged("paths.unreached"), "the warning")
        text = shipper.logged("paths.unreached")[0]["message"]
        assert all(word in text for word in (f"cannot enter the folder {folder}:", f" {os.geteuid()}:", "runAsUser"))
        assert str(folder) in shipper.ask("/readyz")[1]
        assert shipper.metric("closed_folders") == 1
    finally:
        folder.chmod(0o700)
    stage.expect(shipper, written)
