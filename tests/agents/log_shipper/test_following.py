"""Following files through all that happens to them: every line once, under one id."""

import os
from pathlib import Path

import msgspec
import pytest

from sidecars.log_shipper.core.checkpoint import Checkpoint, dump, load
from sidecars.log_shipper.core.identity import FileIdentity, FileKey
from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.runtime.observe.metrics import expose
from tests.support.context import context
from tests.support.reading import Make, copytruncate, numbered, once, write


def test_lines_come_as_they_are_written(reading: Make, log: Path) -> None:
    one = reading("*.log")
    assert one.go() == []
    write(log, "a", "b")
    assert one.go() == ["a", "b"]
    write(log, "c", "half", end="")
    assert one.go() == ["c"]
    write(log, " a line")
    assert one.go() == ["half a line"]
    assert one.said(Notice.FOUND) == ["app.log"]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("globs", [("*.log",), ("*.log*",)])
def test_a_renamed_file_is_read_on(reading: Make, log: Path, globs: tuple[str, ...], down: bool) -> None:
    """The app that has it open is told late, and goes on writing there."""
    one = reading(*globs)
    write(log, "a")
    one.go()
    saved = one.stop() if down else None
    write(log, "b")
    log.rename(log.with_name("app.log.1"))
    write(log, "c")
    write(log.with_name("app.log.1"), "late")
    if down:
        one.start(saved)
    assert sorted(one.go()) == ["b", "c", "late"]
    assert one.said(Notice.ROTATED) == ["app.log"]
    one.restart()
    write(log.with_name("app.log.1"), "later")
    assert one.go() == ["later"]
    assert one.counts() == once(["a", "b", "c", "late", "later"])


def test_a_deleted_file_is_read_to_its_end_and_then_let_go(reading: Make, log: Path) -> None:
    one = reading("*.log")
    write(log, "a", "half", end="")
    one.look()
    log.unlink()
    assert one.take(settle=False) == ["a"]
    one.look(60)
    assert one.take(settle=False) == ["half"]
    one.look(60)
    assert len(one.following.tails) == 1, "not all of it is acknowledged"
    one.settle()
    one.look(60)
    assert one.following.tails == {}
    assert one.said(Notice.LET_GO) == ["app.log"]


def test_a_deleted_file_that_is_still_written_is_kept(reading: Make, log: Path) -> None:
    one = reading("*.log")
    with log.open("a") as writer:
        print("a", file=writer, flush=True)
        one.go()
        log.unlink()
        for number in range(5):
            one.look(3)
            print(number, file=writer, flush=True)
            assert one.go(1) == [str(number)]


@pytest.mark.parametrize("filler", ["written", "hole"])
def test_space_allocated_in_advance_does_not_pin_a_deleted_file(reading: Make, log: Path, filler: str) -> None:
    one = reading("*.log")
    write(log, "a")
    if filler == "written":
        with log.open("ab") as file:
            file.write(b"\0" * 5000)
    else:
        os.truncate(log, 1 << 20)
    assert one.go() == ["a"]
    log.unlink()
    one.go(60)
    one.go(60)
    assert one.following.tails == {}


def test_space_allocated_in_advance_is_read_once_it_is_filled(reading: Make, log: Path) -> None:
    one = reading("*.log")
    write(log, "a")
    os.truncate(log, 1 << 20)
    assert one.go() == ["a"]
    one.restart()
    one.go(60)
    with log.open("r+b") as file:
        file.seek(2)
        file.write(b"b\n")
    assert one.go() == ["b"]


@pytest.mark.parametrize("head", [0, 1, 40], ids=["unlike", "same first line", "same first kilobytes"])
def test_generations_between_two_looks_are_not_missed(reading: Make, log: Path, head: int) -> None:
    one = reading("*.log")
    banner = ["=== service checkout, version 4.2, starting ==="] * head
    write(log, *banner, "0")
    one.go()
    for number in range(1, 21):
        log.rename(log.with_name(f"app.log.{number}"))
        write(log, *banner, str(number))
    one.go()
    one.go(3)
    assert one.counts() == {**once([str(number) for number in range(21)]), **dict.fromkeys(banner, 21 * head)}
    assert len(one.said(Notice.MISSED)) == 19


