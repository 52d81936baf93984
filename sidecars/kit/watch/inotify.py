"""By inotify: what Linux has, and so every pod.

asyncinotify and not watchfiles: it lets the kernel filter by event (a log written 5,000 times a second must not wake us
5,000 times), and it has no thread that wakes up while nothing happens.
"""

import asyncio
import errno
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from asyncinotify import Event, Inotify, Mask, Watch

from sidecars.runtime.clock import monotonic

from .backend import WatchBackend
from .folders import Inode, inode_of

_NAMES = Mask.CREATE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF
_CONTENTS = _NAMES | Mask.MODIFY
_OVER = Mask.IGNORED | Mask.Q_OVERFLOW | Mask.UNMOUNT
_LOST = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
"""No instances, no watches, no descriptors (inotify_init1(2), inotify_add_watch(2)); all else concerns one folder."""
_ALWAYS_COMPARED = 64
_COMPARE_SECONDS = 1.0
"""More folders than `_ALWAYS_COMPARED` are compared only so often with what is watched: a stat for each."""

_UNKNOWN: Inode = (-1, -1)


@dataclass(frozen=True, slots=True)
class _Held:
    """A watch on a folder. `inode` (device, inode): what was at the path when it was set; `watch`: the kernel's, which
    is one for all paths that lead to one folder.
    """

    mask: Mask
    inode: Inode
    watch: Watch


class InotifyWatch:
    """Watches a changing set of folders (not their subfolders); see `folders.FolderWatch`."""

    backend = WatchBackend.INOTIFY

    def __init__(self, happened: asyncio.Event, *, retry_seconds: float = 30.0) -> None:
        self._happened = happened
        self._retry_seconds = retry_seconds
        self.names_changed = self.contents_changed = False
        self._inotify: Inotify | None = None
        self._held: dict[str, _Held] = {}
        self._asked: dict[str, Mask] = {}
        self._compared_at = -math.inf
        self._failed_at: float | None = None

    @property
    def polling(self) -> bool:
        """Return whether events cannot be relied on."""
        return self._inotify is None or self._failed_at is not None

    @property
    def reason(self) -> str:
        """Return why events cannot be had."""
        if self._failed_at is None:
            return ""
        return "inotify is exhausted (fs.inotify.max_user_instances or max_user_watches of the node)"

    def watch(self, contents: Iterable[str], names: Iterable[str] = ()) -> bool:
        """Watch exactly these folders; see `folders.FolderWatch`."""
        if self._failed_at is not None and monotonic() - self._failed_at < self._retry_seconds:
            return False
        self._failed_at = None
        asked = dict.fromkeys(names, _NAMES) | dict.fromkeys(contents, _CONTENTS)
        if asked == self._asked and asked.keys() == self._held.keys() and not self._must_compare():
            return False
        self._asked = asked
        try:
            return self._set(self._opened(), asked)
        except OSError:
            self._failed_at = monotonic()
            return False

    def close(self) -> None:
        """Let go of the inotify instance."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None
            self._held.clear()

    def _opened(self) -> Inotify:
        if self._inotify is None:
            for end in os.pipe():  # it needs two descriptors; when the second is refused, asyncinotify leaks the first
                os.close(end)
            self._inotify = Inotify(sync_timeout=0)
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._drain)
        return self._inotify

    def _must_compare(self) -> bool:
        """Return whether to see if each path still leads to the folder that is watched."""
        at = monotonic()
        if len(self._held) <= _ALWAYS_COMPARED or at - self._compared_at >= _COMPARE_SECONDS:
            self._compared_at = at
            return True
        return False

    def _set(self, inotify: Inotify, asked: dict[str, Mask]) -> bool:
        """Make it so; return whether something new is watched."""
        inodes = {folder: inode for folder in asked if (inode := inode_of(folder)) is not None}
        masks: dict[Inode, Mask] = {}
        for folder, inode in inodes.items():  # the kernel has one mask for a folder, however many paths lead to it
            masks[inode] = masks.get(inode, asked[folder]) | asked[folder]
        for folder in self._held.keys() - inodes.keys():
            self._release(inotify, self._held.pop(folder).watch)
        added = False
        for folder, inode in inodes.items():
            before, mask = self._held.get(folder), masks[inode]
            if before is None or (before.mask, before.inode) != (mask, inode):
                added = self._add(inotify, folder, mask, inode) or added
        return added

    def _add(self, inotify: Inotify, folder: str, mask: Mask, inode: Inode) -> bool:
        """Set one watch; return whether there may be something that it came too late for."""
        before = self._held.get(folder)
        try:
            watch = inotify.add_watch(folder, mask | Mask.ONLYDIR)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._failed_at = monotonic()
            elif before is not None:  # gone meanwhile, or not ours to see; its parent has an event when it is back
                self._release(inotify, self._held.pop(folder).watch)
            return False
        self._held[folder] = _Held(mask, inode, watch)
        if before is None or before.watch.wd != watch.wd:
            self.names_changed = True
            if before is not None:
                self._release(inotify, before.watch)
            return True
        return bool(mask & ~before.mask)

    def _release(self, inotify: Inotify, watch: Watch) -> None:
        """Remove a watch that no path needs any more."""
        if all(held.watch.wd != watch.wd for held in self._held.values()):
            with suppress(OSError):  # the kernel has removed it
                inotify.rm_watch(watch)

    def _drain(self) -> None:
        """Take all events; only what kind they were matters."""
        inotify = self._inotify
        while inotify is not None and (event := inotify.sync_get()) is not None:
            if event.mask & Mask.Q_OVERFLOW:  # that a watch was lost may be among what was dropped: set all again
                self._held = {folder: replace(held, inode=_UNKNOWN) for folder, held in self._held.items()}
                self._asked = {}
            elif event.mask & _LOST and not self._lose(inotify, event) and event.mask & Mask.IGNORED:
                continue  # removed by ourselves
            if event.mask & (_NAMES | _OVER):
                self.names_changed = True
            if event.mask & (Mask.MODIFY | _OVER):
                self.contents_changed = True
            self._happened.set()

    def _lose(self, inotify: Inotify, event: Event) -> bool:
        """Forget what is gone from its path, so that it is watched again; return whether it was held."""
        wd = event.watch.wd if event.watch is not None else None
        lost = [folder for folder, held in self._held.items() if held.watch.wd == wd]
        for folder in lost:
            self._release(inotify, self._held.pop(folder).watch)  # one that was renamed away would go on having events
        return bool(lost)
