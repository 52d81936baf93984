"""Where files lie: in memory that never reaches a disk, or not."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from sidecars.runtime.errors import Problem
from sidecars.secret_sync.settings import SecretSyncSettings

_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Machine:
    """Where the kernel says what it does; tests name other folders."""

    proc: str = "/proc"
    cgroup: str = "/sys/fs/cgroup"


def refused(settings: SecretSyncSettings, machine: Machine = Machine()) -> Iterable[Problem]:
    """Return what forbids a start: secrets that would lie on a disk, or in memory that may be swapped to one."""
    for number, target in enumerate(settings.all_targets):
        where = f"targets[{number}].path" if settings.targets else "target"
        if not target.allow_disk:
            yield from _exposed(where, target.path, "set allow_disk: true for it in `targets`", machine)
    if settings.handover_file and not any(target.allow_disk for target in settings.all_targets):
        yield from _exposed("handover_file", settings.handover_file, "leave it out", machine)


def _exposed(where: str, path: str, otherwise: str, machine: Machine) -> Iterable[Problem]:
    kind, options = mount_of(path, machine)
    if kind not in _MEMORY:
        remedy = f"mount an emptyDir with medium: Memory there, or {otherwise}"
        yield Problem(where, f"{path} is on {kind or 'no file system'}, not in memory", remedy)
    elif kind == "tmpfs" and "noswap" not in options and swaps(machine):
        remedy = f"mount it with noswap, keep this container from swapping (memory.swap.max: 0), or {otherwise}"
        yield Problem(where, f"{path} is in memory that this machine may swap to a disk", remedy)


def swaps(machine: Machine = Machine()) -> bool:
    """Return whether memory of this container may be swapped: the machine has swap, and the cgroup may use it."""
    try:
        with open(f"{machine.proc}/swaps", encoding="utf-8") as file:
            has_swap = len(file.readlines()) > 1
    except OSError:
        return False
    try:
        with open(f"{machine.cgroup}/memory.swap.max", encoding="utf-8") as file:
            return has_swap and file.read().strip() != "0"
    except OSError:
        return has_swap


def mount_of(path: str, machine: Machine = Machine()) -> tuple[str, frozenset[str]]:
    """Return the kind of file system that a path is on, of the nearest folder that exists, and its mount options;
    "" when it is unknown.
    """
    here = os.path.realpath(path)
    best, kind, options = -1, "", frozenset[str]()
    try:
        with open(f"{machine.proc}/self/mountinfo", encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except OSError:
        return kind, options
    for words in lines:
        mount = words[4].encode().decode("unicode_escape")
        inside = here == mount or here.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:
            after = words.index("-")
            best, kind = len(mount), words[after + 1]
            options = frozenset(",".join((words[5], *words[after + 3 :])).split(","))
    return kind, options
