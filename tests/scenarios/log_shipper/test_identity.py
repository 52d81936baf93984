"""Who a file is: inode and content, never its name."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
from tests.support.scale import scaled
from tests.support.sidecars import ShipperProcess

BANNER = "=== service checkout, version 4.2, starting ==="
HEAD = [f"{number:4d} " + "the same in both files " * 4 for number in range(25)]  # over 2 KB


def paths_of(stage: LogStage) -> dict[str, int]:
    """How many documents came from which file name."""
    counted: dict[str, int] = {}
    for hit in stage.hits():
        name = Path(hit["_source"]["log"]["file"]["path"]).name
        counted[name] = counted.get(name, 0) + 1
    return counted


def test_two_files_with_equal_heads_are_two_files(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    one, two = LogWriter(stage.logs / "one.log", "one"), LogWriter(stage.logs / "two.log", "two")
    for writer in (one, two):
        writer.write_lines(*HEAD)
    stage.until_documents(shipper, 2 * len(HEAD))
    for _ in range(3):
        one.write(10)
        two.write(10)
        stage.until_documents(shipper, len(one.written + two.written))
    stage.expect(shipper, one.written + two.written)


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
def test_two_equal_files_are_shipped_both(stage: LogStage, running: bool) -> None:
    """The same bytes from first to last; each is somebody's log."""
    shipper = stage.new_shipper()
    if running:
        shipper.start()
    writers = [LogWriter(stage.logs / f"{name}.log") for name in ("one", "two", "three")]
    for writer in writers:
        writer.write(50)
    stage.expect(shipper if running else shipper.start(), writers[0].written * 3)
    assert paths_of(stage) == {"one.log": 50, "two.log": 50, "three.log": 50}


def test_a_copy_inside_the_globs_is_a_file_of_its_own(stage: LogStage) -> None:
    """Nobody truncated the original: a person copied it, and both grow apart."""
    shipper = stage.new_shipper().start()
    original = LogWriter(stage.logs / "app.log")
    original.write(100)
    stage.until_documents(shipper, 100)
    shutil.copyfile(original.path, stage.logs / "copy.log")
    stage.until_documents(shipper, 200)
    copy = LogWriter(stage.logs / "copy.log", "copy")
    copy.write(20)
    original.write(20)
    stage.expect(shipper, original.written + original.written[:100] + copy.written)
    assert paths_of(stage) == {"app.log": 120, "copy.log": 120}


def test_a_hard_link_is_the_same_file(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    writer = LogWriter(stage.logs / "app.log")
    writer.write(10)
    os.link(writer.path, stage.logs / "link.log")
    stage.until_documents(shipper, 10)
    writer.write(10)
    stage.until_documents(shipper, 20)
    writer.path.unlink()
    writer.write(10)
    stage.expect(shipper, writer.written)


def test_an_inode_reused_at_once_is_a_new_file(stage: LogStage) -> None:
    """Deleted and let go, then new files that get the same inodes, and whose first lines, even all lines, are equal."""
    shipper = stage.new_shipper().start()
    count = scaled(100, 500)
    written: list[str] = []
    seen: set[int] = set()
    reused = 0
    for _ in range(scaled(2, 3)):
        written += fill(stage, count)
        inodes = {path.stat().st_ino for path in stage.logs.iterdir()}
        reused += len(inodes & seen)
        seen |= inodes
        stage.until_documents(shipper, len(written))
        for path in stage.logs.iterdir():
            path.unlink()
        shipper.until(lambda: not shipper.status()["files"], "the deleted files to be let go")
    if not reused:
        pytest.skip("needs a file system that reuses inode numbers at once (ext4, xfs): this one does not")
    stage.expect(shipper, written)


def test_an_inode_reused_while_the_shipper_is_down_is_a_new_file(stage: LogStage) -> None:
    shipper = stage.new_shipper()
    count = scaled(50, 500)
    written: list[str] = []
    for number in range(scaled(3, 6)):
        for path in stage.logs.iterdir():
            path.unlink()
        written += fill(stage, count, f"round {number}")
        shipper.start()
        stage.until_documents(shipper, len(written))
        shipper.until_caught_up()
        assert shipper.terminate() == 0
    stage.expect(shipper.start(), written)


def fill(stage: LogStage, count: int, last: str = "ready") -> list[str]:
    """So many files that begin alike; what was written."""
    written: list[str] = []
    for number in range(count):
        writer = LogWriter(stage.logs / f"{number}.log")
        writer.write_lines(BANNER, last)
        writer.close()
        written += writer.written
    return written


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_replaced_file_is_read_whole_after_a_restart(stage: LogStage, signal: str) -> None:
    """Deleted and created anew while the shipper was down, longer than before and with the same head."""
    shipper = stage.new_shipper()
    log = stage.logs / "app.log"
    first = LogWriter(log, "first")
    first.write_lines(*HEAD)
    first.write(50)
    shipper.start()
    stage.until_documents(shipper, len(first.written))
    stage.until_checkpointed(shipper, log)
    stop(shipper, signal)
    log.unlink()
    first.close()
    second = LogWriter(log, "second")
    second.write_lines(*HEAD)
    second.write(500)
    stage.expect(shipper.start(), first.written + second.written)


def stop(shipper: ShipperProcess, signal: str) -> None:
    """The polite way or the other one."""
    if signal == "SIGTERM":
        assert shipper.terminate() == 0
    else:
        shipper.kill()
