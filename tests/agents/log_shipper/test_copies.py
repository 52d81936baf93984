"""Truncated files and their copies: nothing lost, nothing doubled, wherever the copy goes."""

import os
import shutil
from pathlib import Path

import pytest

from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.tailing.files import born_ns
from tests.support.reading import Make, copytruncate, numbered, once, write


def test_a_file_that_became_shorter_is_read_from_its_start(reading: Make, log: Path) -> None:
    one = reading("*.log")
    write(log, *numbered(0, 50))
    one.go()
    for times in range(2, 8):
        os.truncate(log, 0)
        assert one.go() == []
        write(log, *numbered(0, 3))
        assert one.go() == numbered(0, 3)
        assert [one.counts()[line] for line in numbered(0, 3)] == [times] * 3, "equal lines have ids of their own"


@pytest.mark.parametrize("same_start", [False, True])
def test_a_file_that_was_replaced_and_grew_past_the_offset_is_read_from_its_start(
    reading: Make, log: Path, same_start: bool
) -> None:
    one = reading("*.log")
    banner = ["banner " + "=" * 2000] if same_start else []
    write(log, *banner, *numbered(0, 50))
    one.go()
    os.truncate(log, 0)
    write(log, *banner, *numbered(1000, 1200))
    assert one.go() == [*banner, *numbered(1000, 1200)]
    os.truncate(log, 0)
    write(log, *banner, *numbered(2000, 2300))
    one.restart()
    assert one.go() == [*banner, *numbered(2000, 2300)]


COPIES = ["app.log.1", "app.log-20261122", "app-20261122.log", "a.log", "elsewhere.old"]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("globs", [("*.log",), ("*",)])
@pytest.mark.parametrize("down", [False, True])
def test_copytruncate_neither_loses_nor_doubles(
    reading: Make, log: Path, copy: str, globs: tuple[str, ...], down: bool
) -> None:
    one = reading(*globs)
    write(log, *numbered(0, 40))
    one.go()
    write(log, *numbered(40, 80))
    saved = one.stop() if down else None
    copytruncate(log, log.with_name(copy))
    write(log, *numbered(80, 90))
    if down:
        one.start(saved)
    one.go()
    one.go(3)
    one.go(3)
    assert one.counts() == once(numbered(0, 90))
    assert one.said(Notice.COPY) == [copy]


@pytest.mark.parametrize("seen_bytes", [0, 3, 300, 5000])
@pytest.mark.parametrize("copy", ["app.log.1", "app-20261122.log"])
def test_a_copy_seen_in_the_making_is_not_taken_for_a_file_of_its_own(
    reading: Make, log: Path, seen_bytes: int, copy: str
) -> None:
    """We are woken at the moment in which the copy is created: it is empty then, or holds half a line."""
    one = reading("*")
    write(log, *numbered(0, 400))
    one.go()
    content = log.read_bytes()
    with log.with_name(copy).open("wb", buffering=0) as file:
        file.write(content[:seen_bytes])
        one.go()
        one.go(0.1)
        file.write(content[seen_bytes:])
        one.go(0.1)
    os.truncate(log, 0)
    write(log, *numbered(400, 500))
    one.go(0.1)
    one.go(3)
    one.go(3)
    assert one.counts() == once(numbered(0, 500))


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("globs", [("app.log",), ("*",)])
def test_several_copies_between_two_looks_are_all_read(
    reading: Make, log: Path, globs: tuple[str, ...], down: bool
) -> None:
    one = reading(*globs)
    write(log, *numbered(0, 40))
    one.go()
    saved = one.stop() if down else None
    for number in range(1, 4):
        write(log, *numbered(number * 100, number * 100 + 50))
        copytruncate(log, log.with_name(f"app.log.{4 - number}"))
    write(log, *numbered(900, 910))
    if down:
        one.start(saved)
    for _ in range(3):
        one.go(3)
    written = [line for start in (100, 200, 300) for line in numbered(start, start + 50)]
    assert one.counts() == once([*numbered(0, 40), *written, *numbered(900, 910)])


@pytest.mark.parametrize("acknowledged", [False, True])
@pytest.mark.parametrize("globs", [("app.log",), ("*",)])
def test_a_copy_that_ends_before_what_is_in_flight_is_read_again_after_a_kill(
    reading: Make, log: Path, globs: tuple[str, ...], acknowledged: bool
) -> None:
    """The app went on writing after the copy and before the truncation, and we were quick enough to read that."""
    one = reading(*globs)
    write(log, *numbered(0, 40))
    one.go()
    write(log, *numbered(40, 50))
    shutil.copyfile(log, log.with_name("app.log.1"))
    write(log, *numbered(50, 60))
    arrived = dict(one.stored)
    assert one.take(settle=False) == numbered(40, 60)
    os.truncate(log, 0)
    one.look(0.1)
    assert one.said(Notice.COPY) == ["app.log.1"]
    if acknowledged:
        one.settle()
    else:
        one.stored = arrived  # killed before any of it was there
    one.look(0.1)
    one.restart()
    one.go(3)
    one.go(3)
    assert one.counts() == once(numbered(0, 60 if acknowledged else 50)), "what came after the copy is not on the disk"


