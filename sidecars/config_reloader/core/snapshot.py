"""What a snapshot of the watched content says, which names count, and how they become one hash: in an order and with a
framing that two different contents can never share. Pure, so that every rule is a table in the tests.
"""

import errno
import fnmatch
import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

UNREADABLE = "unreadable"
"""Stands in the place of a file's hash, which changes as soon as the file can be read (no hash looks like it)."""

_MAGIC = re.compile(r"[*?\[]")

Names = Mapping[str, str]
"""Relative name -> hash (hex) of the file's bytes, or UNREADABLE."""


class EntryKind(StrEnum):
    """What an entry of `watch` is. What is missing counts as a file, unless it is a glob."""

    VOLUME = "volume"
    FOLDER = "folder"
    FILE = "file"
    GLOB = "glob"


class EntryState(StrEnum):
    """Whether an entry of `watch` could be read whole."""

    OK = "ok"
    MISSING = "missing"
    """Not there, or nothing of it can be read (`unreadable` tells why): to be waited for, not a change."""
    UNSTABLE = "unstable"
    """It changed faster than it could be read, or descriptors or memory were short: to be looked at again soon."""
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class WatchEntry:
    """One entry of `watch`. `path`: as configured. `files`: how many it holds. `folder`: the absolute folder itself, or
    the one that the file or the fixed part of the glob lies in. `hash`: of its names and bytes; "" unless `ok`.
    `too_large`: which limit it is beyond, and what to do; "" unless `too_large`.
    """

    path: str
    kind: EntryKind
    state: EntryState
    files: int
    folder: str
    hash: str
    too_large: str = ""


@dataclass(frozen=True, slots=True)
class UnreadablePath:
    """A path that could not be read, and why, in words."""

    path: str
    reason: str


_REASONS = {
    errno.EACCES: "permission denied; let the sidecar's user or group read it (defaultMode, fsGroup)",
    errno.ELOOP: "its links lead in a circle",
    errno.ENOENT: "it is a link to something that is not there",
}


def unreadable_path(path: str, why: OSError | str) -> UnreadablePath:
    """Put it in words. Names need not be UTF-8, but what is logged must be."""
    if isinstance(why, OSError):
        why = _REASONS.get(why.errno or 0, why.strerror or type(why).__name__)
    return UnreadablePath(_raw(path).decode(errors="replace"), why)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The watched content at one moment. Neither bytes nor the hashes of single files are in its text: secrets."""

    hash: str
    """Hex, over all entries that are `ok`: equal for the same names and bytes, whatever the modes, times and places."""
    whole: bool
    """Whether every entry is `ok`."""
    entries: tuple[WatchEntry, ...]
    unreadable: tuple[UnreadablePath, ...]
    files: Mapping[str, bytes] = field(repr=False)
    """Relative name -> bytes, of all entries (of a clash, the first); only when contents were asked for."""
    clashes: tuple[str, ...]
    """Relative names that more than one entry has."""
    names: Mapping[str, str] = field(repr=False)
    """Relative name -> hash of the file, or UNREADABLE; of a clash, a hash over all."""
    watch_contents: frozenset[str]
    """Folders to watch for names and for writes to the files in them."""
    watch_names: frozenset[str]
    """Folders to watch for names only: what is missing, or a link on the way, may change there."""


@dataclass(slots=True)
class EntryContent:
    """What is being found of one entry; `Snapshot` says what the fields mean."""

    path: str
    kind: EntryKind = EntryKind.FILE
    state: EntryState = EntryState.OK
    folder: str = ""
    names: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    unreadable: list[UnreadablePath] = field(default_factory=list)
    too_large: str = ""
    watch_contents: set[str] = field(default_factory=set)
    watch_names: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    """The volumes that something of it lies in."""

    def enter(self, volume: str) -> None:
        """Note that something of it lies in this volume, in whose folder `..data` moves."""
        self.volumes.add(volume)
        self.watch_contents.add(volume)

    @property
    def entry(self) -> WatchEntry:
        """Return the entry, with the hash of what it holds."""
        hash_ = combined(self.names) if self.state is EntryState.OK else ""
        return WatchEntry(self.path, self.kind, self.state, len(self.names), self.folder, hash_, self.too_large)


def snapshot_of(found: Sequence[EntryContent]) -> Snapshot:
    """Return the snapshot of all entries together."""
    entries = tuple(one.entry for one in found)
    names, clashes = merged(one.names for one in found)
    contents = frozenset[str]().union(*(one.watch_contents for one in found))
    return Snapshot(
        hash=combined({entry.path: entry.hash for entry in entries if entry.state is EntryState.OK}),
        whole=all(entry.state is EntryState.OK for entry in entries),
        entries=entries,
        unreadable=tuple(problem for one in found for problem in one.unreadable),
        files={name: data for one in reversed(found) for name, data in one.files.items()},
        clashes=clashes,
        names=names,
        watch_contents=contents,
        watch_names=frozenset[str]().union(*(one.watch_names for one in found)) - contents,
    )


def clash(snapshot: Snapshot) -> str:
    """Return why it cannot be rendered into one folder, with the names that several paths have."""
    several = "a file" if len(snapshot.clashes) == 1 else "files"
    return (
        f"several watched paths have {several} called {', '.join(snapshot.clashes)}; "
        "rename the keys, or bring the volumes into folders of one projected volume"
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which names below a folder are content, as far as one has gone down: the parts of a glob that may come next.

    `**` stands for any number of folders, none included; other parts are as in the shell, except that `*` also takes
    names that begin with a dot. One set for all ways to read the pattern, so two `**` cost no more than one.
    """

    rests: frozenset[tuple[str, ...]]

    @property
    def file(self) -> bool:
        """Return whether a file of this name is content."""
        return () in self.rests

    @property
    def folder(self) -> bool:
        """Return whether content may lie below a folder of this name."""
        return any(self.rests)

    @property
    def files_inside(self) -> bool:
        """Return whether content may lie right in a folder of this name, and not only further down."""
        return any(len(rest) == 1 for rest in self.rests)

    def below(self, name: str) -> "Wanted":
        """Return the same for what is called `name` in this folder."""
        rests: set[tuple[str, ...]] = set()
        for rest in self.rests:
            if rest and rest[0] == "**":
                rests |= {rest} if len(rest) > 1 else {rest, ()}
            elif rest and fnmatch.fnmatchcase(name, rest[0]):
                rests.add(rest[1:])
        return _open(rests)

    def at(self, names: Iterable[str]) -> "Wanted":
        """Return the same for what these names lead to, one below the other."""
        return functools.reduce(Wanted.below, names, self)


