"""From file to batch: nothing waits for ever, whatever the batch has room for."""

import os
from pathlib import Path

import pytest

from sidecars.log_shipper.core.identity import Mark
from sidecars.log_shipper.tailing.files import Tail, Truncated
from tests.support.reading import Make, numbered, write
from tests.support.records import cri


@pytest.mark.parametrize("parts", [2, 8, 30, 300])
@pytest.mark.parametrize("batch_bytes", [4096, 1 << 20])
def test_a_record_of_many_parts_is_joined_whatever_the_batch_has_room_for(
    reading: Make, log: Path, parts: int, batch_bytes: int
) -> None:
    one = reading("*.log", parse="cri", batch_bytes=batch_bytes)
    write(log, cri("first"), *[cri(f"{number},", "P") for number in range(parts)])
    one.go()
    write(log, cri("end"), cri("last"))
    one.go()
    whole = "".join(f"{number}," for number in range(parts)) + "end"
    assert list(one.stored.values()) == ["first", whole, "last"]


def test_at_the_end_a_record_of_many_parts_is_still_one(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri", batch_bytes=4096)
    write(log, *[cri(f"{number},", "P") for number in range(40)], cri("end"), cri("half", "P"))
    one.look()
    one.take(final=True)
    assert list(one.stored.values()) == ["".join(f"{number}," for number in range(40)) + "end", "half"]


def test_a_record_without_an_end_does_not_hold_up_the_file_for_ever(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri", max_line_bytes=4096, batch_bytes=4096)
    write(log, *[cri(f"{number:05}", "P") for number in range(2000)])
    one.go()
    assert one.stored
    one.take(final=True)
    assert "".join(one.stored.values()) == "".join(f"{number:05}" for number in range(2000))


@pytest.mark.parametrize("parse", ["none", "json", "cri"])
@pytest.mark.parametrize("batch_bytes", [4096, 1 << 20])
def test_all_of_a_long_file_is_read(reading: Make, log: Path, parse: str, batch_bytes: int) -> None:
    one = reading("*.log", parse=parse, batch_bytes=batch_bytes)
    write(log, *numbered(0, 5000))
    one.go()
    assert list(one.stored.values()) == numbered(0, 5000)


def test_a_long_line_is_cut_and_the_file_goes_on(reading: Make, log: Path) -> None:
    one = reading("*.log", max_line_bytes=64)
    for size in (64, 65, 5000, 70_000, 1_000_000):
        write(log, "x" * size, f"after {size}")
    one.go()
    texts = list(one.stored.values())
    assert texts[1::2] == [f"after {size}" for size in (64, 65, 5000, 70_000, 1_000_000)]
    assert texts[0::2] == ["x" * 64] * 5


def test_the_rest_of_a_cut_line_is_skipped_also_after_a_restart(reading: Make, log: Path) -> None:
    one = reading("*.log", max_line_bytes=64)
    write(log, "x" * 10_000, end="")
    assert one.go() == ["x" * 64]
    one.restart()
    write(log, "x" * 10_000, "after")
    assert one.go() == ["after"]


@pytest.mark.parametrize("size", [10, 5000, 300_000, 3_000_000])
def test_a_hole_is_skipped_and_offsets_stay_true(reading: Make, log: Path, size: int) -> None:
    """A writer without O_APPEND goes on at its old offset after copytruncate."""
    one = reading("*.log")
    with log.open("wb") as file:
        file.seek(size)
        file.write(b"a\n")
    assert one.go() == ["a"]
    (tail,) = one.following.tails.values()
    assert tail.ledger.committed.offset == size + 2


@pytest.mark.parametrize("content", [b"one\ntwo\n", b"x" * 3000])
def test_a_tail_reads_on_from_where_it_was(log: Path, content: bytes) -> None:
    log.write_bytes(content)
    tail = Tail(str(log))
    tail.open()
    block = tail.read(2)
    tail.ledger.take(tail.advance(block, 2, in_cut_line=False))
    assert block + tail.read(1 << 20) == content
    again = Tail(str(log), tail.ledger.read)
    again.open()
    assert again.resumes()
    assert again.read(1 << 20) == content[2:]
    tail.close()
    again.close()


@pytest.mark.parametrize("change", ["shorter", "other bytes", "shorter, then longer"])
def test_a_tail_notices_that_its_past_has_changed(log: Path, change: str) -> None:
    log.write_bytes(b"a" * 600)
    tail = Tail(str(log))
    tail.open()
    tail.ledger.take(tail.advance(tail.read(500), 500, in_cut_line=False))
    if change == "shorter":
        os.truncate(log, 400)
    elif change == "other bytes":
        log.write_bytes(b"b" * 600)
    else:
        os.truncate(log, 0)
        log.write_bytes(b"c" * 5000)
    with pytest.raises(Truncated):
        tail.read(100)
    other = Tail(str(log), tail.ledger.read)
    other.open()
    assert not other.resumes()
    tail.close()
    other.close()


def test_a_closed_tail_reads_nothing(log: Path) -> None:
    tail = Tail(str(log), Mark(5))
    assert tail.read(10) == b""
    assert not tail.refresh()
    assert not tail.resumes()
    tail.close()