def test_a_log_with_a_similar_name_is_no_missed_generation(reading: Make, log: Path) -> None:
    one = reading("app.log")
    write(log, "a")
    one.go()
    log.rename(log.with_name("app.log.1"))
    write(log, "b")
    write(log.with_name("app2.log"), "another's")
    write(log.with_name("app-errors.log"), "another's")
    one.go()
    one.go(3)
    assert one.counts() == once(["a", "b"])


def test_a_restart_repeats_nothing_that_was_acknowledged(reading: Make, log: Path) -> None:
    one = reading("*.log*")
    write(log, *numbered(0, 10))
    one.go()
    log.rename(log.with_name("app.log.1"))
    write(log, *numbered(10, 20))
    one.go()
    write(log, *numbered(20, 30))
    one.look()
    assert one.take(settle=False) == numbered(20, 30)
    for _ in range(3):
        one.restart()
        one.notices.clear()
        one.look()
        assert one.take(settle=False) == numbered(20, 30)
        assert (sorted(one.said(Notice.RESUMED)), one.said(Notice.ROTATED)) == (["app.log", "app.log.1"], [])
    assert one.counts() == once(numbered(0, 30))


def test_with_the_state_lost_the_same_ids_are_made(reading: Make, log: Path) -> None:
    one = reading("*.log*")
    write(log, *numbered(0, 10))
    one.go()
    log.rename(log.with_name("app.log.1"))
    write(log, *numbered(10, 20))
    one.go()
    one.stop()
    one.start(None)
    write(log, *numbered(20, 30))
    assert len(one.go()) == 30
    assert one.counts() == once(numbered(0, 30))


def test_a_file_with_another_device_number_after_a_restart_is_read_on(reading: Make, log: Path) -> None:
    """Device numbers are given anew when a node starts."""
    one = reading("*.log")
    write(log, *numbered(0, 10))
    one.go()
    before = load(one.stop()).checkpoint
    moved = [
        msgspec.structs.replace(position, key=FileKey(position.key.device + 1, position.key.inode))
        for position in before.positions
    ]
    one.start(dump(Checkpoint(moved, before.ended)))
    write(log, *numbered(10, 20))
    assert one.go() == numbered(10, 20)
    assert one.counts() == once(numbered(0, 20))


def test_the_same_inode_on_another_device_is_another_file(reading: Make, log: Path) -> None:
    """The file of the checkpoint was rotated away meanwhile; a file of another volume happens to have its inode."""
    one = reading("*.log")
    write(log, *numbered(0, 10))
    one.go()
    before = load(one.stop()).checkpoint
    (position,) = before.positions
    stranger = log.with_name("stranger.log")
    write(stranger, *numbered(50, 60))
    elsewhere = msgspec.structs.replace(
        position,
        key=FileKey(position.key.device + 1, stranger.stat().st_ino),
        identity=FileIdentity("/nowhere/x.log"),
        place="/nowhere/x.log",
    )
    one.start(dump(Checkpoint([elsewhere, position], before.ended)))
    assert one.go() == numbered(50, 60)


@pytest.mark.parametrize("name", [b"caf\xe9.log", b'q"\\\n.log', "ünï\u2028.log".encode()])
def test_any_file_name_will_do(reading: Make, tmp_path: Path, name: bytes) -> None:
    one = reading("*.log")
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    write(path, "a")
    assert one.go() == ["a"]
    one.restart()
    write(path, "b")
    assert one.go() == ["b"]
    ctx = context()
    ShipperMetrics(ctx.metrics).watch(one.figures, int, float)
    assert b"lag_bytes" in expose(ctx.metrics.registry, "")[0]


def test_hard_links_and_symbolic_links_are_one_file(reading: Make, log: Path) -> None:
    one = reading("*.log")
    write(log, "a")
    log.with_name("hard.log").hardlink_to(log)
    log.with_name("soft.log").symlink_to(log)
    assert one.go() == ["a"]
    assert len(one.following.tails) == 1
    log.unlink()
    write(log.with_name("hard.log"), "b")
    assert one.go() == ["b"]


