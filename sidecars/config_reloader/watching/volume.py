"""What is watched, read consistently: ConfigMap, Secret and projected volumes through one handle on `..data`, plain
folders and single files as they are.

The kubelet replaces a volume's content by renaming the link `..data`, and deletes the old folder at once
(pkg/volume/util/atomic_writer.go). Whoever reads key by key through the visible links mixes two versions; whoever
holds the old folder open can be given a listing that is cut short without any error. So each volume is opened once,
and when all is read the link must still lead to the folder that was opened; else it is read again.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecars.config_reloader.core.snapshot import (
    UNREADABLE,
    EntryContent,
    EntryKind,
    EntryState,
    Snapshot,
    Wanted,
    snapshot_of,
    split,
    unreadable_path,
    wanted,
)

_TRIES = 100
_LINKS = 40
"""As many links on one path as the kernel follows (path_resolution(7))."""
_ABSENT_TRIES = 10
_DEPTH = 64
"""Folders below each other: each holds two descriptors while it is read."""
_BLOCK_BYTES = 64 << 10
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: what was a file when we looked may be a named pipe when we open it, and would hold us for ever (fifo(7)).
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
"""These say nothing about the file, so they must not look like a change of it."""
_NOT_A_FILE = "it is not a regular file"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is watched at most, over all entries of `watch` together. `files` bounds the folders as well."""

    files: int = 10_000
    bytes: int = 256 << 20


def take(watch: Sequence[str], bounds: Bounds = Bounds(), *, contents: bool = False) -> Snapshot:
    """Take a snapshot of all of `watch` (folders, files, globs). It reads files: call it in a thread. `contents`: keep
    their bytes.

    Each volume is seen in one version, whatever is swapped meanwhile. Raises nothing for what is in the folders: what
    cannot be read is in `unreadable` and the state of the entries.
    """
    volumes = _Volumes()
    readings: list[_Reading] = []
    stale = list(range(len(watch)))
    try:
        for tries in range(_TRIES):
            for n in stale:
                others = [one for m, one in enumerate(readings) if m != n]
                reading = _Reading(watch[n], volumes, _left(bounds, others), contents=contents)
                reading.read()
                readings[n : n + 1] = [reading]
            moved = volumes.moved()
            stale = [
                n
                for n, one in enumerate(readings)
                if one.found.volumes & moved or (one.absent and tries < _ABSENT_TRIES)
            ]
            if not stale:
                break
            os.sched_yield()  # let the writer come to an end
        for n in stale:
            readings[n].give_up(EntryState.UNSTABLE)
    finally:
        volumes.close()
    return snapshot_of([reading.found for reading in readings])


class _AbsentError(Exception):
    """A volume without its `..data`."""


class _Volumes:
    """The handles on the `..data` of volumes. One for all that is read in one snapshot, so that two keys of a volume
    are of one version, however they are named; and a folder that is held open cannot lend its inode to its successor.
    """

    def __init__(self) -> None:
        self._handles: dict[str, int] = {}
        self.known: set[str] = set()
        """Every volume that had its `..data` since this began."""

    def handle(self, folder: str) -> int | None:
        """Return the handle on the folder that `..data` leads to; None where there is none. Raises OSError."""
        if folder not in self._handles:
            handle = self._opened(f"{folder}/..data", folder)
            if handle is None:
                return None
            self._handles[folder] = handle
        return self._handles[folder]

    def _opened(self, data: str, folder: str) -> int | None:
        for _ in range(_TRIES):
            try:
                handle = os.open(data, _FOLDER)
            except NotADirectoryError:
                return None
            except FileNotFoundError:
                if not os.path.lexists(data):
                    return None
                os.sched_yield()  # the kernel read the link, and what it led to was deleted before it came there
            else:
                self.known.add(folder)
                return handle
        self.known.add(folder)
        return None

    def moved(self) -> set[str]:
        """Let go of the volumes whose `..data` no longer leads to what was opened, and return them."""
        gone = {folder for folder, handle in self._handles.items() if not _leads_to(folder, handle)}
        for folder in gone:
            os.close(self._handles.pop(folder))
        return gone

    def close(self) -> None:
        """Let go of all."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()


def _leads_to(folder: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(f"{folder}/..data"), os.fstat(handle))
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a path leads: `file` relative to the handle `fd`, or absolute without one."""

    fd: int | None
    file: str
    path: str | None
    """The real path; None inside a volume, where nothing need be watched: its folders are only written once."""
    holders: tuple[str, ...] = ()
    """The folders of the links that lead to it, besides those on the way to a folder."""


