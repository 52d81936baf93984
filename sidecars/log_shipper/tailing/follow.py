"""Which files are followed, from first sight until they may be let go.

One scan compares what the globs find with what is followed: new files, renamed, truncated and copied ones, and
generations that came and went between two scans. Content and inode decide; names only say where to look.

The files that changed last are held open. One beyond those that is read to its end, acknowledged and still is closed,
and known by its position alone, as after a restart: it is opened again when its size or its times are others. What is
written to a closed file that is deleted before anybody looked (a moment, where the kernel tells of writes) is lost.
"""

import os
from collections.abc import Iterable, Iterator
from heapq import nlargest
from itertools import islice, pairwise
from math import ceil

import msgspec

from sidecars.log_shipper.core.checkpoint import Checkpoint, FilePosition, by_inode
from sidecars.log_shipper.core.ended import EndedFiles
from sidecars.log_shipper.core.file_state import FileEvent
from sidecars.log_shipper.core.identity import FileKey
from sidecars.log_shipper.core.joining import Joining
from sidecars.log_shipper.core.names import Names
from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.core.reach import Reach
from sidecars.log_shipper.core.rotation import is_generation, logs_of
from sidecars.runtime.clock import now as now_seconds

from .copies import Suspects, find_originals
from .discovery import FoundFile, Globs, Siblings, is_hidden, look, owned
from .files import LINGER_SECONDS, Tail, Truncated
from .opening import Opening

_HELD = 256
"""So many files stay open whatever happens to them, those that changed last: what is written to an open file is read
even when it is deleted at once."""
_REST_SECONDS = 10.0
"""A file beyond those is closed once it was still for so long ..."""
_OLD_SECONDS = 60.0
"""... or was not written for so long when it was met."""
_UNDONE = 1000
"""So many new files of that age are opened at once; the others when those are delivered. (All of them, where nothing is
read at present: an open file cannot be lost.)"""