@pytest.mark.parametrize("down", [False, True])
def test_what_was_not_read_at_all_before_a_truncation_is_read_from_the_copy(
    reading: Make, log: Path, down: bool
) -> None:
    """In an outage there is room for the first files only; the others wait unread."""
    one = reading("app.log")
    write(log, *numbered(0, 20))
    one.look()
    write(log, *numbered(20, 40))
    one.look()
    saved = one.stop() if down else None
    copytruncate(log, log.with_name("app.log.1"))
    write(log, *numbered(40, 60) if down else ["short"])
    if down:
        one.start(saved)
    one.look()
    one.go(3)
    assert one.counts() == once([*numbered(0, 40), *(numbered(40, 60) if down else ["short"])])


def test_a_log_that_was_seen_empty_may_have_been_filled_and_copied_since(reading: Make, log: Path) -> None:
    one = reading("app.log")
    log.touch()
    one.go()
    write(log, *numbered(0, 20))
    copytruncate(log, log.with_name("app.log.1"))
    write(log, *numbered(20, 30))
    one.go(0.1)
    one.go(3)
    assert one.counts() == once(numbered(0, 30))


def test_an_equal_file_that_is_no_copy_is_read(reading: Make, log: Path) -> None:
    """Nothing tells it from a copy but that the original is not truncated."""
    one = reading("*.log")
    write(log, *numbered(0, 100))
    one.go()
    shutil.copyfile(log, log.with_name("other.log"))
    assert one.go() == []
    assert one.following.postponed
    one.go(0.6)
    assert one.go(0.6) == numbered(0, 100)


def test_a_file_with_the_same_long_banner_is_not_taken_for_a_copy(reading: Make, log: Path) -> None:
    """It begins as the truncated one did and goes on otherwise."""
    banner = [f"banner {number} " + "=" * 300 for number in range(5)]
    one = reading("*.log")
    write(log, *banner)
    one.go()
    write(log, *numbered(0, 50))
    one.go()
    other = log.with_name("sibling.txt")
    write(other, *banner, *numbered(500, 600))
    os.truncate(log, 0)
    one.go()
    assert one.said(Notice.COPY) == []
    assert sum(message.startswith("line 5") for message in one.sent) == sum(
        line.startswith("line 5") for line in numbered(0, 50)
    )


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("copy", ["app.log.1", "app-20261122.log"])
def test_a_copy_that_was_met_empty_is_compared_with_what_its_original_was(
    reading: Make, log: Path, copy: str, read: bool
) -> None:
    """The log was quiet, so only the new file is looked at again; its original is truncated by then."""
    one = reading("*")
    write(log, *numbered(0, 400))
    one.look()
    if read:
        one.take()
    made = log.with_name(copy)
    made.touch()
    one.look()
    shutil.copyfile(log, made)
    os.truncate(log, 0)
    (fresh,) = [tail for tail in one.following.tails.values() if tail.place == str(made)]
    one.take(fresh)
    write(log, *numbered(400, 500))
    one.go(0.1)
    one.go(3)
    one.go(3)
    assert one.counts() == once(numbered(0, 500))
    assert one.said(Notice.COPY) == [copy]


def rotate(log: Path, kind: str, number: int) -> None:
    """One generation more, numbered as logrotate does it, or dated."""
    if kind == "dated copies":
        copytruncate(log, log.with_name(f"app-202611{number:02}.log"))
        return
    for old in range(number, 1, -1):
        log.with_name(f"app.log.{old - 1}").rename(log.with_name(f"app.log.{old}"))
    if kind == "copies":
        copytruncate(log, log.with_name("app.log.1"))
    else:
        log.rename(log.with_name("app.log.1"))


@pytest.mark.parametrize("banner", [False, True])
@pytest.mark.parametrize("kind", ["copies", "dated copies", "renamed"])
def test_a_lost_state_doubles_no_generation(reading: Make, log: Path, kind: str, banner: bool, tmp_path: Path) -> None:
    """A copy goes on under the ids of its original. Which one that was is known by which of the two was made first."""
    needs_birth(tmp_path)
    one = reading("app*")
    written = []
    for number in range(1, 5):
        lines = [*(["banner"] if banner else []), *numbered(number * 100, number * 100 + 60)]
        write(log, *lines)
        written += lines
        one.go(3)
        if number < 4:
            rotate(log, kind, number)
            one.go(3)
    assert len(one.stored) == len(written)
    stored = dict(one.stored)
    for _ in range(2):
        one.stop()
        one.start(None)
        one.go(3)
        one.go(3)
        assert one.stored == stored


def test_a_copy_that_was_never_shipped_gets_ids_that_nothing_else_has(reading: Make, log: Path) -> None:
    """Copies of generations with equal first lines, met before, after and without what they are copies of."""
    one = reading("app*")
    write(log, "banner", *numbered(0, 20))
    one.go()
    for number in range(1, 4):
        write(log.with_name(f"app.log.{number}"), "banner", *numbered(100 * number, 100 * number + 20))
        one.go(3)
        one.go(3)
    os.truncate(log, 0)
    write(log, "banner", *numbered(900, 920))
    one.go(3)
    assert one.counts() == {
        **once([line for n in (0, 100, 200, 300, 900) for line in numbered(n, n + 20)]),
        "banner": 5,
    }


def needs_birth(folder: Path) -> None:
    """Skip where the file system does not tell when a file was made."""
    probe = folder / "probe"
    probe.touch()
    fd = os.open(probe, os.O_RDONLY)
    try:
        if born_ns(fd) is None:
            pytest.skip("the file system does not tell when a file was made")
    finally:
        os.close(fd)
        probe.unlink()