def _follow(path: str, volumes: _Volumes, found: EntryContent) -> _Spot:
    """Follow an absolute path link by link, up to the volume it leads into. Notes in `found` what must be watched on
    the way. Raises OSError as the kernel would, and _AbsentError for a volume that has just lost its `..data`.
    """
    at, ahead = "/", path.split("/")[::-1]
    holders: list[str] = []
    links = 0
    while ahead:
        part = ahead.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            at = os.path.dirname(at)
        elif part == "..data":
            return _inside(at, ahead[::-1], volumes, found, holders)
        elif (target := _target(at, part, found)) is None:
            return _inside(at, [part, *ahead[::-1]], volumes, found, holders)
        elif not target:
            at = os.path.join(at, part)
        else:
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if any(ahead):
                found.watch_names.add(at)
            else:
                holders.append(at)
            at = "/" if target.startswith("/") else at
            ahead.extend(reversed(target.split("/")))
    return _Spot(None, at, at, tuple(holders))


def _target(folder: str, name: str, found: EntryContent) -> str | None:
    """Return where a link leads; "" for what is no link, None for what is not there."""
    try:
        return os.readlink(os.path.join(folder, name))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        found.watch_names.add(os.path.dirname(folder))
        raise
    except OSError as error:
        if error.errno == errno.EINVAL:
            return ""
        raise


def _inside(folder: str, ahead: list[str], volumes: _Volumes, found: EntryContent, holders: list[str]) -> _Spot:
    """Look inside the volume for a key: new kubelets make its visible link only after the rename."""
    handle = volumes.handle(folder)
    if handle is not None:
        found.enter(folder)
        return _Spot(handle, "/".join(ahead) or ".", None, tuple(holders))
    found.watch_names.add(folder)
    raise _AbsentError if folder in volumes.known else FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


class _TooLargeError(Exception):
    """Beyond the bounds; the text says which, and what to do."""

    def __init__(self, limit: str) -> None:
        super().__init__(
            f"{limit} are watched: no change here is rolled out; watch only what matters, or raise the limit"
        )


def _left(bounds: Bounds, others: "Sequence[_Reading]") -> "_Left":
    return _Left(
        bounds,
        files=bounds.files - sum(len(other.found.names) for other in others),
        folders=bounds.files,
        bytes=bounds.bytes - sum(other.bytes for other in others),
    )


@dataclass(slots=True)
class _Left:
    """What one entry may still take of the bounds, beside what the others took."""

    bounds: Bounds
    files: int
    folders: int
    bytes: int

    def take_file(self) -> None:
        """Count a file. Raises _TooLargeError."""
        self.files -= 1
        if self.files < 0:
            raise _TooLargeError(f"more than {self.bounds.files:,} files (max_files)")

    def take_folder(self) -> None:
        """Count a folder. Raises _TooLargeError."""
        self.folders -= 1
        if self.folders < 0:
            raise _TooLargeError(f"more than {self.bounds.files:,} folders (max_files)")

    def refuse_more_than_is_left(self, size: int) -> None:
        """Raise _TooLargeError if so many bytes of this entry are too many."""
        if size > self.bytes:
            mebibytes, rest = divmod(self.bounds.bytes, 1 << 20)
            shown = f"{self.bounds.bytes:,} bytes" if rest else f"{mebibytes:,} MiB"
            raise _TooLargeError(f"more than {shown} (max_bytes)")


@dataclass(frozen=True, slots=True)
class _Place:
    """Something to read: where it is, what it is called, what is wanted of it, and the folders above (dev, inode)."""

    spot: _Spot
    name: str
    want: Wanted
    trail: tuple[tuple[int, int], ...] = ()


