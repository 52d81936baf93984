"""More files than may be open at once."""

import os
import resource
from pathlib import Path

import pytest

from sidecars.log_shipper.core.notices import Notice
from tests.support.reading import Make, numbered, once, write


@pytest.fixture
def crowd(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"file-{number:02}.log" for number in range(12)]
    for path in paths:
        write(path, f"{path.name} a", f"{path.name} b")
    return paths


def test_more_files_than_descriptors_are_all_read(reading: Make, crowd: list[Path]) -> None:
    one = reading("*.log", descriptors=3)
    for _ in range(8):
        one.go(1)
        assert sum(tail.fd is not None for tail in one.following.tails.values()) <= 3
    expected = [f"{path.name} {letter}" for path in crowd for letter in "ab"]
    assert one.counts() == once(expected)
    for path in reversed(crowd):
        write(path, f"{path.name} c")
    for _ in range(8):
        one.go(1)
    assert one.counts() == once([*expected, *(f"{path.name} c" for path in crowd)])


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_what_is_written_to_files_beyond_the_descriptors_is_read_wherever_they_went(
    reading: Make, crowd: list[Path], renamed: bool, down: bool
) -> None:
    one = reading("*.log", descriptors=3)
    for _ in range(8):
        one.go(1)
    one.sent.clear()
    saved = one.stop() if down else None
    for path in crowd:
        write(path, f"{path.name} c")
        if renamed:
            path.rename(path.with_name(path.name + ".1"))
    if down:
        one.start(saved)
    for _ in range(8):
        one.go(1)
    assert sorted(one.sent) == sorted(f"{path.name} c" for path in crowd)
    assert one.said(Notice.GONE) == []


def test_a_closed_file_that_is_gone_is_let_go_also_when_its_name_is_taken(reading: Make, crowd: list[Path]) -> None:
    one = reading("*.log", descriptors=3)
    for _ in range(8):
        one.go(1)
    former = set(one.following.tails)
    for path in crowd:
        path.with_suffix(".new").write_text(f"{path.name} new\n")
    for path in crowd:
        path.with_suffix(".new").rename(path)
    for _ in range(20):
        one.go(1)
    assert not former & set(one.following.tails)
    assert one.counts().keys() >= {f"{path.name} new" for path in crowd}


def test_a_restart_without_any_descriptor_forgets_no_position(reading: Make, log: Path) -> None:
    """Neither folders nor files can be opened: that says nothing about what is there."""
    one = reading("*.log")
    write(log, *numbered(0, 10))
    one.go()
    one.restart()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        one.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    write(log, *numbered(10, 20))
    assert one.go(3) == numbered(10, 20)
    assert one.counts() == once(numbered(0, 20))
