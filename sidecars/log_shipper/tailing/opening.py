"""Open files for the following of them: within the budget of descriptors, and with what there is to say about it."""

import errno
from collections.abc import Container, Iterable

from sidecars.log_shipper.core.identity import FileKey, Mark
from sidecars.log_shipper.core.notices import Notice

from .copies import Moved, find_copy
from .descriptors import Descriptors
from .discovery import Found
from .tail import Tail

_LOOKS = 5
"""Attempts to open a file that was just found by its content, while a rotation renames it."""


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
