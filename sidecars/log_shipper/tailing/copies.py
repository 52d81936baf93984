"""Tell the copy that copytruncate makes from a file of its own, by content.

logrotate copies the log and then truncates it. The copy has another inode and may match the globs: read as a
file of its own it would double everything, ignored it would lose what had not been read before the truncation.
"""

import os
from collections.abc import Callable, Collection, Mapping
from heapq import nlargest
from itertools import pairwise
from typing import TypeVar

from sidecars.log_shipper.core.beginnings import Beginnings
from sidecars.log_shipper.core.checkpoint import FilePosition
from sidecars.log_shipper.core.identity import HEAD_BYTES, FileKey, Mark, digest, first_line_digest, marker_length
from sidecars.log_shipper.core.rotation import logs_of
from sidecars.runtime.clock import now as now_seconds

from .discovery import FoundFile, Siblings
from .files import Tail

_COPY_SECONDS = 1.0
"""A new file that holds the same as a followed one is taken for a copy in the making until it was still for so long;
logrotate truncates the original within milliseconds of the last byte."""
_FRESH_SECONDS = 60.0
"""A file that was not written for so long is no copy in the making. (Thousands of old files with the same first line
would otherwise be compared with one another at the start.)"""
_GAP_NS = 2_000_000_000
"""The original may be written on between the last byte of its copy and its truncation: the copy is that much older."""
_COMPARED = 64
"""Files that begin as a new one does and are compared with it at most."""
_AT_REST = 16
"""Closed files that are opened at most to be compared with a new one, and longer ones that are read for that."""


class Moved(Exception):
    """A name leads elsewhere since the folder was listed: what is looked for may have moved to a name seen before."""


def find_copy(original: Tail, siblings: Siblings, taken: Callable[[FileKey], bool]) -> tuple[FoundFile, Mark] | None:
    """Return the file that holds what `original` held before it was truncated, and up to where it was read already.

    A copy that ends before the read offset (we were quicker than logrotate) is recognised by an earlier mark.
    `taken`: whether a file is something else already. Raises Moved.
    """
    if original.identity.head.length == 0:
        return None
    marks = [original.ledger.read, *reversed(original.history)]
    for item in siblings.copies_of(original.place):
        if original.ledger.read.offset == 0 and item.modified_ns < original.intact_ns - _GAP_NS:
            continue  # older than what it would be a copy of, and nothing but its head to know it by
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
    """Return whether `other` may be a copy of `original` in the making: as far as both go, they hold the same."""
    common = min(original.ledger.read.offset or original.size_bytes, other.size_bytes)
    if original.fd is None or other.fd is None or common == 0:
        return False
    length = marker_length(common)
    start = min(common, HEAD_BYTES)
    try:
        return all(
            os.pread(original.fd, size, offset) == os.pread(other.fd, size, offset)
            for size, offset in ((start, 0), (length, common - length))
        )
    except OSError:  # which the next look at the file that fails says; nobody copies it now
        return False


class Suspects:
    """New files that hold the same as a followed one, so that they may be its copy in the making. They are compared
    with few: there may be thousands that have a banner in common, or all they hold.
    """

    def __init__(self, followed: Mapping[FileKey, Tail], closed: Mapping[FileKey, FilePosition]) -> None:
        """`followed`, `closed`: the owner's; they change meanwhile."""
        self._followed = followed
        self._closed = closed
        self._seen: dict[FileKey, tuple[int, float]] = {}
        self._heads: Beginnings | None = None
        self._closed_heads: Beginnings | None = None

    def begin(self) -> None:
        """Note that a new scan begins."""
        self._heads = self._closed_heads = None

    def add(self, tail: Tail) -> None:
        """Note that a file is followed from now on."""
        if self._heads is not None:
            self._heads.add(tail.identity.head, tail.key)

    def may_be_copy(self, tail: Tail, now: float) -> bool:
        """Tell whether to wait with this file. Once it was still for _COPY_SECONDS, it is a file of its own."""
        if not _is_fresh(tail):
            return False  # nobody is making it
        start = tail.start_bytes()
        likely = bool(start) and any(alike(other, tail) for other in [*self._beginning(tail), *self._longer(start)])
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
        if self._closed_heads is None:
            self._closed_heads = Beginnings()
            for each in self._closed.values():
                self._closed_heads.add(each.identity.head, each.key)
        keys = self._closed_heads.of(tail.start_bytes())
        return _likeliest(_AT_REST, tail, [self._closed[key] for key in keys if key in self._closed])

    def originals(self, tail: Tail) -> list[Tail]:
        """Return files that began as this one does, when they were last looked at."""
        first_line = first_line_digest(tail.start_bytes())
        known = (first_line, "") if _is_fresh(tail) else (first_line,)
        return [other for other in self._beginning(tail) if other.identity.first_line in known]

    def clear(self, key: FileKey) -> None:
        """Note that the file is no longer in doubt."""
        self._seen.pop(key, None)

    def _beginning(self, tail: Tail) -> list[Tail]:
        """Return the followed files that this one begins as, not too many."""
        if self._heads is None:
            self._heads = Beginnings()
            for each in self._followed.values():
                self.add(each)
        others = [self._followed[key] for key in self._heads.of(tail.start_bytes()) if key in self._followed]
        return _likeliest(_COMPARED, tail, [other for other in others if other is not tail])

    def _longer(self, start: bytes) -> list[Tail]:
        """Return the followed files that may have begun with `start` and went on since, not too many."""
        if len(start) >= HEAD_BYTES:
            return []
        longer = (each for each in self._followed.values() if each.identity.head.length > len(start))
        return nlargest(_AT_REST, longer, key=lambda each: each.modified_ns)


_Place = TypeVar("_Place", Tail, FilePosition)


def _likeliest(count: int, tail: Tail, others: list[_Place]) -> list[_Place]:
    """Return so many of the files that `tail` may be a copy of: its log by name, and those that changed last."""
    if len(others) <= count:
        return others
    logs = set(logs_of(tail.place))
    return nlargest(count, others, key=lambda each: (each.place in logs, each.modified_ns))


def _is_fresh(tail: Tail) -> bool:
    return now_seconds() - tail.modified_ns / 1e9 <= _FRESH_SECONDS


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
