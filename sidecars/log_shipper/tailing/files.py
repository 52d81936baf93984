"""One open log file: read on from where it was, notice when it is no longer what it was.

Every read begins with the marker, the bytes just before the offset, in the same `pread` as the new ones: a file
that was truncated (and even grew past the offset again) is noticed by the very read that would have gone wrong.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from sys import byteorder
from typing import cast

from sidecars.log_shipper.core.checkpoint import FilePosition
from sidecars.log_shipper.core.file_state import FileEvent, FileState, after
from sidecars.log_shipper.core.identity import (
    HEAD_BYTES,
    FileIdentity,
    FileKey,
    Mark,
    digest,
    first_line_digest,
    marker_length,
)
from sidecars.log_shipper.core.joining import Joining
from sidecars.log_shipper.core.lag import FileFigures, Lag
from sidecars.log_shipper.core.ledger import Ledger
from sidecars.runtime.clock import monotonic

_HISTORY = 32
"""Remembered segment ends per file, to recognise a copy that ends before what was read of the original."""
LINGER_SECONDS = 5.0
"""A file without a name is let go only after it was still for so long: its writer may not have noticed yet."""
_SCAN_BYTES = 1 << 20
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_MASK_AT, _BTIME_AT, _STRUCT_BYTES = 0, 80, 256
"""Offsets in struct statx (linux/stat.h), the same on every architecture."""


class Truncated(Exception):
    """The content at and before the read offset is not what was read: truncated, or the inode was reused."""


class Tail:
    """A file that is being followed; its states are those of `FileState`. Owned by the one reading task; no other code
    reads it. Closed, it is a `FilePosition` (see `position` and `resumed`).
    """

    __slots__ = (
        "_marker",
        "_short_end",
        "born_ns",
        "changed_ns",
        "elder",
        "encoding",
        "encoding_before",
        "fd",
        "former",
        "grown_at",
        "history",
        "identity",
        "intact_ns",
        "joining",
        "key",
        "lag",
        "ledger",
        "modified_ns",
        "origin_sought",
        "original",
        "place",
        "size_bytes",
        "start_line",
        "state",
        "stuck_at",
    )

    def __init__(self, path: str, start: Mark | None = None) -> None:
        self.identity = FileIdentity(path)
        self.place = path
        """Where it is now, as far as known."""
        self.key = FileKey(0, 0)
        self.state = FileState.CLOSED
        self.fd: int | None = None
        self.ledger = Ledger(start or Mark())
        self.start_line = ""
        """What its first line said when the first bytes were read."""
        self.size_bytes = 0
        self.modified_ns = 0
        self.changed_ns = 0
        self.born_ns = 0
        """When it was made; 0 where that is not known."""
        self.intact_ns = 0
        """Modification time when the content was last known to be what was read."""
        self.grown_at = 0.0
        """Loop time of the last growth that was seen."""
        self.lag = Lag()
        self.stuck_at = (-1, 0)
        """Size and modification time at which the rest of the file was half a line: no use reading it again."""
        self.history: list[Mark] = []
        """The last segment ends, oldest first."""
        self.original: Tail | None = None
        """What this is a copy of, where only the file system tells: made by copytruncate before we ran, or before the
        state was lost."""
        self.origin_sought = False
        self.elder: Tail | None = None
        """The next older copy of the same original, as long as that has no ids either: they are numbered by age."""
        self.encoding: str | None = None
        """Of its text; empty for UTF-8, None until its first bytes were looked at."""
        self.encoding_before = ""
        """What it was before a truncation: the writer goes on without a byte order mark."""
        self.joining: Joining | None = None
        """The records of it that are open, where lines can be parts of records."""
        self.former: Tail | None = None
        """The generation before it, as long as nothing was read of this one: a record may go on from there to here."""
        self._short_end: Mark | None = None
        """Where a copy ends that holds less than was read of its original, as long as some of that is in flight."""
        self._marker = b""

    @classmethod
    def of(cls, position: FilePosition) -> "Tail":
        """Return the closed file of a position."""
        tail = cls(position.identity.path, position.mark)
        tail.identity, tail.place, tail.key = position.identity, position.place, position.key
        tail.intact_ns = position.modified_ns
        if position.mark.offset:
            tail.encoding = position.encoding or None
        else:
            tail.encoding_before = position.encoding
        tail.joining = Joining(position.cuts) if position.cuts else None
        return tail

    def position(self) -> FilePosition:
        """Return what the checkpoint keeps of it."""
        return FilePosition(
            identity=self.identity,
            place=self.place,
            key=self.key,
            mark=self.kept,
            modified_ns=self.intact_ns,
            changed_ns=self.changed_ns,
            born_ns=self.born_ns,
            encoding=self.encoding_before if self.encoding is None else self.encoding,
            cuts=() if self.joining is None else tuple(self.joining.cuts_from(self.ledger.committed.offset)),
        )

    def resumed(self, position: FilePosition) -> "Tail | None":
        """Return this newly opened file as the one that `position` was taken of, or None when it is another one."""
        again = self._at(position)
        if not again._is_of(position):
            return None
        self.fd = None  # it is the other's now
        return again

    def is_file_of(self, position: FilePosition) -> bool:
        """Tell whether this newly opened file is the one that `position` was taken of."""
        return self._at(position)._is_of(position)

    def _is_of(self, position: FilePosition) -> bool:
        if position.born_ns and self.born_ns and position.born_ns != self.born_ns:
            return False  # the inode was reused, perhaps for a file with the same content
        return self.resumes()

    def _at(self, position: FilePosition) -> "Tail":
        """Return this open file as it would be at `position`."""
        again = Tail.of(position)
        again.fd, again.key, again.place, again.state = self.fd, self.key, self.place, self.state
        again.size_bytes, again.modified_ns, again.changed_ns = self.size_bytes, self.modified_ns, self.changed_ns
        again.grown_at, again.lag, again.born_ns = self.grown_at, self.lag, self.born_ns
        again.intact_ns = again.modified_ns
        return again

    def figures(self, now: float) -> FileFigures:
        """Return what there is to measure of it."""
        lag_seconds = self.lag.seconds(self.ledger.committed.offset, now)
        return FileFigures(self.place, self.size_bytes, self.lag_bytes, lag_seconds, self.deleted)

    def happened(self, event: FileEvent) -> None:
        """Change the state."""
        self.state = after(self.state, event)

    @property
    def path(self) -> str:
        """Return the name it was first seen under."""
        return self.identity.path

    @property
    def listed(self) -> bool:
        """Return whether a name that matches leads to it."""
        return self.state is FileState.FOLLOWED

    @property
    def deleted(self) -> bool:
        """No name left: the space is free once we let go."""
        return self.state is FileState.DELETED

    def open(self) -> None:
        """Open what is at `place`. Raises OSError. A FIFO put in place of a log must not block: O_NONBLOCK."""
        self.hold(os.open(self.place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def hold(self, fd: int) -> None:
        """Go on in the file behind `fd`, which this object owns from now on."""
        self.close()
        self.fd = fd
        status = os.fstat(fd)
        self.state = after(FileState.CLOSED, FileEvent.OPENED)
        self._note(status)
        self.intact_ns = self.modified_ns
        self.key = FileKey(status.st_dev, status.st_ino)
        self.born_ns = born_ns(fd) or 0

    def inherit(self, former: "Tail", mark: Mark) -> None:
        """Go on where `former` stopped, in this copy of it that contains what `mark` marks.

        Its identity and ledger move over, so what is still in flight of the former file is committed here. A copy that
        ends before the former's read offset holds nothing new: nothing is read of it until all of that is committed.
        """
        self.identity = former.identity
        self.ledger, self.joining, former.joining = former.ledger, former.joining, None
        self.encoding = former.encoding
        if mark.offset == former.ledger.read.offset:
            self.resumes()
            return
        self._short_end = Mark(self.size_bytes, digest(self._before(self.size_bytes)))
        self._leave_former()

    def _leave_former(self) -> None:
        """Make this copy a file like others, read to its end, once all that was read of the original is committed."""
        if self._short_end is not None and not self.ledger.in_flight_bytes:
            self.ledger, self._short_end = Ledger(self._short_end), None
            self.resumes()

    @property
    def kept(self) -> Mark:
        """Return the mark up to where all is acknowledged, within this file."""
        committed, end = self.ledger.committed, self._short_end
        return committed if end is None or committed.offset <= end.offset else end

    def close(self) -> None:
        """Let go of the descriptor; the ledger stays."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def refresh(self) -> bool:
        """Look at size and links; whether there is something to read. Raises Truncated."""
        if self.fd is None:
            return False
        before = (self.size_bytes, self.modified_ns)
        self._note(os.fstat(self.fd))
        changed = before != (self.size_bytes, self.modified_ns)
        self._leave_former()
        if self._short_end is not None:
            return False
        if self.size_bytes < self.ledger.read.offset:
            raise Truncated
        if self.ledger.read.offset == 0 and (changed or self.identity.head.length < min(self.size_bytes, HEAD_BYTES)):
            self._check_unread(before)
        return changed

    def _check_unread(self, before: tuple[int, int]) -> None:
        """Compare the start, since without anything read there is no marker: what was seen of size and head tells.
        Raises Truncated.
        """
        if self.size_bytes < before[0] or not self.identity.head.fits(self.start_bytes()):
            self.size_bytes, self.modified_ns = before  # by these its copy can be found
            raise Truncated
        self.know_head()

    def check(self) -> None:
        """Compare the marker without reading on: for files whose reading is paused. Raises Truncated."""
        self.read(HEAD_BYTES if self.ledger.read.offset == 0 else 0)
        self.intact_ns = self.modified_ns

    def resumes(self) -> bool:
        """Return whether the open file is the one that `ledger` and `head` describe; also prepares reading on."""
        self._leave_former()
        mark = self.ledger.read
        if self.fd is None or self.size_bytes < mark.offset or not self.identity.head.fits(self.start_bytes()):
            return False
        self._marker = self._before(mark.offset)
        return mark.offset == 0 or digest(self._marker) == mark.marker

    def _before(self, offset: int) -> bytes:
        """Return the bytes that the marker of `offset` covers."""
        length = marker_length(offset)
        return b"" if self.fd is None else os.pread(self.fd, length, offset - length)

    def start_bytes(self) -> bytes:
        """Return the first HEAD_BYTES of the file as it is now."""
        return b"" if self.fd is None else os.pread(self.fd, HEAD_BYTES, 0)

    def know_head(self) -> None:
        """Extend the head fingerprint to what can be read now."""
        head = self.identity.head
        if head.length < HEAD_BYTES and self.size_bytes > head.length:
            start = self.start_bytes()
            if head.fits(start):
                self.identity = self.identity.grown(start)

    def _begin(self, data: bytes) -> None:
        """Note the first bytes that are read: head and first line are of these very bytes, whatever happens to the file
        now.
        """
        if not self.identity.head.fits(data):
            raise Truncated
        self.identity = self.identity.grown(data)
        self.start_line = first_line_digest(data)

    def read(self, want_bytes: int) -> bytes:
        """Return up to `want_bytes` from the read offset. Raises Truncated, OSError."""
        if self.fd is None or self._short_end is not None:
            return b""
        offset, marker = self.ledger.read.offset, self._marker
        data = os.pread(self.fd, len(marker) + want_bytes, offset - len(marker))
        if data[: len(marker)] != marker:
            raise Truncated
        if offset == 0:
            self._begin(data)
        else:
            self.know_head()
        return data[len(marker) :]

    def advance(self, block: bytes, consumed: int, *, in_cut_line: bool) -> Mark:
        """Return the mark after `consumed` bytes of the block just read; becomes the place to read on from."""
        length = marker_length(self.ledger.read.offset + consumed)
        self._marker = (self._marker + block[:consumed])[-length:] if length else b""
        mark = Mark(self.ledger.read.offset + consumed, digest(self._marker), in_cut_line)
        self.history.append(mark)
        del self.history[:-_HISTORY]
        return mark

    def hole(self) -> int:
        """Return where the run of NULs at the read offset ends, or the read offset; see `end_of_hole`."""
        offset = self.ledger.read.offset
        return offset if self.fd is None else end_of_hole(self.fd, offset, self.size_bytes)

    def ends_in_hole(self) -> bool:
        """Return whether all that is unread is NULs."""
        offset = self.ledger.read.offset
        return self.fd is not None and os.pread(self.fd, 1, offset) == b"\0" and self.hole() == offset

    def skip_to(self, offset: int) -> Mark:
        """Return the mark after a hole that ends at `offset`."""
        self._marker = self._before(offset)
        return Mark(offset, digest(self._marker))

    @property
    def has_open_record(self) -> bool:
        """Return whether something was read of which the end is not there yet."""
        return self.joining is not None and self.joining.is_open

    @property
    def readable(self) -> bool:
        """Return whether reading may bring a line: there is something unread, and more than the last attempt saw."""
        return self.fd is not None and self.unread_bytes > 0 and self.stuck_at != (self.size_bytes, self.modified_ns)

    @property
    def unread_bytes(self) -> int:
        """Return the bytes in the file beyond the read offset."""
        return 0 if self._short_end is not None else max(0, self.size_bytes - self.ledger.read.offset)

    @property
    def lag_bytes(self) -> int:
        """Return the bytes in the file beyond what is acknowledged."""
        return max(0, self.size_bytes - self.ledger.committed.offset)

    @property
    def undelivered_bytes(self) -> int:
        """Return the bytes that nobody took yet, read or not: what a reading that begins at the watermark would find
        new.
        """
        open_bytes = self.joining.open_bytes if self.joining else 0
        return self.unread_bytes + self.ledger.unacknowledged_bytes + open_bytes

    def listed_as(self, place: str) -> None:
        """Note that a name that matches leads to it at `place` (another name where it is a link)."""
        self.happened(FileEvent.LISTED)
        self.place = place

    def unlisted(self) -> None:
        """Note that no matching name leads to it any more; an open file can still be asked where it went."""
        self.happened(FileEvent.UNLISTED)
        if self.fd is not None and not self.deleted:
            self.place = name_of(self.fd, self.place)

    @property
    def is_done(self) -> bool:
        """Return whether all that is there is read and acknowledged."""
        return not self.unread_bytes and not self.ledger.in_flight_bytes

    def is_finished(self, now: float) -> bool:
        """Return whether nothing more is to be expected, so that an unterminated last line is a line."""
        return not self.listed and now - self.grown_at >= LINGER_SECONDS

    @property
    def can_close(self) -> bool:
        """Return whether nothing is lost by closing it: all that is there is read and acknowledged, and it has a
        name.
        """
        return self.is_done and not self.deleted and not self.has_open_record and self._short_end is None

    @property
    def origin(self) -> FileKey:
        """Return the file that the content was written to, which its ids are made of."""
        return self.key if self.original is None else self.original.key

    def _note(self, status: os.stat_result) -> None:
        self.size_bytes, self.modified_ns, self.changed_ns = status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if status.st_nlink == 0 and not self.deleted:
            self.happened(FileEvent.UNLINKED)
        self.lag.grew(self.size_bytes, monotonic())


