"""Rotations while the folder is looked at and its files are read, begun at each system call of that: names lead
elsewhere from one call to the next.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.support.books import audit
from tests.support.reading import Make, Reading, copytruncate, numbered, once, write

CALLS = ("stat", "lstat", "fstat", "open", "pread", "listdir", "scandir", "readlink")
LATEST = 400
"""More calls than one look at these few files makes, and reading them."""
Steps = Iterator[None]
Rotate = Callable[[Path], Steps]


def renamed(log: Path) -> Steps:
    """What logrotate does without options, step by step."""
    for number in (3, 2, 1, 0):
        newer = log.with_name(f"app.log.{number}") if number else log
        if newer.exists():
            newer.rename(log.with_name(f"app.log.{number + 1}"))
            yield
    log.touch()
    yield


def copied(log: Path) -> Steps:
    """What it does with copytruncate."""
    for number in (3, 2, 1):
        if (newer := log.with_name(f"app.log.{number}")).exists():
            newer.rename(log.with_name(f"app.log.{number + 1}"))
            yield
    copytruncate(log, log.with_name("app.log.1"))
    yield


class Meddler:
    """From the system call `first` on, some of the steps before each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = -1
        self._steps: Steps = iter(())
        self._acting = False
        self._at_once, self._due = 1.0, 0.0
        for name in CALLS:
            monkeypatch.setattr(os, name, self._meddling(getattr(os, name)))

    def begin(self, first: int, at_once: float, steps: Steps) -> None:
        """`at_once`: how many steps before each call, 0.2 for one before each fifth."""
        self._left, self._steps, self._at_once, self._due = first, steps, at_once, 0.0

    def end(self) -> bool:
        """Do what is left; whether all of it was left."""
        unused, self._left, self._acting = self._left >= 0, -1, True
        for _ in self._steps:
            pass
        self._acting = False
        return unused

    def _meddling(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._acting and self._left >= 0:
                self._left -= 1
            elif not self._acting:
                self._acting = True
                self._due += self._at_once
                for _ in islice(self._steps, int(self._due)):
                    pass
                self._due %= 1
                self._acting = False
            return real(*arguments, **options)

        return call


def story(log: Path, rotate: Rotate) -> Steps:
    """Three rotations, and what the app writes between them."""
    for number in (100, 200, 300):
        yield from rotate(log)
        write(log, *numbered(number, number + 9))
        yield


def played(one: Reading, log: Path, rotate: Rotate, begin: Callable[[Steps], None], *, anew: bool) -> None:
    """The story begins while we look, for the first time after a restart when `anew`."""
    write(log, *numbered(0, 40))
    one.go()
    for start in (40, 60):
        for _ in rotate(log):
            pass
        write(log, *numbered(start, start + 10))
        one.go(0.01)
    write(log, *numbered(80, 90))
    if anew:
        one.restart()
    begin(story(log, rotate))
    one.go(0.01)


@pytest.mark.parametrize("at_once", [0.2, 1, 3, 100])
@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("globs", [("app.log",), ("*",)])
@pytest.mark.parametrize("rotate", [renamed, copied])
def test_a_rotation_at_any_system_call_of_a_look_neither_loses_nor_doubles(
    reading: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rotate: Rotate,
    globs: tuple[str, ...],
    anew: bool,
    at_once: float,
) -> None:
    meddler = Meddler(monkeypatch)
    wrong: dict[int, str] = {}
    parts = [(0, 50), (60, 70), (80, 90), (100, 109), (200, 209), (300, 309)]
    written = [line for part in parts for line in numbered(*part)]
    for first in range(LATEST):
        folder = tmp_path / str(first)
        folder.mkdir()
        one = reading(*(f"{first}/{name}" for name in globs))
        played(one, folder / "app.log", rotate, partial(meddler.begin, first, at_once), anew=anew)
        if meddler.end():
            break
        for _ in range(4):
            one.go(1.5)
        if one.counts() != once(written):
            wrong[first] = str(audit(written, one.stored.values()))
        one.stop()
    else:
        pytest.fail(f"there were more than {LATEST} system calls")
    assert not wrong, "\n".join(f"from call {first} on: {what[:300]}" for first, what in wrong.items())
