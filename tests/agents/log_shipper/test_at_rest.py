"""Files at rest are closed, and met again whatever happened to them meanwhile: nothing lost, nothing doubled."""

import os
import time
from pathlib import Path

import pytest

from sidecars.log_shipper.core.notices import Notice
from tests.support.reading import Make, Reading, copytruncate, numbered, once, write

HELD = 2
NAMES = [f"app-{number}.log" for number in range(8)]


def grow_old(path: Path) -> None:
    """Not written for ten minutes."""
    then = time.time() - 600
    os.utime(path, (then, then))


@pytest.fixture
def rested(reading: Make, tmp_path: Path) -> Reading:
    """All files are delivered; all but two are closed."""
    one = reading("*.log*", held=HELD)
    for name in NAMES:
        write(tmp_path / name, f"{name} a", f"{name} b")
        grow_old(tmp_path / name)
    one.go()
    one.go(60)
    assert (len(one.following.tails), len(one.following.closed)) == (HELD, len(NAMES) - HELD)
    one.sent.clear()
    return one


def closed_one(one: Reading) -> Path:
    return Path(next(iter(one.following.closed.values())).place)


def test_a_closed_file_that_grows_is_read_on_without_a_scan(rested: Reading) -> None:
    path = closed_one(rested)
    write(path, "c")
    rested.following.refresh_closed(1.0, rested.now)
    assert rested.take() == ["c"]


def test_all_closed_files_are_looked_at_in_turn(rested: Reading) -> None:
    for position in rested.following.closed.values():
        write(Path(position.place), f"{position.place} c")
    expected = sorted(f"{position.place} c" for position in rested.following.closed.values())
    for _ in range(8):
        rested.following.refresh_closed(1 / 8, rested.now)
    assert sorted(rested.take()) == expected


def test_files_stay_closed_while_nothing_happens(rested: Reading) -> None:
    before = set(rested.following.tails)
    for _ in range(3):
        assert rested.go(30) == []
    assert set(rested.following.tails) == before


@pytest.mark.parametrize("matches", [True, False])
def test_a_closed_file_that_is_renamed_and_written_is_read_on(rested: Reading, matches: bool) -> None:
    path = closed_one(rested)
    moved = path.with_name(path.name + ".1" if matches else "moved.txt")
    path.rename(moved)
    write(moved, "c")
    write(path, "new")
    assert sorted(rested.go(1)) == ["c", "new"]


def test_a_closed_file_that_is_deleted_is_let_go_without_a_warning(rested: Reading) -> None:
    path = closed_one(rested)
    path.unlink()
    rested.go(1)
    assert rested.said(Notice.LET_GO) == [path.name]
    assert rested.said(Notice.GONE) == []
    assert str(path) not in [position.place for position in rested.following.closed.values()]


def test_a_closed_file_that_is_deleted_and_made_anew_gets_ids_of_its_own(rested: Reading) -> None:
    """The file system may give the new one the inode of the old one, and it begins as the old one did."""
    path = closed_one(rested)
    content = path.read_text()
    path.unlink()
    path.write_text(content)
    assert rested.go(1) == content.splitlines()
    assert rested.counts()[content.splitlines()[0]] == 2


@pytest.mark.parametrize("content", ["x\n", "longer than what was there before it\n", "other 3 a\nother 3 b\n"])
def test_a_closed_file_whose_content_is_replaced_is_read_from_its_start(rested: Reading, content: str) -> None:
    path = closed_one(rested)
    path.write_text(content)
    assert rested.go(1) == content.splitlines()


def test_the_same_size_and_modification_time_do_not_hide_other_content(rested: Reading) -> None:
    path = closed_one(rested)
    status, content = path.stat(), path.read_text()
    path.write_text(content.swapcase())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert rested.go(1) == content.swapcase().splitlines()


@pytest.mark.parametrize("looks_between", [True, False])
def test_copytruncate_of_a_closed_file_doubles_nothing(rested: Reading, looks_between: bool) -> None:
    path = closed_one(rested)
    copy = path.with_name(path.name + ".1")
    copy.write_bytes(path.read_bytes())
    if looks_between:
        assert rested.go(0.1) == []
    os.truncate(path, 0)
    write(path, "c")
    assert rested.go(3) == ["c"]
    assert rested.go(3) == []
    copytruncate(path, path.with_name(path.name + ".2"))
    assert rested.go(3) == []


def test_a_restart_leaves_closed_files_closed_and_reads_on_what_was_written(rested: Reading) -> None:
    path = closed_one(rested)
    saved = rested.stop()
    write(path, "c")
    rested.start(saved)
    assert rested.go() == ["c"]
    assert len(rested.following.tails) == HELD
    assert len(rested.said(Notice.RESUMED)) == len(NAMES)


def test_a_file_with_half_a_line_is_never_closed(reading: Make, tmp_path: Path) -> None:
    one = reading("*.log", held=0)
    write(tmp_path / "whole.log", "a")
    write(tmp_path / "half.log", "b", "half", end="")
    one.go()
    one.go(60)
    assert [Path(tail.place).name for tail in one.following.tails.values()] == ["half.log"]
    one.following.refresh_closed(1.0, one.now)
    (tmp_path / "half.log").unlink()
    one.look(60)
    assert one.take() == ["half"]


def test_unacknowledged_files_are_never_closed(reading: Make, log: Path) -> None:
    one = reading("*.log", held=0)
    write(log, *numbered(0, 10))
    one.look()
    one.take(settle=False)
    one.look(60)
    assert len(one.following.tails) == 1
    one.settle()
    one.look(60)
    assert one.following.tails == {}
    assert one.counts() == once(numbered(0, 10))


def test_thousands_of_old_files_are_opened_some_at_a_time(reading: Make, tmp_path: Path) -> None:
    one = reading("*.log", held=10, descriptors=5000)
    for number in range(1200):
        write(tmp_path / f"{number}.log", f"{number}")
        grow_old(tmp_path / f"{number}.log")
    one.look()
    assert len(one.following.tails) == 1000
    write(tmp_path / "fresh.log", "fresh")
    one.look()
    assert one.following.waiting == 200
    assert any(tail.place.endswith("fresh.log") for tail in one.following.tails.values()), "it need not wait"
    one.take()
    one.following.meet_waiting(one.now)
    assert one.following.waiting == 0
    one.take()
    assert one.counts() == once([*map(str, range(1200)), "fresh"])


def test_old_files_are_all_opened_while_nothing_can_be_delivered(reading: Make, tmp_path: Path) -> None:
    one = reading("*.log", held=10, descriptors=5000)
    for number in range(1200):
        write(tmp_path / f"{number}.log", f"{number}")
        grow_old(tmp_path / f"{number}.log")
    one.look()
    one.following.meet_waiting(one.now)
    assert one.following.waiting == 200, "none of those before is delivered"
    one.following.meet_waiting(one.now, all_of_them=True)
    assert len(one.following.tails) == 1200