def end_of_hole(fd: int, offset: int, size_bytes: int) -> int:
    """Where the run of NULs at `offset` ends, or `offset` when nothing follows it yet: zeros at the end may be space
    that a writer allocated in advance and will fill.
    """
    position = offset
    while position < size_bytes:
        try:
            position = max(position, os.lseek(fd, position, os.SEEK_DATA))
        except OSError:  # ENXIO: nothing but hole up to the end
            return offset
        block = os.pread(fd, _SCAN_BYTES, position)
        rest = block.lstrip(b"\0")
        position += len(block) - len(rest)
        if rest:
            return position
        if not block:
            break
    return offset


def name_of(fd: int, known: str) -> str:
    """Return the present name of the file, also after a rename; `known` when it has none or that cannot be read."""
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return known
    return known if name.endswith(" (deleted)") else name


@cache
def _statx() -> Callable[..., int] | None:
    try:
        return cast("Callable[..., int]", ctypes.CDLL(None, use_errno=True).statx)
    except (OSError, AttributeError):
        return None


def born_ns(fd: int) -> int | None:
    """Return when the open file was made, in nanoseconds of wall-clock time; None where file system or libc do not
    tell.
    """
    statx = _statx()
    if statx is None:
        return None
    result = ctypes.create_string_buffer(_STRUCT_BYTES)
    if statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, result) != 0:
        return None
    data = result.raw
    if not int.from_bytes(data[_MASK_AT : _MASK_AT + 4], byteorder) & _STATX_BTIME:
        return None
    seconds = int.from_bytes(data[_BTIME_AT : _BTIME_AT + 8], byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(data[_BTIME_AT + 8 : _BTIME_AT + 12], byteorder)
