"""Which files are followed, from first sight until they may be let go.

One scan compares what the globs find with what is followed: new files, renamed, truncated and copied ones, and
generations that came and went between two scans. Content and inode decide; names only say where to look.
"""

import errno
import os
import resource
from collections.abc import Container, Iterable
from itertools import pairwise

import msgspec

from sidecars.log_shipper.core.checkpoint import Checkpoint, Position
from sidecars.log_shipper.core.ended import EndedFiles
from sidecars.log_shipper.core.identity import FileKey, Mark
from sidecars.log_shipper.core.joining import Cut, Joining
from sidecars.log_shipper.core.names import Names
from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.core.reach import Reach
from sidecars.log_shipper.core.rotation import is_generation, logs_of

from .copies import Moved, Suspects, find_copy, find_originals
from .discovery import Folders, Found, Globs, is_hidden, look, owned
from .files import LINGER_SECONDS, Tail, Truncated

_LOOKS = 5
"""Attempts to open a file that was just found by its content, while a rotation renames it."""
_RESERVED = 40
"""Descriptors for connections, the admin endpoint, the checkpoint and the interpreter."""
_MOST = 65536
_LEAST = 4


class Following:
    """The followed files, by inode. Only the reading task uses it."""

    def __init__(self, globs: Globs, checkpoint: Checkpoint, descriptors: int) -> None:
        self.tails: dict[FileKey, Tail] = {}
        self.ended = EndedFiles(checkpoint.ended)
        self.found: dict[FileKey, Found] = {}
        self.folders: set[str] = set()
        self._globs = globs
        self._positions = {position.key: position for position in checkpoint.positions}
        self._opening = Opening(descriptors)
        self._folders = Folders()
        self._suspects = Suspects()
        self._names = Names({each.path: (each.key, each.modified_ns) for each in checkpoint.positions})

    def scan(self, now: float) -> None:
        """Bring the followed files in line with what is there; `now` is loop time."""
        self.found = self._globs.find()
        self._folders.forget()
        self._opening.begin(self.tails.values())
        for tail in list(self.tails.values()):
            self.refresh(tail, now)
        self._note_names(now)
        for key, item in sorted(self.found.items(), key=lambda pair: pair[0] not in self._positions):
            known = self.tails.get(key)  # those of the checkpoint came first: a new file may be the copy of one of them
            if known is None:
                self._meet(item, now)
            elif known.fd is None and (known.size_bytes, known.modified_ns) != (item.size_bytes, item.modified_ns):
                self._reopen(known, now)
        for position in list(self._positions.values()):
            self._recover(position, now)
        for path, since_ns in self._names.searches(now).items():
            self._look_for_missed(path, since_ns, now)
        find_originals(self.tails.values())
        self._let_go(now)
        self.folders = self._globs.folders(self.found)

    def refresh(self, tail: Tail, now: float) -> None:
        """Look at one file again; sets `grown_at` when it changed."""
        empty_ns = 0 if tail.head.length else tail.modified_ns
        try:
            if tail.refresh():
                tail.grown_at = now
                tail.check()
                if empty_ns:  # filled and truncated, perhaps, since it was seen empty
                    self._names.search(tail.path, empty_ns, now)
                if not tail.first_line and self._may_be_copy(tail, now) and self.tails.get(tail.key) is tail:
                    del self.tails[tail.key]
                    self._opening.put_off(tail)  # seen when it was empty, or held half a line
        except Truncated:
            self.truncated(tail, now)
        except OSError as error:
            self._opening.notice(Notice.UNREADABLE, tail.place, error.strerror or "")

    def truncated(self, tail: Tail, now: float) -> None:
        """The content is not what was read. What was unread may live on in a copy; the inode begins anew."""
        self._opening.notice(Notice.TRUNCATED, tail.place)
        self._end(tail)
        fresh = Tail(tail.path)
        fresh.place, fresh.listed, fresh.grown_at = tail.place, tail.listed, now
        if tail.fd is not None:
            fresh.hold(os.dup(tail.fd))
            fresh.know_head()
        fresh.encoding_before = tail.encoding or tail.encoding_before
        fresh.former = self._follow_copy(tail, now)
        if tail.joining is not None and tail.has_open_record:  # what was read of it is in no file any more
            fresh.ledger.continues(tail.ledger)
            fresh.joining = Joining()
            fresh.joining.adopt(tail.joining, tail)
        self.tails[fresh.key] = fresh

    def reach(self) -> Reach:
        """What the last scan did not find, or may not read."""
        forbidden = self._opening.forbidden(item.path for item in self.found.values())
        unreadable = tuple(there for path in forbidden if (there := owned(path)) is not None)
        return msgspec.structs.replace(self._globs.reach(), unreadable=unreadable)

    def link_generations(self) -> None:
        """Find the generation before each file of which nothing was read yet: where lines can be parts of a record, one
        may begin there and end here.
        """
        fresh = [tail for tail in self.tails.values() if not tail.ledger.read.offset and tail.size_bytes]
        if not fresh:
            return
        known = {tail.path for tail in self.tails.values()}
        by_log: dict[str, list[Tail]] = {}
        for tail in self.tails.values():
            log = min((name for name in logs_of(tail.path) if name in known), key=len, default=tail.path)
            by_log.setdefault(log, []).append(tail)
        for log, generations in by_log.items():
            generations.sort(key=lambda tail: (tail.listed and tail.place == log, tail.modified_ns))
            for former, tail in pairwise(generations):
                if not tail.ledger.read.offset:
                    tail.former = former

    @property
    def postponed(self) -> int:
        """Files that the last scan could not follow yet: no descriptor left, or perhaps a copy in the making."""
        return self._opening.postponed

    def notices(self) -> list[tuple[Notice, str, str]]:
        """What was come across since the last call, with the path and the reason of an error."""
        return self._opening.take_notices()

    def positions(self) -> list[Position]:
        """What the checkpoint needs of each file; positions not met again yet are kept as they are."""
        return [*map(position_of, self.tails.values()), *self._positions.values()]

    def _end(self, tail: Tail) -> None:
        if self.tails.get(tail.key) is tail:  # its inode may be another file's by now
            del self.tails[tail.key]
        self.ended.note(tail.key, tail.first_line, tail.generation)

    def _note_names(self, now: float) -> None:
        """Update which followed files have a matching name, and which paths were rotated."""
        for key, tail in self.tails.items():
            item = self.found.get(key)
            if item is not None:
                tail.listed_as(item.path)
            else:
                tail.unlisted()
        led = {item.path: (key, item.modified_ns) for key, item in self.found.items()}
        for path in self._names.changed(led, {*self.tails, *self._positions}, now):
            self._opening.notice(Notice.ROTATED, path)

    def _meet(self, item: Found, now: float) -> None:
        """A file under a matching name that is not followed yet."""
        tail = self._opening.opened(Tail(item.path), now)
        if tail is None:
            return
        if tail.key in self.tails:  # the name leads elsewhere since it was found
            self._opening.put_off(tail)
            return
        position = self._positions.pop(tail.key, None) or moved_device(tail, self._positions)
        if position is not None and resume(tail, position):
            self._opening.notice(Notice.RESUMED, item.path)
            if not position.head.length:
                self._names.search(item.path, position.modified_ns, now)
        elif position is not None:
            self._replaced(tail, position, now)
        elif self._may_be_copy(tail, now):
            self._opening.put_off(tail)
            return
        else:
            self._opening.notice(Notice.FOUND, item.path)
        tail.know_head()
        self.tails[tail.key] = tail

    def _may_be_copy(self, tail: Tail, now: float) -> bool:
        """Whether a new file is the copy of a followed one, or may become it: then it is not to be read as its own."""
        if self._suspects.may_be_copy(tail, self.tails.values(), now):
            return True
        # Its original may have been truncated before the two were compared: then it goes on in its copy, perhaps here.
        for other in self._suspects.originals(tail, self.tails.values()):
            self.refresh(other, now)
        return self.tails.get(tail.key, tail) is not tail

    def _replaced(self, tail: Tail, position: Position, now: float) -> None:
        """While nobody looked, the inode got other content: truncated, or removed and reused."""
        self._opening.notice(Notice.TRUNCATED, tail.path)
        former = Tail(position.path)
        apply(former, position)
        former.key, former.place = position.key, tail.place
        self._end(former)
        self._follow_copy(former, now)

    def _follow_copy(self, tail: Tail, now: float) -> Tail | None:
        """Let `tail` go on in the copy of its former content, if there is one; there may be later copies too."""
        self._names.search(tail.path, tail.intact_ns, now)
        copy = self._opening.opened_copy(tail, {key for key, other in self.tails.items() if other.first_line}, now)
        if copy is None:
            tail.close()
            return None
        heir, mark = copy
        heir.path, heir.head, heir.prefix, heir.template = tail.path, tail.head, tail.prefix, tail.template
        heir.first_line, heir.generation, heir.listed = tail.first_line, tail.generation, heir.key in self.found
        heir.inherit(tail, mark)
        tail.close()
        if (empty := self.tails.get(heir.key)) is not None:  # the copy was met before anything was in it
            empty.close()
        self.tails[heir.key] = heir
        self._suspects.clear(heir.key)
        self._opening.notice(Notice.COPY, heir.place)
        return heir

    def _recover(self, position: Position, now: float) -> None:
        """A file of the checkpoint that no name led to: renamed out of the globs, or copied, or gone. One that may be
        there and cannot be opened now keeps its position; one whose inode is another file's by now does not.
        """
        reused = position.key in self.tails
        if not reused and (position.key in self.found or is_hidden(os.path.dirname(position.place))):
            self._opening.postponed += 1
            return
        for item in self._folders.beside(position.place):
            if item.key.inode != position.key.inode or item.key in self.tails:
                continue
            tail = self._opening.opened_item(item, now)
            if tail is None:
                return
            if item.path == position.path:  # it has its name still, and the settings do not name it any more
                self._opening.closed(tail)
                del self._positions[position.key]
                return
            if resume(tail, position):
                del self._positions[position.key]
                tail.listed = False
                self.tails[tail.key] = tail
                self._opening.notice(Notice.RESUMED, item.path)
                return
            self._opening.closed(tail)
        del self._positions[position.key]
        former = Tail(position.path)
        apply(former, position)
        former.key, former.place = position.key, position.place
        self._end(former)
        self._follow_copy(former, now)
        self._opening.notice(Notice.GONE, position.path)

    def _look_for_missed(self, path: str, since_ns: int, now: float) -> None:
        """Generations of `path` younger than the one that was followed: created and renamed between two scans."""
        before = (len(self.tails), self.postponed)
        for item in self._folders.beside(path):
            if item.key in self.tails or item.key in self._positions or item.modified_ns < since_ns:
                continue
            is_one = is_generation(os.path.basename(item.path), os.path.basename(path))
            if not is_one or not self._globs.wants(item.path):
                continue
            tail = self._opening.opened_item(item, now)
            if tail is None:
                continue
            if self._may_be_copy(tail, now):
                self._opening.put_off(tail)
                continue
            tail.path, tail.listed = path, item.key in self.found
            self.tails[tail.key] = tail
            self._opening.notice(Notice.MISSED, item.path)
        if before != (len(self.tails), self.postponed):
            self._names.search_on(path, now)

    def _reopen(self, tail: Tail, now: float) -> None:
        """A file that was closed for want of descriptors has changed."""
        if self._opening.reopened(tail, now) and not tail.resumes():
            self.truncated(tail, now)

    def _let_go(self, now: float) -> None:
        """Forget files without a name that are read to their end and acknowledged."""
        for tail in list(self.tails.values()):
            if tail.listed or tail.ledger.in_flight_bytes:
                continue
            if tail.fd is None:
                gone = tail.is_done and not self._found_again(tail, now)
            else:
                gone = tail.deleted and now - tail.grown_at >= LINGER_SECONDS and (tail.is_done or tail.ends_in_hole())
            if gone:
                self._end(tail)
                tail.close()
                self._opening.notice(Notice.LET_GO, tail.place)

    def _found_again(self, tail: Tail, now: float) -> bool:
        """Whether a file that was closed and then renamed is still there; reopens it if it changed."""
        item = next((item for item in self._folders.beside(tail.place) if item.key == tail.key), None)
        if item is None:
            return False
        tail.place = item.path
        if (tail.size_bytes, tail.modified_ns) != (item.size_bytes, item.modified_ns):
            self._reopen(tail, now)
        return True


