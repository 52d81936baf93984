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


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_written_and_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "state"
    for data in (b"old", b"", b"new" * 100_000):
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
    """Renaming a file over a folder fails, after the temporary file was written."""
    (tmp_path / "state").mkdir()
    with pytest.raises(OSError, match="state"):
        write_file(tmp_path / "state", b"new")
    assert os.listdir(tmp_path) == ["state"]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "nowhere" / "state", b"x")


KILLED_BEFORE_THE_RENAME = """
import os, pathlib, signal, sys
from sidecars.kit.atomic import write_file

def audit(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(audit)
write_file(sys.argv[1], b"new")
"""


def test_a_process_killed_between_write_and_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_file(path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_RENAME, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = [entry for entry in tmp_path.iterdir() if entry != path]
    assert left.read_bytes() == b"new"


def test_the_next_start_clears_what_killed_writers_left_behind(tmp_path: Path) -> None:
    """Whatever its pid is: in a shared process name space it is another one each time."""
    path = tmp_path / "state"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_RENAME, str(path)], check=False)
    (tmp_path / ".state.4711.tmp").write_bytes(b"of a former version")
    others = {"state.tmp", ".state.bak.tmp", ".other.12.tmp", ".xstate.12.tmp"}
    for name in others:
        (tmp_path / name).write_bytes(b"not ours")
    assert len(os.listdir(tmp_path)) == len(others) + 3
    clear_leftovers(path)
    assert set(os.listdir(tmp_path)) == others


def test_there_is_nothing_to_clear_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2"])
def test_our_own_streams_may_be_allowed(path: str) -> None:
    assert not list(unusable("output_path", path, "", {"a stream"}))


def test_a_file_or_nothing_is_fine(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    for path in ("", str(tmp_path / "there"), str(tmp_path / "not there"), "/dev/null/x", "a\0b"):
        assert not list(unusable("state_file", path, ""))
