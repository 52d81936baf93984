"""The watch of a changing set of folders, whichever backend says what happens in them.

Events are hints: the caller takes a snapshot after one, and also now and then without any.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Iterable
from typing import Protocol

from .backend import WatchBackend

Inode = tuple[int, int]
"""Device and inode."""


class FolderWatch(Protocol):
    """Watches a changing set of folders (not their subfolders)."""

    backend: WatchBackend
    names_changed: bool
    """Whether a name appeared, moved or went since this was last set to False."""
    contents_changed: bool
    """Whether something was written to a file since this was last set to False."""

    @property
    def polling(self) -> bool:
        """Return whether events cannot be relied on, so the caller must take snapshots more often."""

    @property
    def reason(self) -> str:
        """Return why events cannot be had, though they were asked for; else an empty text."""

    def watch(self, contents: Iterable[str], names: Iterable[str] = ()) -> bool:
        """Watch exactly these folders. Return whether the caller has to take one more snapshot, for what came before
        the watch was set.

        `contents`: for names and for writes to the files in them; `names`: for names only. A folder that is no longer
        the one that was watched at its path (renamed away, another made or mounted there) is watched anew. Never
        raises: what cannot be watched makes `polling` true and is tried again later.
        """

    def close(self) -> None:
        """Let go of all that is held."""


def folder_watch(backend: WatchBackend, happened: asyncio.Event, *, retry_seconds: float = 30.0) -> FolderWatch:
    """Return a watch. `happened` is set when something happened; whoever waits for it clears it. `retry_seconds`: how
    long it polls before it tries again to get what the kernel refused.
    """
    if backend is WatchBackend.AUTO:
        backend = WatchBackend.INOTIFY if sys.platform == "linux" else WatchBackend.WATCHFILES
    match backend:
        case WatchBackend.INOTIFY:
            from .inotify import InotifyWatch  # cannot be imported where there is no inotify

            return InotifyWatch(happened, retry_seconds=retry_seconds)
        case WatchBackend.WATCHFILES:
            from .watchfiles import WatchfilesWatch  # +2 MiB

            return WatchfilesWatch(happened, retry_seconds=retry_seconds)
        case _:
            return Polling()


class Polling:
    """Watches nothing."""

    backend = WatchBackend.POLLING
    polling = True
    reason = ""

    def __init__(self) -> None:
        self.names_changed = self.contents_changed = False

    def watch(self, contents: Iterable[str], names: Iterable[str] = ()) -> bool:
        """Do nothing: there is nothing that a snapshot could have come too early for."""
        del contents, names
        return False

    def close(self) -> None:
        """Do nothing: nothing is held."""


def inode_of(folder: str) -> Inode | None:
    """Return what a path leads to, if that is a folder."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
