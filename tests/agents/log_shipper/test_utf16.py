"""A file in UTF-16, as programs on .NET and Windows write it, arrives as text."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.reading import Make

TEXTS = ["first", "zw\u00f6lf \u20ac \U0001f600 \u0a0a", "", "with\r"]


def append(log: Path, encoding: str, *texts: str, end: str = "\n") -> None:
    with log.open("ab") as file:
        mark = "" if file.tell() else "\ufeff"
        file.write((mark + "\n".join(texts) + end).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("restart", [False, True])
def test_its_lines_are_text(reading: Make, log: Path, encoding: str, restart: bool) -> None:
    one = reading("*.log")
    append(log, encoding, *TEXTS)
    assert one.go() == [text.removesuffix("\r") for text in TEXTS]
    (tail,) = one.following.tails.values()
    assert tail.ledger.committed.offset == log.stat().st_size
    if restart:
        one.restart()
    append(log, encoding, "more", "half", end="")
    assert one.go() == ["more"]
    one.take(final=True)
    assert one.sent[-1] == "half"
    assert tail.unread_bytes == 0 or restart


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_half_a_byte_order_mark_is_waited_for(reading: Make, log: Path, size: int) -> None:
    data = "\ufeffone\n".encode("utf-16-be")
    one = reading("*.log")
    log.write_bytes(data[:size])
    assert one.go() == []
    with log.open("ab") as file:
        file.write(data[size:])
    assert one.go() == ["one"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("encoding", "mark"), [("utf-16-le", ""), ("utf-16-le", "\ufeff"), ("utf-8", "")])
def test_after_copytruncate_the_writer_goes_on(
    reading: Make, log: Path, encoding: str, mark: str, restart: bool
) -> None:
    one = reading("*.log*")
    append(log, "utf-16-le", "one", "two")
    assert one.go() == ["one", "two"]
    append(log, "utf-16-le", "three")
    shutil.copyfile(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    assert one.go() == ["three"]
    if restart:
        one.restart()
    with log.open("ab") as file:
        file.write((mark + "four\nfive\n").encode(encoding))
    assert one.go() == ["four", "five"]
    if restart:
        one.restart()
    append(log, encoding, "six")
    assert one.go() == ["six"]
    assert one.counts() == dict.fromkeys(["one", "two", "three", "four", "five", "six"], 1)


def test_fields_of_objects_are_read(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="json")
    append(log, "utf-16-le", '{"message":"m"}', "text")
    assert one.go() == ["m", "text"]


def test_a_long_line_is_cut(reading: Make, log: Path) -> None:
    one = reading("*.log", max_line_bytes=64)
    for size in (32, 33, 5000, 1_000_000):
        append(log, "utf-16-be", "x" * size, f"after {size}")
    one.go()
    assert one.sent[1::2] == [f"after {size}" for size in (32, 33, 5000, 1_000_000)]
    assert {len(text) for text in one.sent[0::2]} == {31, 32}  # the first one begins behind the byte order mark
    assert one.counts()


def test_a_byte_order_mark_of_utf8_is_no_part_of_a_record(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    log.write_bytes(b"\xef\xbb\xbf2026-11-22T13:45:00Z stdout F first\n")
    assert one.go() == ["first"]