class Following:
    """The followed files, by inode: `tails` are open, `closed` are not. Only the reading task uses it."""

    def __init__(self, globs: Globs, checkpoint: Checkpoint, descriptors: int, held: int = _HELD) -> None:
        self.tails: dict[FileKey, Tail] = {}
        self.closed = {position.key: position for position in checkpoint.positions}
        self.ended = EndedFiles(checkpoint.ended)
        self.found: dict[FileKey, FoundFile] = {}
        self.folders: set[str] = set()
        self._held = min(held, descriptors)
        self._globs = globs
        self._unmet = set(self.closed)
        """Those of the checkpoint that were not seen yet in this run."""
        self._by_inode = by_inode(checkpoint.positions)
        self._opening = Opening(descriptors, self._close_one)
        self._siblings = Siblings()
        self._suspects = Suspects(self.tails, self.closed)
        self._names = Names({each.identity.path: each for each in checkpoint.positions})
        self._round: Iterator[FileKey] = iter(())
        self._waiting: list[FoundFile] = []
        """Old files that were found and are to be opened, the next one last."""
        self._places: set[str] = set()
        """Where the files were found, as long as some wait."""

    def scan(self, now: float, *, names_only: bool = False) -> None:
        """Bring the followed files in line with what is there; `now` is loop time. `names_only`: closed files under
        names that lead to them as before are not looked at.
        """
        self.found = self._globs.find(names_only=names_only)
        self._suspects.begin()
        self._opening.begin(len(self.tails))
        self.refresh_all(list(self.tails.values()), now)
        self._note_names(now)
        self._meet_all(now)
        for position in list(self.closed.values()):
            self._recover(position, now)
        for path, since_ns in self._names.searches(now).items():
            self._look_for_missed(path, since_ns, now)
        find_originals(self.tails.values())
        self._let_go(now)
        self._rest(now)
        self.folders = self._globs.folders()

    def refresh_all(self, tails: Iterable[Tail], now: float) -> None:
        """Look at files again. The copies of truncated ones are looked for in folders as they are after that, each read
        once for all.
        """
        truncated = [tail for tail in tails if not self._is_intact(tail, now)]
        self._siblings.forget()
        for tail in truncated:
            if self.tails.get(tail.key) is tail:  # or it was met as the original of another one
                self._truncated(tail, now)

    def refresh(self, tail: Tail, now: float) -> None:
        """Look at one file again; sets `grown_at` when it changed."""
        if not self._is_intact(tail, now):
            self.truncated(tail, now)

    def _is_intact(self, tail: Tail, now: float) -> bool:
        """Look at one file again, and return whether it still holds what was read of it."""
        empty_ns = 0 if tail.identity.head.length else tail.modified_ns
        try:
            if tail.refresh():
                tail.grown_at = now
                tail.check()
                if empty_ns:  # filled and truncated, perhaps, since it was seen empty
                    self._names.search(tail.path, empty_ns, now)
                    self._suspects.add(tail)
                if not tail.identity.first_line and self._may_be_copy(tail, now) and self.tails.get(tail.key) is tail:
                    del self.tails[tail.key]
                    self._opening.put_off(tail)  # seen when it was empty, or held half a line
        except Truncated:
            return False
        except OSError as error:
            self._opening.notice(Notice.UNREADABLE, tail.place, error.strerror or "")
        return True

    def refresh_closed(self, share: float, now: float) -> None:
        """Look at this share of the closed files, in turn, and open those that changed."""
        todo = ceil(len(self.closed) * share)
        keys = list(islice(self._round, todo))
        if len(keys) < todo:
            self._round = iter(list(self.closed))
            keys += islice(self._round, todo - len(keys))
        positions = [self.closed[key] for key in keys if key in self.closed]
        changed = [(each, self.found.get(each.key)) for each in positions if not _is_as_it_was(each)]
        there = {item.key: look(item.path) for _, item in changed if item is not None}
        self._siblings.forget()
        for position, item in changed:
            if item is None:
                self._recover(position, now)
            elif (now_there := there[item.key]) is not None and now_there.key == position.key:
                self._meet(now_there, now)
            # else it was renamed or is gone, of which the next scan knows more

    def truncated(self, tail: Tail, now: float) -> None:
        """Note that the content is not what was read. What was unread may live on in a copy; the inode begins anew."""
        self._siblings.forget()
        self._truncated(tail, now)

    def _truncated(self, tail: Tail, now: float) -> None:
        self._opening.notice(Notice.TRUNCATED, tail.place)
        fresh = Tail(tail.path)
        fresh.grown_at = now
        if tail.fd is not None:
            fresh.hold(os.dup(tail.fd))
            fresh.know_head()
        fresh.place, fresh.state = tail.place, tail.state
        self._end(tail, FileEvent.REPLACED)
        fresh.encoding_before = tail.encoding or tail.encoding_before
        fresh.former = self._follow_copy(tail, now)
        if tail.joining is not None and tail.has_open_record:  # what was read of it is in no file any more
            fresh.ledger.continues(tail.ledger)
            fresh.joining = Joining()
            fresh.joining.adopt(tail.joining, tail)
        self._follow(fresh)

    def reach(self) -> Reach:
        """Return what the last scan did not find, or may not read."""
        forbidden = self._opening.forbidden(self.found.values())
        unreadable = tuple(there for path in forbidden if (there := owned(path)) is not None)
        return msgspec.structs.replace(self._globs.reach(), unreadable=unreadable)

    def link_generations(self) -> None:
        """Find the generation before each file of which nothing was read yet: where lines can be parts of a record, one
        may begin there and end here. (A closed one has no open record.)
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
        """Return how many files the last scan could not follow yet: no descriptor left, or perhaps a copy in the
        making.
        """
        return self._opening.postponed

    @property
    def waiting(self) -> int:
        """Old files that are opened when those before them are delivered."""
        return len(self._waiting)

    def notices(self) -> list[tuple[Notice, str, str]]:
        """Return what there was to notice since the last call, with the path and the reason of an error."""
        return self._opening.take_notices()

    def checkpoint(self) -> Checkpoint:
        """Return what outlives a restart; positions not met again yet are kept as they are."""
        positions = [tail.position() for tail in self.tails.values()]
        return Checkpoint([*positions, *self.closed.values()], self.ended.listed())

    def _follow(self, tail: Tail) -> None:
        self._opening.followed(tail)
        self.tails[tail.key] = tail
        self._suspects.add(tail)

    def _end(self, tail: Tail, event: FileEvent) -> None:
        if self.tails.get(tail.key) is tail:  # its inode may be another file's by now
            del self.tails[tail.key]
        tail.happened(event)
        self.ended.note(tail.key, tail.identity.first_line, tail.identity.generation)

    def _note_names(self, now: float) -> None:
        """Update which followed files have a matching name, and which paths were rotated."""
        for key, tail in self.tails.items():
            item = self.found.get(key)
            if item is None:
                tail.unlisted()
                continue
            tail.listed_as(item.place)
            if item.modified_ns != tail.modified_ns:  # not looked at by the last scan
                self.found[key] = msgspec.structs.replace(
                    item, size_bytes=tail.size_bytes, modified_ns=tail.modified_ns, changed_ns=tail.changed_ns
                )
        led_to = {item.path: item for item in self.found.values()}
        for path in self._names.changed(led_to, {*self.tails, *self.closed}, now):
            self._opening.notice(Notice.ROTATED, path)

    def _meet_all(self, now: float) -> None:
        """Open what the globs found and is not open. Files that are known come first: a new one may be a copy of one of
        them. Those that are as they were stay closed, but for the last changed ones.
        """
        new: list[FoundFile] = []
        at_rest: list[FoundFile] = []
        changed: list[FoundFile] = []
        for key, item in self.found.items():
            position = self.closed.get(key)
            if key in self.tails:
                continue
            if position is None:
                new.append(item)
            elif self._is_at_rest(position, item):
                at_rest.append(item)
            else:
                changed.append(self.found[key])
        self._siblings.forget()
        for item in changed:
            self._meet(item, now)
        if (spare := self._held - len(self.tails)) > 0:
            for item in nlargest(spare, at_rest, key=lambda each: each.modified_ns):
                self._meet(item, now)
        for item in at_rest:
            if item.key in self.closed:
                self._note_met(item.key, item.path)
        self._waiting = []
        old_ns = (now_seconds() - _OLD_SECONDS) * 1e9
        old = [item for item in new if item.modified_ns < old_ns]
        if (
            len(old) + self._undone() > _UNDONE
        ):  # the generations of a log one after the other: they may be copies of one another
            self._places = {item.place for item in self.found.values()}
            self._waiting = sorted(old, key=lambda item: (self._log_of(item.place), item.path), reverse=True)
            new = [item for item in new if item.modified_ns >= old_ns]
        for item in new:
            if item.key not in self.tails:
                self._meet(item, now)
        self.meet_waiting(now)

    def meet_waiting(self, now: float, *, all_of_them: bool = False) -> None:
        """Open more of the old files that were found, as far as those before them are delivered."""
        if not self._waiting:
            return
        self._rest(now)
        room = len(self._waiting) if all_of_them else _UNDONE - self._undone()
        log = ""
        while self._waiting and (room > 0 or self._log_of(self._waiting[-1].place) == log):
            item = self._waiting.pop()
            room -= 1
            log = self._log_of(item.place) if room <= 0 else ""
            if item.key not in self.tails and item.key not in self.closed:
                self._meet(item, now)
        find_originals(self.tails.values())
        if not self._waiting:
            self._places = set()

    def _log_of(self, place: str) -> str:
        """Return the log that a file may be a rotated generation of, where that is here as well; else the file
        itself.
        """
        return min((name for name in logs_of(place) if name in self._places), key=len, default=place)

    def _undone(self) -> int:
        """Return how many open files are not delivered."""
        return sum(each.readable or each.ledger.in_flight_bytes > 0 for each in self.tails.values())

    def _note_met(self, key: FileKey, path: str) -> None:
        """Note that a file of the checkpoint is there, and goes on from its position."""
        if key in self._unmet:
            self._unmet.discard(key)
            self._opening.notice(Notice.RESUMED, path)

    def _meet(self, item: FoundFile, now: float) -> None:
        """Open a file under a matching name."""
        tail = self._opening.opened(item, now)
        if tail is None:
            return
        try:
            self._meet_open(tail, item, now)
        except OSError as error:
            self._opening.failed(tail, error)

    def _meet_open(self, tail: Tail, item: FoundFile, now: float) -> None:
        if tail.key in self.tails:  # the name leads elsewhere since it was found
            self._opening.put_off(tail)
            return
        position = self.closed.pop(tail.key, None) or self._moved_device(tail)
        if position is not None:
            try:
                again = tail.resumed(position)
            except OSError:
                self.closed[position.key] = position
                raise
            if again is not None:
                self._note_met(position.key, item.path)
                if not position.identity.head.length:
                    self._names.search(item.path, position.modified_ns, now)
                tail = again
            else:
                if item.size_bytes >= position.mark.offset:  # it happened just now, perhaps after the folder was read
                    self._siblings.forget()
                self._replaced(tail, position, now)
        elif self._may_be_copy(tail, now):
            self._opening.put_off(tail)
            return
        else:
            self._opening.notice(Notice.FOUND, item.path)
        tail.know_head()
        self._follow(tail)

    def _moved_device(self, tail: Tail) -> FilePosition | None:
        """Take out the position of this very file under another device number: those change when a node restarts. Inode
        and content must be the same, and the position's own file must be gone.
        """
        for key in self._by_inode.get(tail.key.inode, ()):
            position = self.closed.get(key)
            if position is None or key.device == tail.key.device or not position.mark.offset:
                continue
            there = look(position.place)
            if (there is None or there.key != key) and tail.is_file_of(position):
                return self.closed.pop(key)
        return None

    def _may_be_copy(self, tail: Tail, now: float) -> bool:
        """Return whether a new file is the copy of a followed one, or may become it: then it is not to be read as its
        own.
        """
        for position in self._suspects.at_rest(tail):
            if (item := self.found.get(position.key)) is not None:
                self._meet(item, now)
        if self._suspects.may_be_copy(tail, now):
            return True
        # Its original may have been truncated before the two were compared: then it goes on in its copy, perhaps here.
        for other in self._suspects.originals(tail):
            self.refresh(other, now)
        return self.tails.get(tail.key, tail) is not tail

    def _replaced(self, tail: Tail, position: FilePosition, now: float) -> None:
        """Note that the inode got other content while nobody looked: truncated, or removed and reused."""
        self._opening.notice(Notice.TRUNCATED, tail.path)
        self._unmet.discard(position.key)
        former = Tail.of(position)
        former.place = tail.place
        self._end(former, FileEvent.REPLACED)
        self._follow_copy(former, now)

    def _follow_copy(self, tail: Tail, now: float) -> Tail | None:
        """Let `tail` go on in the copy of its former content, if there is one; there may be later copies too."""
        self._names.search(tail.path, tail.intact_ns, now)
        copy = self._opening.opened_copy(tail, self._siblings, self._is_other, now)
        if copy is None:
            tail.close()
            return None
        heir, mark = copy
        if heir.key not in self.found:
            heir.unlisted()
        heir.inherit(tail, mark)
        tail.close()
        if (empty := self.tails.get(heir.key)) is not None:  # the copy was met before anything was in it
            empty.close()
        self._follow(heir)
        self._suspects.clear(heir.key)
        self._opening.notice(Notice.COPY, heir.place)
        return heir

    def _is_other(self, key: FileKey) -> bool:
        """Return whether this file is something else already than somebody's copy."""
        if (tail := self.tails.get(key)) is not None:
            return bool(tail.identity.first_line)
        position, item = self.closed.get(key), self.found.get(key)
        return position is not None and item is not None and self._is_at_rest(position, item)

    def _is_at_rest(self, position: FilePosition, item: FoundFile) -> bool:
        """Return whether a closed file was found as it was; where it was not looked at since it was closed, look."""
        if _is_all_of(position, item):
            return True
        there = look(item.path, place=item.place)
        if there is None or there.key != position.key:
            return False
        self.found[position.key] = there
        return _is_all_of(position, there)

    def _recover(self, position: FilePosition, now: float) -> None:
        """Find a closed file to which no name led: renamed out of the globs, or copied, or gone. One that may be there
        and cannot be opened now keeps its position; one whose inode is another file's by now does not.
        """
        key = position.key
        item = self.found.get(key)
        if key not in self.tails:
            if item is not None:
                self._opening.postponed += not self._is_at_rest(position, item)
                return
            if len(self.tails) >= self._held and _is_as_it_was(position):
                self._note_met(key, position.place)
                return
            if is_hidden(os.path.dirname(position.place)):
                self._opening.postponed += 1
                return
            if self._is_found_beside(position, now):
                return
        del self.closed[key]
        former = Tail.of(position)
        self._end(former, FileEvent.FINISHED)
        if key in self._unmet:
            self._unmet.discard(key)
            self._follow_copy(former, now)
            self._opening.notice(Notice.GONE, position.identity.path)
        else:
            self._opening.notice(Notice.LET_GO, position.place)

    def _is_found_beside(self, position: FilePosition, now: float) -> bool:
        """Return whether a closed file is in its folder under another name, and so is followed again, or may be
        later.
        """
        for item in self._siblings.beside(position.place):
            if item.key.inode != position.key.inode or item.key in self.tails:
                continue
            tail = self._opening.opened_item(item, now)
            if tail is None:
                return True
            if item.path == position.identity.path:  # its name is the same, and the settings do not name it any more
                self._opening.closed(tail)
                del self.closed[position.key]
                return True
            again = tail.resumed(position)
            if again is not None:
                del self.closed[position.key]
                again.unlisted()
                self._follow(again)
                self._note_met(position.key, item.path)
                return True
            self._opening.closed(tail)
        return False

    def _look_for_missed(self, path: str, since_ns: int, now: float) -> None:
        """Follow generations of `path` that came after the followed one and were renamed between two scans."""
        before = (len(self.tails), self.postponed)
        for item in self._siblings.beside(path):
            if item.key in self.tails or item.key in self.closed or item.modified_ns < since_ns:
                continue
            is_one = is_generation(os.path.basename(item.path), os.path.basename(path))
            if not is_one or not self._globs.wants(item.path, item.place):
                continue
            tail = self._opening.opened_item(item, now)
            if tail is None:
                continue
            if self._may_be_copy(tail, now):
                self._opening.put_off(tail)
                continue
            tail.identity = msgspec.structs.replace(tail.identity, path=path)
            if item.key not in self.found:
                tail.unlisted()
            self._follow(tail)
            self._opening.notice(Notice.MISSED, item.path)
        if before != (len(self.tails), self.postponed):
            self._names.search_on(path, now)

    def _let_go(self, now: float) -> None:
        """Forget files without a name that are read to their end and acknowledged."""
        for tail in list(self.tails.values()):
            if not tail.deleted or tail.ledger.in_flight_bytes or now - tail.grown_at < LINGER_SECONDS:
                continue
            if tail.is_done or tail.ends_in_hole():
                self._end(tail, FileEvent.FINISHED)
                tail.close()
                self._opening.notice(Notice.LET_GO, tail.place)

    def _rest(self, now: float) -> None:
        """Close files that are done and still, the stillest first, until no more are open than are held."""
        surplus = len(self.tails) - self._held
        if surplus > 0:
            old_ns = (now_seconds() - _OLD_SECONDS) * 1e9
            still = [
                tail
                for tail in self.tails.values()
                if tail.can_close and (now - tail.grown_at >= _REST_SECONDS or tail.modified_ns < old_ns)
            ]
            still.sort(key=lambda tail: tail.modified_ns)
            for tail in still[:surplus]:
                self.refresh(tail, now)
                self._close(tail)

    def _close_one(self) -> bool:
        """Make room for another file; whether that could be done."""
        still = min((tail for tail in self.tails.values() if tail.can_close), key=lambda t: t.grown_at, default=None)
        return still is not None and self._close(still)

    def _close(self, tail: Tail) -> bool:
        """Close a file, and know it by its position; whether that could be done."""
        if not tail.can_close or self.tails.get(tail.key) is not tail:
            return False
        del self.tails[tail.key]
        self.closed[tail.key] = tail.position()
        tail.happened(FileEvent.CLOSED)
        tail.close()
        self._opening.give_back()
        return True


def _is_all_of(position: FilePosition, item: FoundFile) -> bool:
    return position.is_all_of(item.size_bytes, item.modified_ns, item.changed_ns)


def _is_as_it_was(position: FilePosition) -> bool:
    """Return whether a closed file is where it was, and nothing was written to it."""
    try:
        status = os.stat(position.place)
    except OSError:
        return False
    return (status.st_ino, status.st_dev) == (position.key.inode, position.key.device) and position.is_all_of(
        status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