class Opening:
    """Opens and closes log files during a scan, and keeps what it came across."""

    def __init__(self, descriptors: int) -> None:
        self.postponed = 0
        """Files of the present scan that have to wait for the next one."""
        self._descriptors = Descriptors(descriptors)
        self._unreadable: dict[str, int] = {}
        """Files that could not be opened, by why."""
        self._notices: list[tuple[Notice, str, str]] = []

    def begin(self, tails: Iterable[Tail]) -> None:
        """A scan begins; these are open."""
        self.postponed = 0
        self._descriptors.count(tails)

    def forbidden(self, found: Iterable[str]) -> list[str]:
        """Those of the files found that this process may not read."""
        self._unreadable = {path: self._unreadable[path] for path in found if path in self._unreadable}
        return [path for path, reason in self._unreadable.items() if reason in (errno.EACCES, errno.EPERM)]

    def opened(self, tail: Tail, now: float) -> Tail | None:
        """`tail` with its file open, or None (noted once) when it cannot be opened now; the next scan tries again."""
        if not self._descriptors.room():
            self.postponed += 1
            self.notice(Notice.DESCRIPTORS, tail.place)
            return None
        try:
            tail.open()
        except OSError as error:
            self._descriptors.give_back()
            self.postponed += error.errno in (errno.EMFILE, errno.ENFILE)
            if tail.place not in self._unreadable:
                self._unreadable[tail.place] = error.errno or 0
                self.notice(Notice.UNREADABLE, tail.place, error.strerror or "")
            return None
        self._unreadable.pop(tail.place, None)
        if tail.listed:
            tail.listed_as(tail.place)
        tail.grown_at = now
        return tail

    def opened_item(self, item: Found, now: float) -> Tail | None:
        """The file that was found, open; None also when its name leads elsewhere by now: the next scan knows where."""
        tail = self.opened(Tail(item.path), now)
        if tail is not None and tail.key != item.key:
            self.put_off(tail)
            return None
        return tail

    def opened_copy(self, original: Tail, taken: Container[FileKey], now: float) -> tuple[Tail, Mark] | None:
        """The copy of what `original` held, open, and the mark up to which it was read. Names move while we look."""
        for _ in range(_LOOKS):
            try:
                copy = find_copy(original, taken)
            except Moved:
                continue
            if copy is None:
                return None
            heir = self.opened_item(copy[0], now)
            if heir is not None:
                return heir, copy[1]
        return None

    def reopened(self, tail: Tail, now: float) -> bool:
        """Open a followed file that was closed for want of descriptors; whether it is there and still that file."""
        key = tail.key
        if self.opened(tail, now) is None:
            return False
        if tail.key != key:  # the name leads elsewhere since it was found; the next scan knows where
            self.put_off(tail)
            tail.key = key
            return False
        return True

    def put_off(self, tail: Tail) -> None:
        """The next scan looks at this file again."""
        self.closed(tail)
        self.postponed += 1

    def closed(self, tail: Tail) -> None:
        """Close a file that is not to be followed, or not yet."""
        tail.close()
        self._descriptors.give_back()

    def notice(self, notice: Notice, path: str, reason: str = "") -> None:
        """Something was come across; `reason` is what the system said, if it is an error."""
        self._notices.append((notice, path, reason))

    def take_notices(self) -> list[tuple[Notice, str, str]]:
        """What was come across since the last call."""
        taken, self._notices = self._notices, []
        return taken


