"""By watchfiles, which has FSEvents on macOS and inotify on Linux: for laptops, and for the test that all backends keep
one contract.

It costs a thread that wakes up ten times a second, reports a change 0.1 to 0.2 s late, and wakes up for every write to
a file in a watched folder, also where only names are asked for. It does not report an overflow of the kernel's queue.
"""

import asyncio
import os
import threading
from collections.abc import Iterable

from watchfiles import Change
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # documented; awatch would need a task

from sidecars.runtime.clock import monotonic

from .backend import WatchBackend
from .folders import Inode, inode_of

_STEP_MS = 100
"""The library sleeps for so long between two looks at what the system reported, and goes on until nothing is new."""
_MODIFIED, _DELETED = int(Change.modified), int(Change.deleted)


class WatchfilesWatch:
    """Watches a changing set of folders (not their subfolders); see `folders.FolderWatch`."""

    backend = WatchBackend.WATCHFILES

    def __init__(self, happened: asyncio.Event, *, retry_seconds: float = 30.0) -> None:
        self.names_changed = self.contents_changed = False
        self._happened = happened
        self._retry_seconds = retry_seconds
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, Inode] = {}
        self._places: dict[str, Inode] = {}
        """As `_held`, also by the real paths, which macOS names in its events."""
        self._contents: dict[Inode, bool] = {}
        """Whether writes to the files in a folder are asked for."""
        self._listeners: list[_Listener] = []
        self._is_on = False
        self._failed_at: float | None = None

    @property
    def polling(self) -> bool:
        """Return whether events cannot be relied on."""
        return not self._is_on or self._failed_at is not None

    @property
    def reason(self) -> str:
        """Return why events cannot be had."""
        return (
            "the system gives watchfiles no events (files or watches are exhausted)"
            if self._failed_at is not None
            else ""
        )

    def watch(self, contents: Iterable[str], names: Iterable[str] = ()) -> bool:
        """Watch exactly these folders; see `folders.FolderWatch`."""
        if self._failed_at is not None and monotonic() - self._failed_at < self._retry_seconds:
            return False
        self._failed_at = None
        asked = dict.fromkeys(names, False) | dict.fromkeys(contents, True)
        found = {folder: inode for folder in asked if (inode := inode_of(folder)) is not None}
        before, self._contents = self._contents, {}
        for folder, inode in found.items():  # one folder may have many paths
            self._contents[inode] = self._contents.get(inode, False) or asked[folder]
        widened = any(wanted and not before.get(inode, False) for inode, wanted in self._contents.items())
        is_new = any(self._held.get(folder) != inode for folder, inode in found.items())
        self._held = found
        self._places = {os.path.realpath(folder): inode for folder, inode in found.items()} | found
        self._is_on = True
        if is_new:
            self.names_changed = True
            return self._listen(list({inode: folder for folder, inode in found.items()}.values()))
        return widened

    def close(self) -> None:
        """End the thread: takes up to 0.1 s."""
        for listener in self._listeners:
            listener.stop()
        for listener in self._listeners:
            listener.join()
        self._listeners.clear()
        self._held.clear()
        self._is_on = False

    def _listen(self, folders: list[str]) -> bool:
        """Listen to these instead of those before, whose last events may get lost; return whether that could be."""
        for listener in self._listeners:
            listener.stop()
        self._listeners = [listener for listener in self._listeners if listener.is_alive()]
        try:
            notify = RustNotify(folders, False, False, 0, False, False)
            listener = _Listener(notify, self)
            listener.start()
        except (OSError, RuntimeError, WatchfilesRustInternalError):  # no descriptors, watches or threads; one is gone
            self._fail()
            return False
        self._listeners.append(listener)
        return True

    def _fail(self) -> None:
        self._failed_at = monotonic()
        self._held = {}

    def take(self, changes: Iterable[tuple[int, str]] | None) -> None:
        """Take what the system reported, on the loop; None: it reports nothing more."""
        if changes is None:
            self._fail()
            self._happened.set()
            return
        for kind, path in changes:
            if kind == _DELETED and path in self._places:  # gone, or renamed away: to be watched anew
                inode = self._places[path]
                self._held = {folder: held for folder, held in self._held.items() if held != inode}
                self._places = {place: held for place, held in self._places.items() if held != inode}
            elif (inode_there := self._places.get(os.path.dirname(path))) is None:
                continue
            elif kind == _MODIFIED:
                if self._contents.get(inode_there):
                    self.contents_changed = True
                    self._happened.set()
                continue
            self.names_changed = True
            self._happened.set()

    def post(self, listener: "_Listener", changes: Iterable[tuple[int, str]] | None) -> None:
        """Hand on, from a listener's thread, what it heard."""

        def deliver() -> None:
            if not listener.is_set():
                self.take(changes)

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop is closed: nobody listens any more
            listener.stop()


class _Listener(threading.Thread):
    """Waits for the system, beside the loop. Not a daemon: one that sleeps in Rust when Python ends may abort it."""

    def __init__(self, notify: RustNotify, watch: WatchfilesWatch) -> None:
        super().__init__(name="watchfiles")
        self._notify = notify
        self._watch = watch
        self._stop_asked = False

    def stop(self) -> None:
        """End within 0.1 s."""
        self._stop_asked = True

    def is_set(self) -> bool:
        """Return whether it is to end (the library asks)."""
        return self._stop_asked or not threading.main_thread().is_alive()

    def run(self) -> None:
        """Hand on what the system reports, until the end is asked for."""
        with self._notify as notify:
            while not self.is_set():
                try:
                    changes = notify.watch(_STEP_MS, _STEP_MS, 0, self)
                except (RuntimeError, WatchfilesRustInternalError):
                    self._watch.post(self, None)
                    return
                if isinstance(changes, set):
                    self._watch.post(self, changes)
