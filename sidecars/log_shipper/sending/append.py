"""Append whole lines to a file so that they survive a crash, or leave it as it was."""

import errno
import os
import stat


def append(path: str, data: bytes) -> None:
    """Append whole lines and fsync. Raises OSError, and leaves nothing of `data` behind then; refuses a named pipe."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        status = os.fstat(fd)
        if is_pipe(path):
            raise OSError(errno.EINVAL, "it is a named pipe, which keeps nothing")
        if not stat.S_ISREG(status.st_mode):  # a device knows neither fsync nor going back
            write_all(fd, data)
            return
        start = status.st_size
        try:
            if start and os.pread(fd, 1, start - 1) != b"\n":
                write_all(fd, b"\n")  # a crash left half a line
            write_all(fd, data)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, start)
            raise
    finally:
        os.close(fd)


def is_pipe(path: str) -> bool:
    """Whether a named pipe is there. What it holds is gone when its last end is closed (pipe(7)); our own stdout and
    stderr stay open as long as we live.
    """
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode) and not os.path.realpath(path).startswith("/proc/")
    except OSError:
        return False


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
