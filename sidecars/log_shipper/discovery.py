"""Find the files that the globs name, and the folders to watch for new ones."""

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator

import msgspec

from .core.identity import FileKey
from .core.rotation import is_archive

_LOOKS = 5
"""A folder is listed so often at most: in some file systems the inode numbers of lists and of files never agree."""
_WATCHED_FOLDERS = 4096
"""More folders than this are not watched but found by the regular scan; inotify watches are a shared resource."""


class Found(msgspec.Struct, frozen=True):
    """A regular file under a name that matches."""

    path: str
    key: FileKey
    size_bytes: int
    modified_ns: int


class Globs:
    """The include and exclude patterns of the settings."""

    def __init__(self, paths: tuple[str, ...], exclude: tuple[str, ...], own: Iterable[str] = ()) -> None:
        """`own`: files that this process writes; shipping them would feed itself without end."""
        self._own = {os.path.realpath(path) for path in own}
        self._paths = paths
        self._excluded = re.compile("|".join(map(fnmatch.translate, exclude))) if exclude else None

    def find(self) -> dict[FileKey, Found]:
        """Every matching regular file once, under the first of its names. Folders that cannot be read are skipped:
        they are looked at again at the next scan.
        """
        found: dict[FileKey, Found] = {}
        for pattern in self._paths:
            for path in sorted(expand(pattern)):
                if not self.wants(path):
                    continue
                item = look(path)
                if item is not None:
                    found.setdefault(item.key, item)
        return found

    def folders(self, found: dict[FileKey, Found]) -> set[str]:
        """Folders in which something that concerns us can appear: those of the files (and of the targets of links),
        those that the patterns name, or their nearest existing parent.
        """
        folders = {os.path.dirname(item.path) for item in found.values()}
        folders |= {os.path.dirname(os.path.realpath(item.path)) for item in found.values()}
        for pattern in self._paths:
            parent = os.path.dirname(pattern)
            folders |= {os.path.normpath(folder) for folder in expand(parent) if os.path.isdir(folder)}
            folders.add(_existing(_fixed_part(parent)))
        return set(sorted(folders)[:_WATCHED_FOLDERS])

    def wants(self, path: str) -> bool:
        """Whether neither `exclude` nor its being an archive keeps the file out."""
        if is_archive(path) or os.path.realpath(path) in self._own:
            return False
        excluded = self._excluded
        return excluded is None or not (excluded.match(path) or excluded.match(os.path.basename(path)))


def expand(pattern: str) -> Iterator[str]:
    """The names that match an absolute pattern. Below `**` links to folders are not followed: two that lead back up
    would never end (the standard library's `glob` follows them).
    """
    if "**" in pattern:
        yield from _below("/", [part for part in pattern.split("/") if part])
    else:
        yield from glob.iglob(pattern, include_hidden=True)


def _below(folder: str, parts: list[str]) -> Iterator[str]:
    """The names below `folder` that match the parts of a pattern."""
    part, rest = parts[0], parts[1:]
    if not glob.has_magic(part):
        path = os.path.join(folder, part)
        if not rest and os.path.lexists(path):
            yield path
        elif rest:
            yield from _below(path, rest)
        return
    if part == "**" and rest:
        yield from _below(folder, rest)
    for entry in _entries(folder):
        if part == "**":
            if not rest:
                yield entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, parts)
        elif fnmatch.fnmatchcase(entry.name, part):
            if not rest:
                yield entry.path
            elif entry.is_dir():
                yield from _below(entry.path, rest)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where it cannot be read now."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def look(path: str) -> Found | None:
    """The regular file at `path` (links followed), or None when there is none that can be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Found(path, FileKey(status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns)


def siblings(path: str) -> list[Found]:
    """The regular files in the folder of `path`, newest first; archives left out.

    While a rotation renames them one after the other, a file may be under none of the names that were listed: so it is
    listed again until every name still led to the inode with which it was listed.
    """
    folder = os.path.dirname(path)
    found: list[Found] = []
    for _ in range(_LOOKS):
        found, steady = _listed(folder)
        if steady:
            break
    return sorted(found, key=lambda item: item.modified_ns, reverse=True)


def _listed(folder: str) -> tuple[list[Found], bool]:
    """The regular files of a folder, and whether no name changed its file between the list and the look at it."""
    found: list[Found] = []
    steady = True
    for entry in _entries(folder):
        is_link = entry.is_symlink()
        if is_archive(entry.name) or not (is_link or entry.is_file(follow_symlinks=False)):
            continue
        item = look(entry.path)
        if item is not None:
            found.append(item)
        steady = steady and (is_link or (item is not None and item.key.inode == entry.inode()))
    return found, steady


def is_hidden(folder: str) -> bool:
    """Whether the folder cannot be looked into now (no permission, no descriptor left): what is in it is unknown."""
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return False


class Folders:
    """Remembers `siblings` for one scan: after a long time down, thousands of files may be looked for in a folder."""

    def __init__(self) -> None:
        self._read: dict[str, list[Found]] = {}

    def forget(self) -> None:
        """A new scan begins."""
        self._read.clear()

    def beside(self, path: str) -> list[Found]:
        """As `siblings`."""
        folder = os.path.dirname(path)
        if folder not in self._read:
            self._read[folder] = siblings(path)
        return self._read[folder]


def _fixed_part(pattern: str) -> str:
    """The part of a pattern before its first wildcard."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _existing(folder: str) -> str:
    """`folder`, or its nearest parent that exists."""
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder
