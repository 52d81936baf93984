"""What the globs find: never the shipper's own files, and never without end."""

import os
from pathlib import Path

from sidecars.log_shipper.copies import find_copy
from sidecars.log_shipper.core.identity import Head, Mark, digest
from sidecars.log_shipper.discovery import Globs
from sidecars.log_shipper.tail import Tail


def names(globs: Globs) -> list[str]:
    return sorted(os.path.basename(item.path) for item in globs.find().values())


def test_links_that_lead_back_up_do_not_make_the_search_endless(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.log").touch()
    for number in range(4):
        (tmp_path / f"back{number}").symlink_to(tmp_path)
    assert names(Globs((f"{tmp_path}/**/*.log",), ())) == ["a.log"]


def test_a_file_that_the_shipper_writes_is_never_shipped(tmp_path: Path) -> None:
    (tmp_path / "app.log").touch()
    (tmp_path / "out.log").touch()
    assert names(Globs((f"{tmp_path}/*.log",), (), (f"{tmp_path}/out.log",))) == ["app.log"]


def test_a_copy_may_be_older_than_the_last_write_to_its_original(tmp_path: Path) -> None:
    """Logrotate's gap: the app goes on writing between the last byte of the copy and the truncation."""
    content = b"line 1\nline 2\n"
    copy = tmp_path / "app.log.1"
    copy.write_bytes(content)
    original = Tail(str(tmp_path / "app.log"), Mark(len(content), digest(content)))
    original.head = Head.of(content)
    original.intact_ns = copy.stat().st_mtime_ns + 50_000_000
    found = find_copy(original, ())
    assert found is not None
    assert found[0].path == str(copy)
