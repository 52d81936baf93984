"""Tell the copy that copytruncate makes from a file of its own, by content.

logrotate copies the log and then truncates it. The copy has another inode and may match the globs: read as a
file of its own it would double everything, ignored it would lose what had not been read before the truncation.
"""

import os
from collections.abc import Collection, Container, Iterable
from itertools import pairwise

from sidecars.log_shipper.core.identity import HEAD_BYTES, FileKey, Mark, digest, first_line_digest, marker_length
from sidecars.log_shipper.core.rotation import logs_of
from sidecars.runtime.clock import now as now_seconds

from .discovery import Found, siblings
from .files import Tail, born_ns

_COPY_SECONDS = 1.0
"""A new file that holds the same as a followed one is taken for a copy in the making until it was still for so long;
logrotate truncates the original within milliseconds of the last byte."""
_FRESH_SECONDS = 60.0
"""A file that was not written for so long is no copy in the making. (Thousands of old files with the same first line
would otherwise be compared with one another at the start.)"""
_GAP_NS = 2_000_000_000
"""The original may be written on between the last byte of its copy and its truncation: the copy is that much older."""
_CANDIDATES = 200
"""Files of a folder that are compared at most, newest first: a copy was made just now."""


class Moved(Exception):
    """A name leads elsewhere since the folder was listed: what is looked for may have moved to a name seen before."""


def find_copy(original: Tail, taken: Container[FileKey]) -> tuple[Found, Mark] | None:
    """The file that holds what `original` held before it was truncated, and up to where it was read already.

    A copy that ends before the read offset (we were quicker than logrotate) is recognised by an earlier mark.
    `taken`: files that are something else already. Raises Moved.
    """
    if original.head.length == 0:
        return None
    marks = [original.ledger.read, *reversed(original.history)]
    for item in siblings(original.place)[:_CANDIDATES]:
        if original.ledger.read.offset == 0 and item.modified_ns < original.intact_ns - _GAP_NS:
            break  # older than what it would be a copy of, and nothing but its head to know it by
        if item.key in taken or item.key == original.key or item.size_bytes < original.head.length:
            continue
        try:
            mark = _common_mark(item, original, marks)
        except FileNotFoundError as error:
            raise Moved from error
        except OSError:
            continue
        if mark is not None:
            return item, mark
    return None


def find_originals(tails: Collection[Tail]) -> None:
    """Tell what files without ids are copies of, where only the file system can: a rotated one that was made after its
    log is a copy of it (a renamed one is older). Its content was written to the log, which keeps its inode, and the
    ids of its lines are made of that.
    """
    new = [tail for tail in tails if not tail.prefix and not tail.origin_sought]
    if not new:
        return
    logs = {tail.place: tail for tail in tails if tail.listed}
    copies: dict[FileKey, list[Tail]] = {}
    for tail in new:
        tail.origin_sought = True
        log = min((name for name in logs_of(tail.place) if name in logs), key=len, default="")
        if log and _was_made_after(tail, logs[log]):
            tail.original = logs[log]
            copies.setdefault(tail.original.key, []).append(tail)
    for generations in copies.values():
        generations.sort(key=lambda tail: tail.modified_ns)
        original = generations[0].original
        for elder, tail in pairwise([*generations, original] if original and not original.prefix else generations):
            if tail is not None:
                tail.elder = elder


def _was_made_after(tail: Tail, log: Tail) -> bool:
    """False also where that is not known."""
    if tail.fd is None or log.fd is None:
        return False
    born, log_born = born_ns(tail.fd), born_ns(log.fd)
    return born is not None and log_born is not None and born > log_born


def alike(original: Tail, other: Tail) -> bool:
    """Whether `other` may be a copy of `original` in the making: as far as both go, they hold the same."""
    common = min(original.ledger.read.offset or original.size_bytes, other.size_bytes)
    if original.fd is None or other.fd is None or common == 0:
        return False
    length = marker_length(common)
    start = min(common, HEAD_BYTES)
    return os.pread(original.fd, start, 0) == os.pread(other.fd, start, 0) and os.pread(
        original.fd, length, common - length
    ) == os.pread(other.fd, length, common - length)


class Suspects:
    """New files that hold the same as a followed one, so that they may be its copy in the making."""

    def __init__(self) -> None:
        self._seen: dict[FileKey, tuple[int, float]] = {}
        self._unread: dict[FileKey, tuple[int, str]] = {}

    def may_be_copy(self, tail: Tail, followed: Iterable[Tail], now: float) -> bool:
        """Whether to wait with this file. Once it was still for _COPY_SECONDS, it is a file of its own."""
        if now_seconds() - tail.modified_ns / 1e9 > _FRESH_SECONDS:
            return False  # nobody is making it
        start = tail.start_bytes()
        first_line = first_line_digest(start)
        is_half = len(start) < HEAD_BYTES and b"\n" not in start
        likely = any(
            other is not tail and (is_half or self._first_line(other) == first_line) and alike(other, tail)
            for other in followed
        )
        size, since = self._seen.get(tail.key, (-1, now))
        if likely and (size != tail.size_bytes or now - since < _COPY_SECONDS):
            self._seen[tail.key] = (tail.size_bytes, since if size == tail.size_bytes else now)
            return True
        self.clear(tail.key)
        return False

    def originals(self, tail: Tail, followed: Iterable[Tail]) -> list[Tail]:
        """The files that began as this one does, when they were last looked at."""
        start = tail.start_bytes()
        first_line = first_line_digest(start)
        is_fresh = now_seconds() - tail.modified_ns / 1e9 <= _FRESH_SECONDS
        return [
            other
            for other in followed
            if other is not tail
            and (
                other.first_line == first_line
                or (is_fresh and not other.first_line and other.head.length > 0 and other.head.fits(start))
            )
        ]

    def _first_line(self, tail: Tail) -> str:
        """What a followed file begins with, also of one that has not been read yet; looked up once per modification."""
        if tail.first_line or tail.fd is None:
            return tail.first_line
        known_at, first_line = self._unread.get(tail.key, (0, ""))
        if known_at != tail.modified_ns:
            first_line = first_line_digest(tail.start_bytes())
            self._unread[tail.key] = (tail.modified_ns, first_line)
        return first_line

    def clear(self, key: FileKey) -> None:
        """The file is no longer in doubt."""
        self._unread.pop(key, None)
        self._seen.pop(key, None)


def _common_mark(item: Found, original: Tail, marks: list[Mark]) -> Mark | None:
    """The furthest of `marks` that lies within the file, when it begins as `original` began and contains that mark: a
    file that has only an earlier one (a long banner, say) is no copy. Raises Moved, OSError.
    """
    fd = os.open(item.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if FileKey(status.st_dev, status.st_ino) != item.key:
            raise Moved
        if not original.head.fits(os.pread(fd, HEAD_BYTES, 0)):
            return None
        if marks[0].offset == 0:
            return marks[0] if item.size_bytes >= original.size_bytes else None  # nothing was read: its head must do
        mark = next((mark for mark in marks if 0 < mark.offset <= item.size_bytes), None)
        if mark is None:
            return None
        length = marker_length(mark.offset)
        return mark if digest(os.pread(fd, length, mark.offset - length)) == mark.marker else None
    finally:
        os.close(fd)