def split(path: str) -> tuple[str, str]:
    """Return the folder that an absolute glob begins in and the pattern below it; of no glob the path itself and ""."""
    parts = path.split("/")
    for n, part in enumerate(parts):
        if _MAGIC.search(part):
            return "/".join(parts[:n]) or "/", "/".join(parts[n:])
    return path, ""


def wanted(pattern: str) -> Wanted:
    """Return what a glob wants, relative to its folder."""
    return _open([tuple(part for part in pattern.split("/") if part)])


def combined(contents: Names) -> str:
    """Return one hash (hex SHA-256) over names and what each holds (hashes): of the files of an entry, or of several
    entries by their paths as configured.
    """
    total = hashlib.sha256()
    for name in sorted(contents, key=_raw):
        total.update(_framed(_raw(name)) + _framed(contents[name].encode()))
    return total.hexdigest()


def changed(before: Names, after: Names) -> tuple[str, ...]:
    """Return the names that came, went, or have other content; sorted."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def merged(entries: Iterable[Names]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the names of all entries, and those that more than one entry has (sorted). Such a name gets a hash over
    all its contents, so that `changed` sees a change of any.
    """
    found: dict[str, list[str]] = {}
    for names in entries:
        for name, content in names.items():
            found.setdefault(name, []).append(content)
    clashes = tuple(sorted(name for name, contents in found.items() if len(contents) > 1))
    return {name: _one(contents) for name, contents in found.items()}, clashes


def _one(contents: list[str]) -> str:
    return contents[0] if len(contents) == 1 else combined({str(n): content for n, content in enumerate(contents)})


def _open(rests: Iterable[tuple[str, ...]]) -> Wanted:
    """Return the same with `**` standing for nothing as well. The last part must stand for a name."""
    opened = set(rests)
    for rest in list(opened):
        stars = next((n for n, part in enumerate(rest) if part != "**"), len(rest) - 1)
        opened |= {rest[n + 1 :] for n in range(stars)}
    return Wanted(frozenset(opened))


def _framed(data: bytes) -> bytes:
    """Put the length first, so that "ab" + "c" and "a" + "bc" differ."""
    return len(data).to_bytes(8, "big") + data


def _raw(name: str) -> bytes:
    """Return the bytes of a file name, which need not be UTF-8 (PEP 383)."""
    return name.encode("utf-8", "surrogateescape")
