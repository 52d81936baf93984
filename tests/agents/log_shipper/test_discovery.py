"""What the globs find: never the shipper's own files, and never without end."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sidecars.log_shipper.core.identity import FileIdentity, Head, Mark, digest
from sidecars.log_shipper.core.reach import said
from sidecars.log_shipper.tailing.copies import find_copy
from sidecars.log_shipper.tailing.discovery import Globs, Siblings
from sidecars.log_shipper.tailing.files import Tail

Nobody = Callable[[], AbstractContextManager[None]]


def names(globs: Globs) -> list[str]:
    return sorted(os.path.basename(item.path) for item in globs.find().values())


ODD_NAMES = [
    "with space.log",
    'quo"te.log',
    "back\\slash.log",
    "brackets[1].log",
    "\u00fcn\u00ef.log",
    "new\nline.log",
    "-dash",
    "*",
]
FILES = ["top.log", "debug.log", "x.debug.log", "a/one.log", "a/b/c/.hidden.log", "private/secret.log", "a/three.txt"]
GLOBS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "all of a folder, but no archives": (["*"], [], ["debug.log", "top.log", "x.debug.log"]),
    "two stars cross folders": (
        ["**/*.log"],
        [],
        [".hidden.log", "debug.log", "one.log", "secret.log", "top.log", "x.debug.log"],
    ),
    "excluded by name and by path": (
        ["**/*.log"],
        ["*.debug.log", "{folder}/private/*"],
        [".hidden.log", "debug.log", "one.log", "top.log"],
    ),
    "overlapping": (
        ["*.log", "**", "t*"],
        ["a", "*.txt", ".*"],
        ["debug.log", "one.log", "secret.log", "top.log", "x.debug.log"],
    ),
    "odd names": (["odd/**"], [], sorted(ODD_NAMES)),
}


@pytest.mark.parametrize("name", GLOBS)
def test_the_globs_find_each_file_once(tmp_path: Path, name: str) -> None:
    patterns, exclude, expected = GLOBS[name]
    for file in (*FILES, "old.log.gz", "app.log.1.zst", *(f"odd/{odd}" for odd in ODD_NAMES if name == "odd names")):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    left_out = tuple(each.format(folder=tmp_path) for each in exclude)
    assert names(Globs(tuple(f"{tmp_path}/{pattern}" for pattern in patterns), left_out)) == expected


def test_links_are_followed_once_and_what_they_lead_to_is_watched(tmp_path: Path) -> None:
    elsewhere, logs = tmp_path / "elsewhere", tmp_path / "logs"
    for folder in (elsewhere / "folder", logs):
        folder.mkdir(parents=True)
    for file in ("real.log", "folder/inner.log"):
        (elsewhere / file).touch()
    for name, target in {"link": "real.log", "again": "real.log", "dangling": "nothing.log"}.items():
        (logs / f"{name}.log").symlink_to(elsewhere / target)
    (logs / "loop.log").symlink_to(logs / "loop.log")
    (logs / "linked").symlink_to(elsewhere / "folder")
    globs = Globs((f"{logs}/*.log", f"{logs}/linked/*.log", f"{tmp_path}/later/on/*.log"), ())
    assert names(globs) == ["again.log", "inner.log"]
    watched = {str(folder) for folder in (logs, elsewhere, elsewhere / "folder", tmp_path)}
    assert watched <= globs.folders(), "those of links, and the nearest parent of what is not there yet"


def test_what_only_looks_like_a_log_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.log")
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "null.log").symlink_to(os.devnull)
    assert names(Globs((f"{tmp_path}/*.log",), ())) == []


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


@pytest.mark.parametrize("read", [True, False])
def test_a_copy_may_be_older_than_the_last_write_to_its_original(tmp_path: Path, read: bool) -> None:
    """Logrotate's gap: the app goes on writing between the last byte of the copy and the truncation."""
    content = b"line 1\nline 2\n"
    copy = tmp_path / "app.log.1"
    copy.write_bytes(content)
    original = Tail(str(tmp_path / "app.log"), Mark(len(content), digest(content)) if read else Mark())
    original.size_bytes = len(content)
    original.identity = FileIdentity(original.path, Head.of(content))
    original.intact_ns = copy.stat().st_mtime_ns + 50_000_000
    found = find_copy(original, Siblings(), lambda _: False)
    assert found is not None
    assert found[0].path == str(copy)


def tree(folder: Path) -> Path:
    for name in ("one/a.log", "one/b.txt", "two/c.log", "two/deep/d.log"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("pattern", "unmatched"),
    [
        ("one/*.log", False),
        ("*/c.log", False),
        ("**/d.log", False),
        ("one/a.log", False),
        ("one/*.json", True),
        ("none/*.log", True),
        ("on/a.log", True),
        ("**/*.json", True),
        ("*", True),
    ],
)
def test_a_pattern_without_a_file_is_known(tmp_path: Path, pattern: str, unmatched: bool) -> None:
    globs = Globs((f"{tree(tmp_path)}/{pattern}", f"{tmp_path}/one/a.log"), ())
    globs.find()
    assert globs.unmatched == ((f"{tmp_path}/{pattern}",) if unmatched else ())
    assert globs.closed == ()


def test_what_is_left_out_is_no_match(tmp_path: Path) -> None:
    globs = Globs((f"{tree(tmp_path)}/one/*",), ("*.log", "*.txt"))
    globs.find()
    assert globs.unmatched == (f"{tmp_path}/one/*",)


@pytest.mark.parametrize("mode", [0o700, 0o744, 0o000])
@pytest.mark.parametrize("pattern", ["two/*.log", "two/c.log", "*/c.log", "**/c.log", "two/deep/*.log", "two/*/d.log"])
def test_a_folder_that_may_not_be_entered_is_known(tmp_path: Path, pattern: str, mode: int, nobody: Nobody) -> None:
    tree(tmp_path)
    (tmp_path / "two").chmod(mode if os.getuid() == 0 else 0o400 if mode & 0o044 else 0)
    with nobody():
        globs = Globs((f"{tmp_path}/{pattern}",), ())
        assert names(globs) == []
        assert globs.closed == (f"{tmp_path}/two",)
        (closed,) = globs.reach().closed
        assert f"this process is {os.geteuid()}:" in said(globs.reach())
    assert (closed.path, closed.uid) == (f"{tmp_path}/two", os.getuid())
    (tmp_path / "two").chmod(0o700)


def test_the_root_is_no_file() -> None:
    globs = Globs(("/", "/none.log"), ())
    assert globs.find() == {}
    assert globs.folders() == {"/"}
