"""Tell the copy that copytruncate makes from a file of its own, by content.

logrotate copies the log and then truncates it. The copy has another inode and may match the globs: read as a
file of its own it would double everything, ignored it would lose what had not been read before the truncation.
"""

import os
from collections.abc import Callable, Collection, Mapping
from heapq import nlargest
from itertools import pairwise

from sidecars.log_shipper.core.checkpoint import FilePosition
from sidecars.log_shipper.core.identity import HEAD_BYTES, FileKey, Mark, digest, first_line_digest, marker_length
from sidecars.log_shipper.core.rotation import logs_of
from sidecars.runtime.clock import now as now_seconds

from .discovery import FoundFile, siblings
from .files import Tail

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
_AT_REST = 16
"""Closed files that are opened at most to be compared with a new one."""


class Moved(Exception):
    """A name leads elsewhere since the folder was listed: what is looked for may have moved to a name seen before."""


def find_copy(original: Tail, taken: Callable[[FileKey], bool]) -> tuple[FoundFile, Mark] | None:
    """The file that holds what `original` held before it was truncated, and up to where it was read already.

    A copy that ends before the read offset (we were quicker than logrotate) is recognised by an earlier mark.
    `taken`: whether a file is something else already. Raises Moved.
    """
    if original.identity.head.length == 0:
        return None
    marks = [original.ledger.read, *reversed(original.history)]
    for item in siblings(original.place)[:_CANDIDATES]:
        if original.ledger.read.offset == 0 and item.modified_ns < original.intact_ns - _GAP_NS:
            break  # older than what it would be a copy of, and nothing but its head to know it by
        if taken(item.key) or item.key == original.key or item.size_bytes < original.identity.head.length:
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
    new = [tail for tail in tails if not tail.identity.prefix and not tail.origin_sought]
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
        for elder, tail in pairwise(
            [*generations, original] if original and not original.identity.prefix else generations
        ):
            if tail is not None:
                tail.elder = elder


def _was_made_after(tail: Tail, log: Tail) -> bool:
    """False also where that is not known."""
    return bool(tail.born_ns and log.born_ns and tail.born_ns > log.born_ns)


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
    """New files that hold the same as a followed one, so that they may be its copy in the making. They are compared
    with those only that have the same first line: there may be thousands of each.
    """

    def __init__(self, followed: Mapping[FileKey, Tail], closed: Mapping[FileKey, FilePosition]) -> None:
        """`followed`, `closed`: the owner's; they change meanwhile."""
        self._followed = followed
        self._closed = closed
        self._seen: dict[FileKey, tuple[int, float]] = {}
        self._by_line: dict[str, dict[FileKey, None]] | None = None
        """Keys and not files: a file that is closed meanwhile is not kept in memory."""
        self._closed_by_line: dict[str, list[FilePosition]] | None = None

    def begin(self) -> None:
        """A new scan begins."""
        self._by_line = self._closed_by_line = None

    def add(self, tail: Tail) -> None:
        """A file is followed from now on."""
        if self._by_line is not None:
            self._by_line.setdefault(_line_of(tail), {})[tail.key] = None

    def may_be_copy(self, tail: Tail, now: float) -> bool:
        """Whether to wait with this file. Once it was still for _COPY_SECONDS, it is a file of its own."""
        if not _is_fresh(tail):
            return False  # nobody is making it
        start = tail.start_bytes()
        is_half = len(start) < HEAD_BYTES and b"\n" not in start
        others = list(self._followed.values()) if is_half else self._beginning(start)
        likely = bool(start) and any(other is not tail and alike(other, tail) for other in others)
        size, since = self._seen.get(tail.key, (-1, now))
        if likely and (size != tail.size_bytes or now - since < _COPY_SECONDS):
            self._seen[tail.key] = (tail.size_bytes, since if size == tail.size_bytes else now)
            return True
        self.clear(tail.key)
        return False

    def at_rest(self, tail: Tail) -> list[FilePosition]:
        """Return the closed files, not too many, of which a new file may be the copy in the making."""
        if not self._closed or not _is_fresh(tail):
            return []
        if self._closed_by_line is None:
            self._closed_by_line = {}
            for each in self._closed.values():
                self._closed_by_line.setdefault(each.identity.first_line, []).append(each)
        start = tail.start_bytes()
        likely = [
            each
            for each in self._closed_by_line.get(first_line_digest(start), ())
            if each.key in self._closed and (len(start) < each.identity.head.length or each.identity.head.fits(start))
        ]
        return nlargest(_AT_REST, likely, key=lambda each: each.modified_ns)

    def originals(self, tail: Tail) -> list[Tail]:
        """The files that began as this one does, when they were last looked at."""
        start = tail.start_bytes()
        first_line = first_line_digest(start)
        is_fresh = _is_fresh(tail)
        return [
            other
            for other in self._beginning(start)
            if other is not tail
            and (
                other.identity.first_line == first_line
                or (is_fresh and not other.identity.first_line and _begins_alike(other, start))
            )
        ]

    def clear(self, key: FileKey) -> None:
        """The file is no longer in doubt."""
        self._seen.pop(key, None)

    def _beginning(self, start: bytes) -> list[Tail]:
        """The followed files with the first line of `start`, and those that had none yet."""
        if self._by_line is None:
            self._by_line = {}
            for each in self._followed.values():
                self.add(each)
        keys = self._by_line.get(first_line_digest(start), {}) | self._by_line.get("", {})
        return [self._followed[key] for key in keys if key in self._followed]


def _line_of(tail: Tail) -> str:
    """The digest of a file's first line, also of one that has not been read yet; empty while it has none."""
    if tail.identity.first_line:
        return tail.identity.first_line
    start = tail.start_bytes()
    return first_line_digest(start) if len(start) == HEAD_BYTES or b"\n" in start else ""


def _is_fresh(tail: Tail) -> bool:
    return now_seconds() - tail.modified_ns / 1e9 <= _FRESH_SECONDS


def _begins_alike(tail: Tail, start: bytes) -> bool:
    head = tail.identity.head
    return head.length > 0 and head.fits(start)


def _common_mark(item: FoundFile, original: Tail, marks: list[Mark]) -> Mark | None:
    """The furthest of `marks` that lies within the file, when it begins as `original` began and contains that mark: a
    file that has only an earlier one (a long banner, say) is no copy. Raises Moved, OSError.
    """
    fd = os.open(item.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if FileKey(status.st_dev, status.st_ino) != item.key:
            raise Moved
        if not original.identity.head.fits(os.pread(fd, HEAD_BYTES, 0)):
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
