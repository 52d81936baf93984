"""Find the files that the globs name, and the folders to watch for new ones."""

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator

import msgspec

from sidecars.log_shipper.core.identity import FileKey
from sidecars.log_shipper.core.reach import Identity, Owned, Reach, Unmatched
from sidecars.log_shipper.core.rotation import is_archive, logs_of

_LOOKS = 5
"""A folder is listed so often at most: in some file systems the inode numbers of lists and of files never agree."""
_CANDIDATES = 200
"""Files without the name of a generation that may be copies all the same, newest first: a copy was made just now."""
_LINK, _NOT_LISTED = -1, 0
"""Instead of an inode number: of a link, which says nothing about its target; of a name that no list showed."""
_WATCHED_FOLDERS = 4096
"""More folders than this are not watched but found by the regular scan; inotify watches are a shared resource."""


class FoundFile(msgspec.Struct, frozen=True, gc=False):
    """A regular file under a name that matches. `place`: its own name, where `path` is a link or leads through one."""

    path: str
    place: str
    key: FileKey
    size_bytes: int
    modified_ns: int
    changed_ns: int


class Globs:
    """The include and exclude patterns of the settings."""

    def __init__(self, paths: tuple[str, ...], exclude: tuple[str, ...], own: Iterable[str] = ()) -> None:
        """`own`: files that this process writes; shipping them would feed itself without end."""
        self._own = {os.path.realpath(path) for path in own}
        self._paths = paths
        self._found_in: set[str] = set()
        self._last: dict[str, FoundFile] = {}
        """What the last `find` found, by path: what is the same is the same object, there may be thousands."""
        self.unmatched: tuple[str, ...] = ()
        """The patterns for which `find` found no file the last time."""
        self.closed: tuple[str, ...] = ()
        """The folders that it could not enter."""
        self._excluded = re.compile("|".join(map(fnmatch.translate, exclude))) if exclude else None

    def find(self, *, names_only: bool = False) -> dict[FileKey, FoundFile]:
        """Return every matching regular file once, under the first of its names. Folders that cannot be read are
        skipped: they are looked at again at the next scan. `unmatched` and `closed` say what was not found.

        `names_only`: a name that is listed with the inode that it had is not looked at. Its size and times are those of
        the last look.
        """
        found: dict[FileKey, FoundFile] = {}
        closed: set[str] = set()
        unmatched: list[str] = []
        places: dict[str, str] = {}
        for pattern in self._paths:
            matched = False
            for path, inode in sorted(_expanded(pattern, closed)):
                before = self._last.get(path)
                place = _place(path, places, is_link=inode == _LINK)
                if names_only and before is not None and before.key.inode == inode:
                    item: FoundFile | None = before
                elif self.wants(path, place):
                    item = look(path, closed, place)
                    item = before if item == before else item
                else:
                    continue
                if item is not None:
                    matched = True
                    found.setdefault(item.key, item)
                    if inode == _LINK:
                        places.setdefault(os.path.dirname(place), os.path.dirname(place))
            if not matched:
                unmatched.append(pattern)
        self.closed, self.unmatched = tuple(sorted(closed)), tuple(unmatched)
        self._found_in = {*places, *places.values()}
        self._last = {item.path: item for item in found.values()}
        return found

    def reach(self) -> Reach:
        """Return what the last `find` did not find, and why."""
        return Reach(
            tuple(Unmatched(pattern, *_nearest(pattern)) for pattern in self.unmatched),
            tuple(there for folder in self.closed if (there := owned(folder)) is not None),
            Identity(os.geteuid(), os.getegid()),
        )

    def folders(self) -> set[str]:
        """Folders in which something that concerns us can appear: those of the files that the last `find` came across
        (and of the targets of links), those that the patterns name, or their nearest existing parent.
        """
        folders = set(self._found_in)
        for pattern in self._paths:
            parent = os.path.dirname(pattern)
            folders |= {os.path.normpath(folder) for folder in expand(parent) if os.path.isdir(folder)}
            folders.add(_existing(_fixed_part(parent)))
        return set(sorted(folders)[:_WATCHED_FOLDERS])

    def wants(self, path: str, place: str) -> bool:
        """Return whether neither `exclude` nor its being an archive, or our own, keeps the file out."""
        if is_archive(path) or place in self._own:
            return False
        excluded = self._excluded
        return excluded is None or not (excluded.match(path) or excluded.match(os.path.basename(path)))


def expand(pattern: str) -> Iterator[str]:
    """Yield the names that match an absolute pattern. Below `**` links to folders are not followed: two that lead back
    up would never end.
    """
    return (path for path, _ in _expanded(pattern, set()))


def _expanded(pattern: str, closed: set[str]) -> Iterator[tuple[str, int]]:
    """Yield what `expand` yields, with the listed inode number of each; folders that cannot be entered are added to
    `closed`.
    """
    parts = [part for part in pattern.split("/") if part]
    return _below("/", parts, closed) if parts else iter([("/", _NOT_LISTED)])


def _place(path: str, places: dict[str, str], *, is_link: bool) -> str:
    """Return where a file really is; `places` remembers that of each folder."""
    folder, _, name = path.rpartition("/")
    folder = folder or "/"
    if folder not in places:
        places[folder] = os.path.realpath(folder)
    if is_link:
        return os.path.realpath(path)
    return path if places[folder] == folder else os.path.join(places[folder], name)


