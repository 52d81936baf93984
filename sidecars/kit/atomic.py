"""Replace a file so that a reader, or a power cut, sees either the whole old content or the whole new one.

Exists because every sidecar publishes or remembers something in a file, and a plain write can be seen (or survive a
crash) half done.
"""

import os
from contextlib import suppress
from pathlib import Path


def write_file(path: str | os.PathLike[str], data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Write `data` to a temporary file in the same folder, then rename it over `path`.

    The file gets exactly `mode`, whatever the umask. With `durable` the bytes and the rename are on the disk when
    this returns (fsync of the file, then of the folder: rename(2) alone promises order to readers, not survival of a
    crash). Raises OSError; then `path` is as it was and the temporary file is gone. One writer per path at a time. A
    process killed between write and rename leaves `.NAME.PID.tmp`; in a container the pid is the same after the
    restart, so the next write takes it over and nothing piles up.
    """
    target = Path(path)
    temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        _write_new(temporary, data, mode, durable=durable)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink()
        raise
    if durable:
        _sync_folder(target.parent)


def _write_new(path: Path, data: bytes, mode: int, *, durable: bool) -> None:
    # O_NOFOLLOW: a link planted under the temporary name must not redirect the write.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, mode)
        rest = memoryview(data)
        while rest:  # a write may be short (signals, quotas)
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
