"""Open log files within a budget of descriptors, and keep what there was to notice."""

import errno
import resource
from collections.abc import Callable, Iterable

from sidecars.log_shipper.core.identity import FileKey, Mark
from sidecars.log_shipper.core.notices import Notice

from .copies import Moved, find_copy
from .discovery import FoundFile, Siblings
from .files import Tail

_LOOKS = 5
"""Attempts to open a file that was just found by its content, while a rotation renames it."""
_RESERVED = 40
"""Descriptors for connections, the admin endpoint, the checkpoint and the interpreter."""
_MOST = 65536
_LEAST = 4


class Opening:
    """Opens and closes log files within a budget of descriptors, and keeps what there was to notice."""

    def __init__(self, descriptors: int, close_one: Callable[[], bool]) -> None:
        self.postponed = 0
        """Files of the present scan that have to wait for the next one."""
        self._descriptors = descriptors
        self._close_one = close_one
        self._open = 0
        self._unreadable: dict[str, int] = {}
        """Files that could not be opened, by why."""
        self._notices: list[tuple[Notice, str, str]] = []

    def begin(self, open_files: int) -> None:
        """Note that a scan begins, with so many files open."""
        self.postponed = 0
        self._open = open_files

    def forbidden(self, found: Iterable[FoundFile]) -> list[str]:
        """Return those of the files found that this process may not read."""
        if self._unreadable:
            places = {item.place for item in found}
            self._unreadable = {place: why for place, why in self._unreadable.items() if place in places}
        return [place for place, reason in self._unreadable.items() if reason in (errno.EACCES, errno.EPERM)]

    def opened(self, item: FoundFile, now: float) -> Tail | None:
        """Return the file that was found, open, or None (noted once) when it cannot be opened now: the next scan tries
        again. Its key is another one when its name leads elsewhere by now.
        """
        tail = Tail(item.path)
        tail.place = item.place
        if self._open >= self._descriptors and not self._close_one():
            self.postponed += 1
            self.notice(Notice.DESCRIPTORS, tail.place)
            return None
        try:
            tail.open()
        except OSError as error:
            self.postponed += error.errno in (errno.EMFILE, errno.ENFILE)
            self._note_unreadable(tail, error)
            return None
        self._open += 1
        if tail.key == item.key:
            tail.key = item.key  # one object: there may be thousands
        tail.grown_at = now
        return tail

    def opened_item(self, item: FoundFile, now: float) -> Tail | None:
        """Return what `opened` returns; None also when the name leads elsewhere by now: the next scan knows where."""
        tail = self.opened(item, now)
        if tail is not None and tail.key != item.key:
            self.put_off(tail)
            return None
        return tail

    def opened_copy(
        self, original: Tail, siblings: Siblings, taken: Callable[[FileKey], bool], now: float
    ) -> tuple[Tail, Mark] | None:
        """Return the copy of what `original` held, open, and the mark up to which it was read. Names move while we
        look.
        """
        for _ in range(_LOOKS):
            try:
                copy = find_copy(original, siblings, taken)
            except Moved:
                siblings.forget()
                continue
            if copy is None:
                return None
            heir = self.opened_item(copy[0], now)
            if heir is not None:
                return heir, copy[1]
            siblings.forget()
        return None

    def failed(self, tail: Tail, error: OSError) -> None:
        """Close a file that was opened and cannot be read, as on a bad disk; the next scan tries it again."""
        self.closed(tail)
        self._note_unreadable(tail, error)

    def followed(self, tail: Tail) -> None:
        """Note that a file can be read."""
        self._unreadable.pop(tail.place, None)

    def _note_unreadable(self, tail: Tail, error: OSError) -> None:
        if tail.place not in self._unreadable:
            self._unreadable[tail.place] = error.errno or 0
            self.notice(Notice.UNREADABLE, tail.place, error.strerror or "")

    def put_off(self, tail: Tail) -> None:
        """Close a file that the next scan has to look at again."""
        self.closed(tail)
        self.postponed += 1

    def closed(self, tail: Tail) -> None:
        """Close a file that is not to be followed, or not yet."""
        tail.close()
        self.give_back()

    def give_back(self) -> None:
        """Note that one file less is open."""
        self._open -= 1

    def notice(self, notice: Notice, path: str, reason: str = "") -> None:
        """Keep what is to be logged and counted; `reason` is what the system said, if it is an error."""
        self._notices.append((notice, path, reason))

    def take_notices(self) -> list[tuple[Notice, str, str]]:
        """Return what there was to notice since the last call."""
        taken, self._notices = self._notices, []
        return taken


def descriptors_allowed() -> int:
    """Raise the soft limit of the process to the hard one, and return how many files may be held open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(_LEAST, max(soft, most) - _RESERVED)
