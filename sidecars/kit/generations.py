"""The folder that the app reads: whole generations of files, one of them current, switched by one rename.

The layout is the kubelet's (pkg/volume/util/atomic_writer.go), so what reads ConfigMap volumes reads this one:

    output/app.conf -> ..data/app.conf
    output/..data   -> ..2026_11_22_14_07_05.k3v9x2ab_HASH  the current generation
    output/..good   -> ..2026_11_22_13_58_41.a81bq0zz_HASH  ours: the last one that was found good, to go back to

HASH is that of the content that a generation was made of: whoever goes back to one knows which content it is again.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sidecars.runtime.clock import now
from sidecars.runtime.errors import Permanent

from .atomic import write_new
from .files import open_regular, sync_folder

_DATA = "..data"
_GOOD = "..good"
_GENERATION = re.compile(r"\.\.\d{4}(_\d\d){5}\.\w+")
_HASH = re.compile(r"_([0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a generation that is not like the others. `uid`, `gid`: -1 leaves us as the owner."""

    content: bytes
    mode: int
    uid: int = -1
    gid: int = -1


Files = Mapping[str, bytes | Entry]
"""The files of a generation by their relative names."""


def hash_of(path: str) -> str:
    """Return the hash of the content that a generation was made of; "" when its name does not say."""
    found = _HASH.search(path)
    return found[1] if found else ""


class Generations:
    """The generations in one output folder, which is made when it is missing.

    Files get exactly `mode`, or that of their `Entry`; folders are open to read and enter for whom the files are open
    to read, and to enter for all when a file has an owner of its own. One writer at a time. Every method may raise
    OSError (disk full, read-only, no access); a process killed anywhere leaves a folder whose readers see one whole
    generation, and which `recover` puts in order.
    """

    def __init__(self, output: str, mode: int) -> None:
        self._output = os.path.abspath(output)
        self._mode = mode
        self._staged: set[str] = set()
        self._replaced: str | None = None

    def stage(self, files: Files, digest: str = "") -> str:
        """Write a new generation and return its folder (absolute), on the disk (fsync) but seen by nobody yet. `digest`
        is the hash of the content that it was made of. On OSError nothing of it is left, and nothing else was touched.
        """
        entries = {name: self._entry(file) for name, file in files.items()}
        folder_mode = _folder_mode(entries.values(), self._mode)
        self._make_output(folder_mode)
        begun = datetime.fromtimestamp(now(), UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
        path = tempfile.mkdtemp(prefix=begun, suffix=f"_{digest}" if digest else "", dir=self._output)
        try:
            for name, entry in entries.items():
                place = os.path.join(path, name)
                os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
                write_new(place, entry.content, entry.mode, (entry.uid, entry.gid))
            _finish_folders(path, folder_mode)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # the first error is the one to raise
            raise
        self._staged.add(path)
        return path

    def publish(self, path: str) -> None:
        """Make a staged generation the current one, then give new names their links, then take links of names that
        are gone.

        Raises Permanent, before anything is changed, when something that is not ours stands where a link must be. On
        OSError the former generation is current again, unless the disk refuses even that: see `current`.
        """
        self._refuse_foreign(path)
        former = self.current()
        try:
            self._point(_DATA, path)
            self._link(path)
        except OSError:
            with suppress(OSError):  # the first error is the one to raise
                self._undo(former)
            raise
        self._staged.discard(path)
        if former != path:
            self._replaced = former

    def current(self) -> str | None:
        """Return the folder of the current generation."""
        return self._target(_DATA)

    def previous(self) -> str | None:
        """Return the folder to go back to: the last one that was found good, unless that is the current one."""
        good = self._target(_GOOD)
        return None if good == self.current() else good

    def put_back(self) -> bool:
        """Make the previous generation the current one again. Returns False when there is none."""
        previous = self.previous()
        if previous is None:
            return False
        self.publish(previous)
        return True

    def keep(self, path: str) -> None:
        """Note that this generation is good: from now on it is the one to go back to.

        The older ones are removed, all but the one that it replaced, since a reader who opened that a moment ago may
        still be in it. That one goes with the next `keep`.
        """
        self._point(_GOOD, path)
        self._remove_all_but({path, self._replaced, self.current(), *self._staged})

    def discard(self, path: str) -> None:
        """Remove a generation that is not wanted. The current and the last good one stay."""
        self._staged.discard(path)
        if path not in {self.current(), self._target(_GOOD)}:
            _remove(path)

    def same_as_current(self, files: Files) -> bool:
        """Return whether the current generation has these files, byte for byte and with their modes and owners. What
        cannot be read is not the same.
        """
        path = self.current()
        if path is None or {*_names(path)} != files.keys():
            return False
        try:
            return all(_holds(os.path.join(path, name), self._entry(file)) for name, file in files.items())
        except OSError:
            return False

    def recover(self) -> None:
        """Put in order what a killed process left: call it once, at the start, before anything is staged.

        Raises Permanent as `publish` does.
        """
        if not os.path.isdir(self._output):
            return
        current = self.current()
        for link in (_DATA, _GOOD):
            self._unlink(f"{link}_tmp")
        self._remove_all_but({current, self._target(_GOOD)})
        self._refuse_foreign(current)
        self._link(current)

    def _entry(self, file: bytes | Entry) -> Entry:
        return file if isinstance(file, Entry) else Entry(file, self._mode)

    def _make_output(self, mode: int) -> None:
        with suppress(FileExistsError):  # should it be a file, the next call says so
            os.makedirs(self._output)
            os.chmod(self._output, mode)  # whatever the umask

    def _refuse_foreign(self, path: str | None) -> None:
        data = self._place(_DATA)
        foreign = [name for name in _tops(path) if os.path.lexists(self._place(name)) and not self._is_ours(name)]
        if os.path.lexists(data) and not (os.path.islink(data) and _GENERATION.fullmatch(os.readlink(data))):
            foreign.insert(0, _DATA)
        if foreign:
            raise Permanent(
                f"cannot publish in {self._output}: {foreign[0]!r} is there already and was not made by this sidecar; "
                "remove it, or choose an empty folder as `output`"
            )

    def _link(self, path: str | None) -> None:
        """Make the links that this generation needs and that are missing, then remove ours that it does not need."""
        for name in _tops(path):
            if not self._is_ours(name):
                os.symlink(f"{_DATA}/{name}", self._place(name))
        self._unlink_all_but(_tops(path))

    def _unlink_all_but(self, names: Iterable[str]) -> None:
        for name in sorted({*os.listdir(self._output)} - {*names}):
            if self._is_ours(name):
                self._unlink(name)

    def _undo(self, former: str | None) -> None:
        self._unlink_all_but(_tops(former))  # first: on a full disk they hold the inode that going back needs
        if former is None:
            self._unlink(_DATA)
        else:
            self._point(_DATA, former)
        self._link(former)

    def _point(self, link: str, path: str) -> None:
        """Let a link lead to this generation: by rename(2), so that it always leads to one."""
        self._unlink(f"{link}_tmp")
        os.symlink(os.path.basename(path), self._place(f"{link}_tmp"))
        os.rename(self._place(f"{link}_tmp"), self._place(link))
        sync_folder(self._output)

    def _target(self, link: str) -> str | None:
        try:
            name = os.readlink(self._place(link))
        except OSError:
            return None
        path = self._place(name)
        return path if _GENERATION.fullmatch(name) and os.path.isdir(path) else None

    def _is_ours(self, name: str) -> bool:
        try:
            return os.readlink(self._place(name)) == f"{_DATA}/{name}"
        except OSError:
            return False

    def _remove_all_but(self, wanted: Iterable[str | None]) -> None:
        every = {self._place(name) for name in os.listdir(self._output) if _GENERATION.fullmatch(name)}
        for path in sorted(every - {*wanted}):
            _remove(path)

    def _place(self, name: str) -> str:
        return os.path.join(self._output, name)

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._place(name))


def _remove(path: str) -> None:
    # Errors are left alone: on NFS a file that the app has open keeps its folder; the next clean-up takes it.
    if _GENERATION.fullmatch(os.path.basename(path)):
        shutil.rmtree(path, ignore_errors=True)


def _tops(path: str | None) -> list[str]:
    return [] if path is None else sorted(os.listdir(path))


def _names(path: str) -> Iterator[str]:
    for folder, _, files in os.walk(path):
        yield from (os.path.relpath(os.path.join(folder, file), path) for file in files)


def _folder_mode(entries: Iterable[Entry], mode: int) -> int:
    """Return the mode of the folders: nobody but us writes into a generation, whatever the modes of its files."""
    every = list(entries)
    for entry in every:
        mode |= entry.mode
    entered = 0o011 if any((entry.uid, entry.gid) != (-1, -1) for entry in every) else 0
    return 0o700 | mode & 0o044 | (mode & 0o044) >> 2 | entered


def _finish_folders(path: str, mode: int) -> None:
    """Open the folders to the readers, when all files are in them: with an fsGroup the volume's folders hand on their
    group by the setgid bit, which chmod(2) clears for a process outside that group.
    """
    for folder, _, _ in os.walk(path, topdown=False):
        os.chmod(folder, mode | os.stat(folder).st_mode & stat.S_ISGID)
        sync_folder(folder)


def _holds(path: str, entry: Entry) -> bool:
    # The app may write here: a link must not lead us away, nor a huge file fill the memory.
    with open(open_regular(path, os.O_NOFOLLOW), "rb") as file:
        found = os.fstat(file.fileno())
        alike = (
            stat.S_IMODE(found.st_mode) == entry.mode
            and entry.uid in {-1, found.st_uid}
            and entry.gid in {-1, found.st_gid}
            and found.st_size == len(entry.content)
        )
        return alike and file.read(len(entry.content) + 1) == entry.content
