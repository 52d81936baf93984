"""An app's side of a log: writers of numbered lines, and what rotation does to their files.

A writer remembers every line it wrote, so that a test can say what has to arrive.
"""

import os
import shutil
from pathlib import Path

_FILLER = 'GET /checkout/cart took 12 ms and said "thanks" \\ end '


class LogWriter:
    """Writes whole numbered lines to `path`; `written` holds them without their newline.

    `append=False` writes at its own offset, as a program does that opened its log without O_APPEND: after
    copytruncate it leaves a hole.
    """

    def __init__(self, path: Path, name: str = "line", *, append: bool = True) -> None:
        self.path = path
        self.name = name
        self.written: list[str] = []
        self._flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0)
        self._fd = os.open(path, self._flags, 0o644)

    def write(self, count: int = 1, *, filler: str = _FILLER) -> None:
        """So many lines in one write call."""
        first = len(self.written)
        lines = [f"{self.name} {number:07d} {filler}" for number in range(first, first + count)]
        self.written += lines
        self.write_bytes("".join(line + "\n" for line in lines).encode())

    def write_lines(self, *lines: str) -> None:
        """These lines."""
        self.written += lines
        self.write_bytes("".join(line + "\n" for line in lines).encode())

    def write_bytes(self, data: bytes) -> None:
        """Anything; not remembered."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def reopen(self) -> None:
        """What a daemon does when logrotate tells it to: close, and open the path again."""
        self.close()
        self._fd = os.open(self.path, self._flags, 0o644)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def inode(self) -> int:
        """Of the file behind the descriptor, wherever its name went."""
        return os.fstat(self._fd).st_ino


def rotate_numbered(log: Path) -> None:
    """`app.log` becomes `app.log.1`, `.1` becomes `.2` and so on, as logrotate does it."""
    count = 1
    while generation(log, count).exists():
        count += 1
    for number in range(count, 1, -1):
        generation(log, number - 1).rename(generation(log, number))
    log.rename(generation(log, 1))


def rotate_dated(log: Path, day: int) -> None:
    """`app.log` becomes `app.log-YYYYMMDD`; a day of its own for each call."""
    log.rename(log.with_name(f"{log.name}-2026{day // 28 + 1:02d}{day % 28 + 1:02d}"))


def swap_symlink(link: Path, target: Path) -> None:
    """Make `link` lead to `target`, in one step."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.symlink_to(target)
    fresh.rename(link)


def copytruncate(log: Path, copy: Path) -> None:
    """Copy, then truncate: what logrotate's `copytruncate` does."""
    shutil.copyfile(log, copy)
    os.truncate(log, 0)


def generation(log: Path, number: int) -> Path:
    """`app.log.3`."""
    return log.with_name(f"{log.name}.{number}")