class _Reading:
    """One entry of `watch`, read once."""

    def __init__(self, path: str, volumes: _Volumes, left: _Left, *, contents: bool) -> None:
        self.found = EntryContent(path)
        self.bytes = 0
        self.absent = False
        """Whether a volume has no `..data`: it may be back at once."""
        self._volumes = volumes
        self._contents = contents
        self._left = left
        self._buffer = bytearray(_BLOCK_BYTES)

    def give_up(self, state: EntryState) -> None:
        """Drop what was read: a part is not the content."""
        self.found.state = state
        self.found.names, self.found.files, self.bytes = {}, {}, 0

    def read(self) -> None:
        """Read all of it; the state says afterwards whether that was possible."""
        try:
            self._root()
        except _AbsentError:
            self.absent = True
            self.give_up(EntryState.MISSING)
        except _TooLargeError as error:
            self.found.too_large = str(error)
            self.give_up(EntryState.TOO_LARGE)
        except OSError as error:
            absent = isinstance(error, FileNotFoundError | NotADirectoryError)
            if not absent or os.path.islink(os.path.abspath(self.found.path)):
                self.found.unreadable.append(unreadable_path(self.found.path, error))
            self.give_up(EntryState.UNSTABLE if error.errno in _SHORT else EntryState.MISSING)

    def _root(self) -> None:
        """Find out what it is, and read that."""
        found, path = self.found, os.path.abspath(self.found.path)
        fixed, pattern = split(path)
        found.kind, found.folder = (EntryKind.GLOB, fixed) if pattern else (EntryKind.FILE, os.path.dirname(path))
        spot = _follow(fixed, self._volumes, found)
        is_folder = stat.S_ISDIR(os.stat(spot.file, dir_fd=spot.fd).st_mode)
        if pattern and not is_folder:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if is_folder and not pattern:
            inside = spot.path is None or self._volumes.handle(spot.path) is not None
            found.kind, found.folder = (EntryKind.VOLUME if inside else EntryKind.FOLDER), path
        name, wants = ("", pattern or "**") if is_folder else (os.path.basename(path), "")
        self._take(_Place(spot, name, wanted(wants)))
        if not is_folder and UNREADABLE in found.names.values():
            self.give_up(EntryState.MISSING)  # nothing else is in it

    def _folder(self, place: _Place) -> None:
        """Read what is wanted in a folder."""
        spot, path = place.spot, place.spot.path
        if path is not None:
            (self.found.watch_contents if place.want.files_inside else self.found.watch_names).add(path)
            if (handle := self._volumes.handle(path)) is not None:
                self.found.enter(path)
                spot = _Spot(handle, ".", None)
            elif path in self._volumes.known:
                raise _AbsentError
        self._left.take_folder()
        fd = os.open(spot.file, _FOLDER, dir_fd=spot.fd)
        try:
            status = os.fstat(fd)
            here = (status.st_dev, status.st_ino)
            if here in place.trail:
                self._unreadable(place, "it leads back to a folder that it lies in")
            elif len(place.trail) == _DEPTH:
                self._unreadable(place, f"it lies below {_DEPTH} folders")
            else:
                inner = replace(place, spot=replace(spot, fd=fd), trail=(*place.trail, here))
                self._entries(inner, top=not place.trail or path is not None)
        finally:
            os.close(fd)

    def _entries(self, folder: _Place, *, top: bool) -> None:
        """Read the entries of a folder that is open. `top`: names with `..` are the kubelet's, not content."""
        in_volume = folder.spot.path is None
        with os.scandir(folder.spot.fd) as entries:
            for entry in entries:
                if top and entry.name.startswith(".."):
                    if not in_volume and (entry.name == "..data" or entry.name.startswith("..2")):
                        raise _AbsentError
                    continue
                want = folder.want.below(entry.name)
                if want.rests:
                    self._entry(folder, entry, want)

    def _entry(self, folder: _Place, entry: os.DirEntry[str], want: Wanted) -> None:
        """Read one entry; what is wrong with it must not stop the rest."""
        path = os.path.join(folder.spot.path, entry.name) if folder.spot.path is not None else None
        spot = _Spot(folder.spot.fd, entry.name, path)
        place = _Place(spot, f"{folder.name}/{entry.name}".lstrip("/"), want, folder.trail)
        try:
            if path is not None and entry.is_symlink():
                place = replace(place, spot=_follow(path, self._volumes, self.found))
            self._take(place)
        except FileNotFoundError as error:
            if entry.is_symlink() and want.file:  # else it was deleted after it was listed; of a volume, with the whole
                self._unreadable(place, error)
        except OSError as error:
            if error.errno in _SHORT:
                raise
            self._unreadable(place, error)

    def _take(self, place: _Place) -> None:
        """Read a folder or a file, as far as it is wanted."""
        spot = place.spot
        # Looked at before it is opened: to open a named pipe wakes its writer, to open a device may start something.
        mode = os.stat(spot.file, dir_fd=spot.fd).st_mode
        if stat.S_ISDIR(mode):
            self.found.watch_names.update(spot.holders)
            if place.want.folder:
                self._folder(place)
        elif place.want.file:
            folders = spot.holders if spot.path is None else (*spot.holders, os.path.dirname(spot.path))
            self.found.watch_contents.update(folders)
            if not (stat.S_ISREG(mode) and self._file(place)):
                self._unreadable(place, _NOT_A_FILE)

    def _file(self, place: _Place) -> bool:
        """Read one file; return whether it was one."""
        fd = os.open(place.spot.file, _FILE, dir_fd=place.spot.fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return False
            self._add(place.name, *self._bytes_of(fd, status.st_size))
            return True
        finally:
            os.close(fd)

    def _bytes_of(self, fd: int, size: int) -> tuple[str, bytes]:
        """Return the hash, and the bytes if they are asked for. `size` is a hint: the file may grow, or be of /proc."""
        total, blocks = hashlib.sha256(), []
        self._left.refuse_more_than_is_left(self.bytes + size)
        while got := os.readv(fd, [self._buffer]):
            self.bytes += got
            self._left.refuse_more_than_is_left(self.bytes)
            block = memoryview(self._buffer)[:got]
            total.update(block)
            if self._contents:
                blocks.append(bytes(block))
        return total.hexdigest(), b"".join(blocks)

    def _add(self, name: str, content: str, data: bytes) -> None:
        self._left.take_file()
        self.found.names[name] = content
        if self._contents and content != UNREADABLE:
            self.found.files[name] = data

    def _unreadable(self, place: _Place, why: OSError | str) -> None:
        self._add(place.name, UNREADABLE, b"")
        self.found.unreadable.append(unreadable_path(os.path.join(self.found.folder, place.name), why))
