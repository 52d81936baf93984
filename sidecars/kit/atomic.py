"""Replace a file so that a reader, or a power cut, sees either the whole old content or the whole new one.

Exists because every sidecar publishes or remembers something in a file, and a plain write can be seen (or survive a
crash) half done.
"""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from .files import other_kind, sync_folder, write_all


def write_file(path: str | os.PathLike[str], data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Write `data` to a temporary file in the same folder, then rename it over `path`.

    The file gets exactly `mode`, whatever the umask. With `durable` the bytes and the rename are on the disk when
    this returns (fsync of the file, then of the folder: rename(2) alone promises order to readers, not survival of a
    crash). Raises OSError, also when something else than a regular file is there; then `path` is as it was and the
    temporary file is gone. One writer per path at a time. A process killed between write and rename leaves
    `.NAME.RANDOM.tmp`, for `clear_leftovers` of the next one.
    """
    if kind := other_kind(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))
    target = Path(path)
    temporary = target.parent / f".{target.name}.{os.urandom(4).hex()}.tmp"
    try:
        write_new(temporary, data, mode, durable=durable)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):  # the first error is the one to raise
            temporary.unlink()
        raise
    if durable:
        sync_folder(target.parent)


def clear_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed writers of `path` left behind. Not by their pid: with a process name space
    shared by the pod, each start has another one. To be called before the first write.
    """
    target = Path(path)
    left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{1,16}}\.tmp")  # former versions had the pid in it
    with suppress(OSError):  # the folder may not be there yet
        for name in os.listdir(target.parent):
            if left.fullmatch(name):
                with suppress(OSError):
                    os.unlink(target.parent / name)


def write_new(
    path: str | os.PathLike[str], data: bytes, mode: int, owner: tuple[int, int] = (-1, -1), *, durable: bool = True
) -> None:
    """Write a file that is not there yet, with exactly this mode and, unless -1, this user and group id. Raises OSError
    (an owner takes CAP_CHOWN); a part of the file may be left then.
    """
    # O_EXCL: nothing that is there is written to, nor a link followed.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if owner != (-1, -1):
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)  # whatever the umask; after the owner, whose change clears bits (chown(2))
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
