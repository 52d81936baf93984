"""A reader, and a crash, see the whole old file or the whole new one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecars.kit.atomic import write_file


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


def test_a_planted_link_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".state.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(OSError, match="state"):
        write_file(tmp_path / "state", b"new")
    assert victim.read_bytes() == b"precious"
