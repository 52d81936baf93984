"""The watched paths that can never change: what is mounted from inside a volume (subPath)."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sidecars.config_reloader.core.snapshot import Wanted, split, wanted


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
    """Return what of the watched paths (folders, files, globs) can never change, each mount point once. `mountinfo`:
    text as in /proc/self/mountinfo, which is read when there is none.
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
    """Return whether something that is watched below `folder` is mounted at `point`."""
    names = _below(point, folder)
    inside = want.at(names or ())
    return names is not None and (inside.file if os.path.isfile(point) else inside.folder)


def _reason(point: str, root: str) -> str:
    """Return why what is mounted at `point` can never change, or "". `root`: its place in its file system."""
    if os.path.isfile(point):
        return _FILE_REASON
    return _FOLDER_REASON if _TIMESTAMPED.search(root) else ""


def _mounts(mountinfo: str) -> dict[str, str]:
    """Return mount point -> root of the mount in its file system, without those that a later mount hides (proc(5))."""
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
    """Return the names that lead from `folder` to `path`; None when it does not lie there."""
    names, above = ([name for name in text.split("/") if name] for text in (path, folder))
    return names[len(above) :] if names[: len(above)] == above else None


def _own_mountinfo() -> str:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:  # no /proc: nothing can be said
        return ""