def test_a_link_that_is_swapped_leads_to_a_new_file_and_the_former_is_read_on(reading: Make, log: Path) -> None:
    one = reading("app.log")
    first, second = log.with_name("one.txt"), log.with_name("two.txt")
    write(first, "a")
    log.symlink_to(first)
    assert one.go() == ["a"]
    write(first, "late")
    write(second, "b")
    log.unlink()
    log.symlink_to(second)
    assert sorted(one.go()) == ["b", "late"]


def test_a_file_that_cannot_be_read_is_said_once_and_keeps_no_other_from_being_met(reading: Make, log: Path) -> None:
    """Of those that fail when they are read, as on a bad disk, Linux has one at hand. Another one fails later."""
    failing = Path("/sys/devices/virtual/net/lo/speed")
    one = reading("*.log", str(failing)) if failing.exists() else reading("*.log")
    write(log, "a")
    assert one.go() == ["a"]
    one.go(3)
    assert one.said(Notice.UNREADABLE) == [failing.name] * failing.exists()
    (tail,) = one.following.tails.values()
    assert tail.fd is not None
    write_only = os.open(log, os.O_WRONLY)
    os.dup2(write_only, tail.fd)
    os.close(write_only)
    write(log.with_name("other.log"), "a", "b")
    one.look()
    (other,) = [each for each in one.following.tails.values() if each is not tail]
    assert one.take(other) == ["a", "b"]


def test_files_that_begin_alike_or_are_equal_are_each_somebodys_log(reading: Make, tmp_path: Path) -> None:
    one, paths = reading("*.log"), [tmp_path / f"{name}.log" for name in ("one", "two", "three")]
    for path in paths:
        write(path, *numbered(0, 50))
    for seconds in (0, 1.5, 1.5):
        one.go(seconds)
    assert one.counts() == dict.fromkeys(numbered(0, 50), 3)
    for path in paths:
        write(path, path.name)
    assert sorted(one.go()) == sorted(path.name for path in paths)


@pytest.mark.parametrize("down", [False, True])
def test_an_inode_that_is_used_again_is_a_new_file(reading: Make, tmp_path: Path, down: bool) -> None:
    """Deleted and let go, then new files that get the same inodes (of ext4 and xfs), whose lines are the same; or, when
    nobody saw them go, whose first lines are.
    """
    one = reading("*.log")
    for number in range(3):
        saved = one.stop() if down and number else None
        for path in tmp_path.iterdir():
            path.unlink()
        if not down:
            one.look(60)
            one.look(60)
            assert one.following.tails == {}
        for name in range(20):
            write(tmp_path / f"{name}.log", "banner", f"round {number if down else 0}")
        if saved is not None:
            one.start(saved)
        one.go(3)
        one.go(3)
    assert one.counts() == {
        "banner": 60,
        **({"round 0": 20, "round 1": 20, "round 2": 20} if down else {"round 0": 60}),
    }


def test_a_file_that_was_replaced_by_one_with_the_same_head_is_read_whole_after_a_restart(
    reading: Make, log: Path
) -> None:
    one, head = reading("*.log"), [f"{number:4d} " + "the same in both files " * 4 for number in range(25)]
    write(log, *head, *numbered(0, 50))
    one.go()
    saved = one.stop()
    log.unlink()
    write(log, *head, *numbered(100, 600))
    one.start(saved)
    assert one.go() == [*head, *numbered(100, 600)]


def test_copytruncate_of_hundreds_of_logs_at_once_doubles_and_loses_nothing(reading: Make, tmp_path: Path) -> None:
    """More copies than there is time to compare with each other: their names tell which log each is of."""
    one = reading("*.log*", descriptors=2000)
    logs = [tmp_path / f"{number}.log" for number in range(300)]
    for log in logs:
        write(log, "banner", f"{log.name} a")
    one.go()
    for log in logs:
        write(log, f"{log.name} unread")
        copytruncate(log, tmp_path / f"{log.name}.1")
    one.go()
    one.go(2)
    assert one.counts() == {"banner": 300} | once([f"{log.name} {word}" for log in logs for word in ("a", "unread")])
