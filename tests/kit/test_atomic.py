"""A reader, and a crash, see the whole old file or the whole new one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from sidecars.kit.atomic import clear_leftovers, write_file
from sidecars.kit.files import other_kind, unusable
from tests.support.limits import files_of_at_most


class Kinds:
    """Makes something that is no regular file."""

    def __init__(self, path: Path, kind: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        make: dict[str, Callable[[], None]] = {
            "a device": lambda: path.symlink_to("/dev/null"),  # who is not root cannot make one
            "a named pipe": lambda: os.mkfifo(path),
            "a socket": lambda: self._socket.bind(str(path)),
            "a folder": path.mkdir,
        }
        make[kind]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for data, durable in ((b"old", True), (b"", False), (b"new" * 100_000, True), (b"newer", False)):
        write_file(path, data, durable=durable)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_the_mode_is_exact_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        write_file(tmp_path / "state", b"x", mode)
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o7777 == mode


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "nowhere" / "state", b"x")
    write_file(tmp_path / "state", b"old")
    with files_of_at_most(1), pytest.raises(OSError, match="too large"):
        write_file(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


KILLED_BEFORE_THE_RENAME = """
import os, pathlib, signal, sys
from sidecars.kit.atomic import write_file

def audit(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(audit)
write_file(sys.argv[1], b"new")
"""


def test_a_killed_writer_leaves_the_old_file_and_the_next_start_clears_what_else_it_left(tmp_path: Path) -> None:
    """Whatever its pid is: in a shared process name space it is another one each time."""
    path = tmp_path / "state"
    write_file(path, b"old")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_RENAME, str(path)], check=False)
        assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert {entry.read_bytes() for entry in tmp_path.iterdir() if entry != path} == {b"new"}
    (tmp_path / ".state.4711.tmp").write_bytes(b"of a former version")
    others = {"state", "state.tmp", ".state.bak.tmp", ".other.12.tmp", ".xstate.12.tmp"}
    for name in others:
        (tmp_path / name).touch()
    assert len(os.listdir(tmp_path)) == len(others) + 3
    clear_leftovers(path)
    assert set(os.listdir(tmp_path)) == others
    clear_leftovers(tmp_path / "nowhere" / "state")


@pytest.mark.parametrize("kind", ["a device", "a named pipe", "a socket", "a folder"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_left_alone(tmp_path: Path, kind: str, linked: bool) -> None:
    place = made = tmp_path / "state"
    if linked:
        made = tmp_path / "behind"
        place.symlink_to(made)
    with Kinds(made, kind):
        with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
            write_file(place, b"new")
        assert place.is_symlink() == (linked or kind == "a device")
        assert other_kind(place) == kind
        assert len(os.listdir(tmp_path)) == 1 + linked
        (problem,) = unusable("state_file", str(place), "name a file")
        assert problem.message.startswith(f"{place} is {kind}, ")
        assert not list(unusable("state_file", str(place), "name a file", {kind}))


def test_a_file_or_nothing_is_fine_and_our_own_streams_may_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    for path in ("", str(tmp_path / "there"), str(tmp_path / "not there"), "/dev/null/x", "a\0b"):
        assert not list(unusable("state_file", path, ""))
    for path in ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2"):
        assert not list(unusable("output_path", path, "", {"a stream"}))
