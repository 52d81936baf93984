"""Wait until something happens in folders: inotify, or polling where it cannot be had.

Events are hints: who waits looks for himself afterwards, and also looks now and then without any event. asyncinotify
and not watchfiles: it lets the kernel filter by event (a log written 5,000 times a second must not wake us 5,000
times), and it has no thread that wakes up 20 times a second while nothing happens.
"""

import asyncio
from collections.abc import Iterable

from asyncinotify import Inotify, Mask

from sidecars.runtime.stop import monotonic

_NAMES = Mask.CREATE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF
_RETRY_SECONDS = 30.0
_OVER = Mask.IGNORED | Mask.Q_OVERFLOW | Mask.UNMOUNT


class FolderWatch:
    """Watches a changing set of folders (not their subfolders)."""

    def __init__(self, happened: asyncio.Event) -> None:
        """`happened` is set when something happened; whoever waits for it clears it."""
        self._happened = happened
        self.names_changed = False
        """Whether a name appeared, moved or went since this was last set to False."""
        self._inotify: Inotify | None = None
        self._masks: dict[str, Mask] = {}
        self._failed_at: float | None = None

    @property
    def polling(self) -> bool:
        """Whether events cannot be relied on, so the caller must look more often."""
        return self._inotify is None or self._failed_at is not None

    def watch(self, folders: Iterable[str], *, contents: bool) -> bool:
        """Watch exactly these folders; whether the caller has to look once more at what came before the watch was set.

        `contents`: also for writes to files in them. Never raises: what cannot be watched (no instances or watches
        left) makes `polling` true and is tried again later.
        """
        if self._failed_at is not None and monotonic() - self._failed_at < _RETRY_SECONDS:
            return False
        self._failed_at = None
        mask = _NAMES | Mask.MODIFY if contents else _NAMES
        wanted = dict.fromkeys(folders, mask)
        if wanted == self._masks:
            return False
        added = False
        try:
            inotify = self._opened()
            for folder in [folder for folder in self._masks if folder not in wanted]:
                self._forget(inotify, folder)
            for folder, needed in wanted.items():
                if (before := self._masks.get(folder)) != needed and self._add(inotify, folder, needed):
                    self.names_changed = self.names_changed or before is None
                    added = added or before is None or contents
        except OSError:
            self._failed_at = monotonic()
        return added

    def close(self) -> None:
        """Let go of the inotify instance."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None
            self._masks.clear()

    def _opened(self) -> Inotify:
        if self._inotify is None:
            self._inotify = Inotify(sync_timeout=0)
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._drain)
        return self._inotify

    def _add(self, inotify: Inotify, folder: str, mask: Mask) -> bool:
        try:
            inotify.add_watch(folder, mask)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            self._masks.pop(folder, None)  # gone meanwhile, or not ours to see; its parent tells when it is back
            return False
        self._masks[folder] = mask
        return True

    def _forget(self, inotify: Inotify, folder: str) -> None:
        del self._masks[folder]
        for watch in inotify.watches:
            if str(watch.path) == folder:
                inotify.rm_watch(watch)

    def _drain(self) -> None:
        """Take all events; only what kind they were matters."""
        inotify = self._inotify
        while inotify is not None and (event := inotify.sync_get()) is not None:
            if event.mask & (_NAMES | _OVER):
                self.names_changed = True
            if event.mask & (Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED) and event.watch is not None:
                self._masks.pop(str(event.watch.path), None)
        self._happened.set()