def _below(folder: str, parts: list[str], closed: set[str]) -> Iterator[tuple[str, int]]:
    """Yield the names below `folder` that match the parts of a pattern, and the listed inode number of each."""
    part, rest = parts[0], parts[1:]
    if not glob.has_magic(part):
        path = os.path.join(folder, part)
        if rest:
            yield from _below(path, rest, closed)
        elif _exists(path, closed):
            yield path, _LINK if os.path.islink(path) else _NOT_LISTED
        return
    if part == "**" and rest:
        yield from _below(folder, rest, closed)
    entries = _entries(folder, closed)
    if part != "**" and not rest:
        matches = re.compile(fnmatch.translate(part)).match
        yield from ((entry.path, _listed_inode(entry)) for entry in entries if matches(entry.name))
        return
    for entry in entries:
        if part == "**":
            if not rest:
                yield entry.path, _listed_inode(entry)
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, parts, closed)
        elif fnmatch.fnmatchcase(entry.name, part) and _is_folder(entry, closed):
            yield from _below(entry.path, rest, closed)


def _entries(folder: str, closed: set[str] | None = None) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing where it cannot be read now."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        if closed is not None:
            closed.add(barrier(folder))
    except OSError:
        pass
    return []


def _listed_inode(entry: os.DirEntry[str]) -> int:
    return _LINK if entry.is_symlink() else entry.inode()


def _is_folder(entry: os.DirEntry[str], closed: set[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError:
        closed.add(barrier(entry.path))
    except OSError:
        pass
    return False


def _exists(path: str, closed: set[str]) -> bool:
    try:
        os.lstat(path)
    except PermissionError:
        closed.add(barrier(path))
        return False
    except OSError:
        return False
    return True


def barrier(path: str) -> str:
    """Return the first folder on the way to `path` that this process may not enter, or `path` itself."""
    folder = "/"
    for part in path.split("/")[1:]:
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder
        folder = os.path.join(folder, part)
    return path


def look(path: str, closed: set[str] | None = None, place: str = "") -> FoundFile | None:
    """Return the regular file at `path` (links followed), or None when there is none that can be looked at."""
    try:
        status = os.stat(path)
    except PermissionError:
        if closed is not None:
            closed.add(barrier(os.path.realpath(path)))
        return None
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    key = FileKey(status.st_dev, status.st_ino)
    size_bytes, modified_ns, changed_ns = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return FoundFile(path, place or os.path.realpath(path), key, size_bytes, modified_ns, changed_ns)


def siblings(path: str) -> list[FoundFile]:
    """Return the regular files in the folder of `path`, newest first; archives left out.

    While a rotation renames them one after the other, a file may be under none of the names that were listed: so it is
    listed again until every name still led to the inode with which it was listed.
    """
    folder = os.path.dirname(path)
    found: list[FoundFile] = []
    for _ in range(_LOOKS):
        found, steady = _listed(folder)
        if steady:
            break
    return sorted(found, key=lambda item: item.modified_ns, reverse=True)


def _listed(folder: str) -> tuple[list[FoundFile], bool]:
    """Return the regular files of a folder, and whether no name changed its file between the list and the look at
    it.
    """
    found: list[FoundFile] = []
    steady = True
    for entry in _entries(folder):
        is_link = entry.is_symlink()
        if is_archive(entry.name) or not (is_link or entry.is_file(follow_symlinks=False)):
            continue
        item = look(entry.path, place="" if is_link else entry.path)
        if item is not None:
            found.append(item)
        steady = steady and (is_link or (item is not None and item.key.inode == entry.inode()))
    return found, steady


def is_hidden(folder: str) -> bool:
    """Return whether the folder cannot be looked into now (no permission, no descriptor left): what is in it is
    unknown.
    """
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return False


class Siblings:
    """Remembers `siblings`: thousands of files may be looked for in one folder, after a long time down, or when all of
    them are rotated at once.
    """

    def __init__(self) -> None:
        self._read: dict[str, list[FoundFile]] = {}
        self._generations: dict[str, dict[str, list[FoundFile]]] = {}

    def forget(self) -> None:
        """Read the folders again when they are asked for next."""
        self._read.clear()
        self._generations.clear()

    def beside(self, path: str) -> list[FoundFile]:
        """Return what `siblings` returns."""
        folder = os.path.dirname(path)
        if folder not in self._read:
            self._read[folder] = siblings(path)
        return self._read[folder]

    def copies_of(self, path: str) -> list[FoundFile]:
        """Return the files beside it that may be copies of it: those with the name of a generation of it, then the
        newest of all.
        """
        folder, newest = os.path.dirname(path), self.beside(path)
        if folder not in self._generations:
            by_log = self._generations[folder] = {}
            for item in newest:
                for log in logs_of(item.path):
                    by_log.setdefault(log, []).append(item)
        return [*self._generations[folder].get(path, ()), *newest[:_CANDIDATES]]


def owned(path: str) -> Owned | None:
    """Return who may do what with a file or folder, or None when it cannot be asked."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Owned(path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _nearest(pattern: str) -> tuple[str, bool]:
    """Return the folder in which files of the pattern should be, as far as it names one, and whether that is there."""
    folder = _fixed_part(os.path.dirname(pattern))
    return folder, os.path.isdir(folder)


def _fixed_part(pattern: str) -> str:
    """Return the part of a pattern before its first wildcard."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _existing(folder: str) -> str:
    """`folder`, or its nearest parent that exists."""
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder
