"""Which files are followed, from first sight until they may be let go.

One scan compares what the globs find with what is followed: new files, renamed, truncated and copied ones, and
generations that came and went between two scans. Content and inode decide; names only say where to look.
"""

import os
from itertools import pairwise

import msgspec

from sidecars.log_shipper.core.checkpoint import Checkpoint, Position
from sidecars.log_shipper.core.ended import EndedFiles
from sidecars.log_shipper.core.identity import FileKey
from sidecars.log_shipper.core.joining import Joining
from sidecars.log_shipper.core.names import Names
from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.core.reach import Reach
from sidecars.log_shipper.core.rotation import is_generation, logs_of

from .copies import Suspects, find_originals
from .discovery import Folders, Found, Globs, is_hidden, owned
from .opening import Opening
from .positions import apply, moved_device, position_of, resume
from .tail import LINGER_SECONDS, Tail, Truncated


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