class Descriptors:
    """A budget of open files. Closing one is harmless only when all of it is read and acknowledged."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tails: list[Tail] = []
        self._held = 0
        self._idle: list[Tail] | None = None

    def count(self, tails: Iterable[Tail]) -> None:
        """Take stock, at the beginning of a scan."""
        self._tails = [tail for tail in tails if tail.fd is not None]
        self._held = len(self._tails)
        self._idle = None

    def room(self) -> bool:
        """Whether one more file may be opened; closes the one that was still for longest, if there is one."""
        if self._held < self._limit:
            self._held += 1
            return True
        if self._idle is None:
            self._idle = [tail for tail in self._tails if tail.fd is not None and tail.is_done and not tail.deleted]
            self._idle.sort(key=lambda tail: tail.grown_at, reverse=True)
        while self._idle:
            tail = self._idle.pop()
            if tail.fd is not None and tail.is_done and not tail.deleted:  # it may have grown since
                tail.close()
                return True
        return False

    def give_back(self) -> None:
        """What `room` was asked for is not held after all."""
        self._held -= 1


def allowed() -> int:
    """How many files may be held open; raises the soft limit of the process to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(_LEAST, max(soft, most) - _RESERVED)


def position_of(tail: Tail) -> Position:
    return Position(
        path=tail.path,
        place=tail.place,
        key=tail.key,
        head=tail.head,
        mark=tail.kept,
        prefix=tail.prefix,
        first_line=tail.first_line,
        generation=tail.generation,
        modified_ns=tail.intact_ns,
        encoding=tail.encoding_before if tail.encoding is None else tail.encoding,
        cuts=_cuts(tail),
    )


