"""Where a watched path really lies: the links on the way, the mounted volumes they lead into, and the mounts that can
never update.

A volume is a folder that the kubelet writes (pkg/volume/util/atomic_writer.go): the link `..data` leads to the folder
that holds the keys, and is renamed to replace them all at once.
"""

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sidecars.config_reloader.core.digest import Found, Wanted, split, wanted

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TRIES = 100
_LINKS = 40
"""As many links on one path as the kernel follows (path_resolution(7))."""


class AbsentError(Exception):
    """A volume without its `..data`."""


class Volumes:
    """The handles on the `..data` of volumes. One for all that is read in one look, so that two keys of a volume are of
    one version, however they are named; and a folder that is held open cannot lend its inode to its successor.
    """

    def __init__(self) -> None:
        self._handles: dict[str, int] = {}
        self.known: set[str] = set()
        """Every volume that had its `..data` since this began."""

    def handle(self, folder: str) -> int | None:
        """The handle on the folder that `..data` leads to; None where there is none. Raises OSError."""
        if folder not in self._handles:
            handle = self._opened(f"{folder}/..data", folder)
            if handle is None:
                return None
            self._handles[folder] = handle
        return self._handles[folder]

    def _opened(self, data: str, folder: str) -> int | None:
        for _ in range(_TRIES):
            try:
                handle = os.open(data, FOLDER)
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
class Spot:
    """Where a path leads: `file` relative to the handle `fd`, or absolute without one."""

    fd: int | None
    file: str
    path: str | None
    """The real path; None inside a volume, where nothing need be watched: its folders are only written once."""
    holders: tuple[str, ...] = ()
    """The folders of the links that lead to it, besides those on the way to a folder."""


def follow(path: str, volumes: Volumes, found: Found) -> Spot:
    """Follow an absolute path link by link, up to the volume it leads into. Notes in `found` what must be watched on
    the way. Raises OSError as the kernel would, and AbsentError for a volume that has just lost its `..data`.
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
    return Spot(None, at, at, tuple(holders))


def _target(folder: str, name: str, found: Found) -> str | None:
    """Where a link leads; "" for what is no link, None for what is not there."""
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


def _inside(folder: str, ahead: list[str], volumes: Volumes, found: Found, holders: list[str]) -> Spot:
    """What is not there may be a key of a volume: new kubelets make its visible link only after the rename."""
    handle = volumes.handle(folder)
    if handle is not None:
        found.enter(folder)
        return Spot(handle, "/".join(ahead) or ".", None, tuple(holders))
    found.watch_names.add(folder)
    raise AbsentError if folder in volumes.known else FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@dataclass(frozen=True, slots=True)
class Frozen:
    """A path that will never change: what it is and what to do about it, in words."""

    path: str
    reason: str


_FILE_REASON = (
    "it is a single file mounted by itself (subPath), which stays what it was when the container started "
    "(kubernetes#50345); mount the whole volume and watch the folder"
)
_FOLDER_REASON = (
    "it is mounted from inside a volume (subPath) and stays what it was when the container started "
    "(kubernetes#50345); mount the whole volume and watch the folder below it"
)
_TIMESTAMPED = re.compile(r"/\.\.\d")
_OF_THE_RUNTIME = {"/dev/termination-log", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
"""Mounted as single files into every container, and written in place."""


def frozen(paths: Iterable[str], mountinfo: str | None = None) -> list[Frozen]:
    """What of the watched paths (folders, files, globs) can never change, each mount point once. `mountinfo`: text as
    in /proc/self/mountinfo, which is read when there is none.
    """
    mounts = _mounts(_own_mountinfo() if mountinfo is None else mountinfo)
    found: dict[str, Frozen] = {}
    for path in paths:
        fixed, pattern = split(os.path.abspath(path))
        folder = os.path.realpath(fixed)
        want = wanted(pattern or "**")
        above = [point for point in mounts if _below(folder, point) is not None]
        covering = sorted(above, key=len)[-1:]
        inside = [point for point in mounts.keys() - set(above) if _is_wanted(point, folder, want)]
        for point in [*covering, *inside]:
            reason = _reason(point, mounts[point])
            if reason and point not in _OF_THE_RUNTIME:
                found[point] = Frozen(point, reason)
    return [found[point] for point in sorted(found)]


def _is_wanted(point: str, folder: str, want: Wanted) -> bool:
    """Whether something that is watched below `folder` is mounted at `point`."""
    names = _below(point, folder)
    inside = want.at(names or ())
    return names is not None and (inside.file if os.path.isfile(point) else inside.folder)


def _reason(point: str, root: str) -> str:
    """Why what is mounted at `point` can never change, or "". `root`: where the mount lies in its file system."""
    if os.path.isfile(point):
        return _FILE_REASON
    return _FOLDER_REASON if _TIMESTAMPED.search(root) else ""


def _mounts(mountinfo: str) -> dict[str, str]:
    """Mount point -> root of the mount in its file system; without those that a later mount hides (proc(5))."""
    mounts: dict[str, str] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            root, point = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), text) for text in fields[3:5])
            mounts = {other: where for other, where in mounts.items() if not f"{other}/".startswith(f"{point}/")}
            mounts[point] = root
    return mounts


_OCTAL = re.compile(r"\\([0-7]{3})")
"""Spaces, tabs, line ends and backslashes in the paths of mountinfo (proc(5))."""


def _below(path: str, folder: str) -> list[str] | None:
    """The names that lead from `folder` to `path`; None when it does not lie there."""
    names, above = ([name for name in text.split("/") if name] for text in (path, folder))
    return names[len(above) :] if names[: len(above)] == above else None


def _own_mountinfo() -> str:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:  # no /proc: nothing can be said
        return ""