def apply(tail: Tail, position: Position) -> None:
    """Give a tail the identity and place of a checkpoint's position."""
    tail.path, tail.head, tail.prefix = position.path, position.head, position.prefix
    tail.first_line, tail.generation = position.first_line, position.generation
    tail.intact_ns = position.modified_ns
    tail.start_at(position.mark)
    if position.mark.offset:
        tail.encoding = position.encoding or None
    else:
        tail.encoding_before = position.encoding
    tail.joining = Joining(position.cuts) if position.cuts else None


def _cuts(tail: Tail) -> list[Cut]:
    if tail.joining is None:
        return []
    tail.joining.forget(tail.ledger.committed.offset)
    return tail.joining.cuts.copy()


def moved_device(tail: Tail, positions: dict[FileKey, Position]) -> Position | None:
    """Take out the position of this very file under another device number: those change when a node restarts. Inode
    and content must be the same, and the position's own file must be gone.
    """
    for key, position in positions.items():
        if key.inode != tail.key.inode or key.device == tail.key.device or not position.mark.offset:
            continue
        there = look(position.place)
        if (there is None or there.key != key) and resume(tail, position):
            return positions.pop(key)
    return None


def resume(tail: Tail, position: Position) -> bool:
    """Go on from `position` if the open file is the one it was taken of; else the tail stays new."""
    path = tail.path
    apply(tail, position)
    tail.intact_ns = tail.modified_ns
    if tail.resumes():
        return True
    opened = Tail(path)
    tail.path, tail.head, tail.prefix = path, opened.head, opened.prefix
    tail.first_line, tail.generation = opened.first_line, opened.generation
    tail.start_at(opened.ledger.read)
    tail.encoding, tail.encoding_before = None, ""
    return False
