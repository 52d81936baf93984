"""The checkpoint's bytes: a whole, and after it the changes that came since.

The whole is a header with schema and checksum, and a line of content. A change is a line of its own with its own
checksum, appended when positions moved, so that what is written follows what is active and not how many files there
are. A change that was cut short (kill -9, a full disk, a power cut) ends the reading: what stands before it is an
earlier checkpoint, and reading from an earlier one is harmless, since ids are made of positions. A whole that is
damaged, or of another schema, is treated as absent.
"""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeVar

import msgspec

from .identity import FileIdentity, FileKey, Head, Mark
from .joining import Cut

SCHEMA = 2
_FIRST_SCHEMA = 1
"""Of version 1: no changes after the whole, and the identity of a file in fields of the position."""
_LEAST_CHANGES_BYTES = 64 << 10
_CHECKSUM_BYTES = 16


class FilePosition(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One file: who and where it is, and up to where all of it is acknowledged."""

    identity: FileIdentity
    place: str
    """Where it was last."""
    key: FileKey
    mark: Mark
    modified_ns: int = 0
    """Modification time when its content was last known to be what was read; also tells generations missed meanwhile
    from older ones."""
    changed_ns: int = 0
    """Inode change time at the last look; 0 when it is not known."""
    born_ns: int = 0
    """When the inode was made; 0 when it is not known."""
    encoding: str = ""
    """Of a file that is not UTF-8: after a truncation its byte order mark is gone."""
    cuts: tuple[Cut, ...] = ()
    """Where records were ended that had no end: before they are sent, so that they end there when read again."""

    def is_all_of(self, size_bytes: int, modified_ns: int, changed_ns: int) -> bool:
        """Tell whether the file of this inode is as it was, with nothing unread. Nothing writes to a file without its
        change time moving, and nobody can set that.
        """
        return (self.mark.offset, self.modified_ns, self.changed_ns) == (size_bytes, modified_ns, changed_ns)


class EndedFile(msgspec.Struct, frozen=True, gc=False):
    """A file that is gone, remembered to tell the next one of that inode and first line from it."""

    key: FileKey
    first_line: str
    generation: int


class Checkpoint(msgspec.Struct, frozen=True):
    """All that outlives a restart."""

    positions: list[FilePosition] = []
    ended: list[EndedFile] = []


class CheckpointChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became different since the last change, or the whole."""

    positions: list[FilePosition] = []
    ended: list[EndedFile] = []
    forgotten: list[FileKey] = []

    def __bool__(self) -> bool:
        return bool(self.positions or self.ended or self.forgotten)


class Loaded(msgspec.Struct, frozen=True):
    """What could be read; `lost_changes` whole lines could not, beside one that was cut short by a crash."""

    checkpoint: Checkpoint
    lost_changes: int = 0


class _Header(msgspec.Struct):
    schema: int
    checksum: str


class _FirstPosition(msgspec.Struct, frozen=True):
    """A position of the first schema."""

    path: str
    place: str
    key: FileKey
    head: Head
    mark: Mark
    prefix: str
    first_line: str
    generation: int
    modified_ns: int = 0
    encoding: str = ""
    cuts: tuple[Cut, ...] = ()

    def today(self) -> FilePosition:
        identity = FileIdentity(self.path, self.head, self.prefix, self.first_line, self.generation)
        place = (identity, self.place, self.key, self.mark, self.modified_ns)
        return FilePosition(*place, encoding=self.encoding, cuts=self.cuts)


class _FirstCheckpoint(msgspec.Struct, frozen=True):
    positions: list[_FirstPosition] = []
    ended: list[EndedFile] = []


class Damaged(ValueError):
    """The bytes are no checkpoint of ours; the message is the reason: `truncated`, `garbage` or `schema`."""


class Journal:
    """What the checkpoint file holds, and so what has to be appended to it."""

    def __init__(self) -> None:
        self._positions: dict[FileKey, FilePosition] = {}
        self._ended: dict[tuple[FileKey, str], EndedFile] = {}
        self._whole_bytes = 0
        self._changes_bytes = 0
        self.must_be_whole = True
        """Whether nothing can be appended: nothing was written yet, or it is not known what the file holds."""

    def change(self, now: Checkpoint) -> CheckpointChange | None:
        """Return what has to be appended, or None when the file is to be written anew: it must be, or the changes have
        become longer than the whole.
        """
        if self.must_be_whole or self._changes_bytes > max(self._whole_bytes, _LEAST_CHANGES_BYTES):
            return None
        keys = {each.key for each in now.positions}
        return CheckpointChange(
            [each for each in now.positions if not _same(self._positions.get(each.key), each)],
            [each for each in now.ended if self._ended.get((each.key, each.first_line)) is not each],
            [key for key in self._positions if key not in keys],
        )

    def written(self, now: Checkpoint, size_bytes: int, *, whole: bool) -> None:
        """Note that the file holds `now`: it was written as a whole, or a change of this size was appended."""
        self._positions = {each.key: each for each in now.positions}
        self._ended = {(each.key, each.first_line): each for each in now.ended}
        self.must_be_whole = False
        if whole:
            self._whole_bytes, self._changes_bytes = size_bytes, 0
        else:
            self._changes_bytes += size_bytes


def dump(checkpoint: Checkpoint) -> bytes:
    """Return a whole: a line of header, a line of content."""
    content = _encoded(checkpoint)
    return msgspec.json.encode(_Header(SCHEMA, _checksum(content))) + b"\n" + content + b"\n"


def dump_change(change: CheckpointChange) -> bytes:
    """Return the line that is appended to a whole."""
    content = _encoded(change)
    return _checksum(content).encode() + b" " + content + b"\n"


def load(data: bytes) -> Loaded:
    """Return the checkpoint of a file's bytes. Raises Damaged."""
    first, _, rest = data.partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=_Header)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        reason = "garbage"
        raise Damaged(reason) from None
    if header.schema not in (SCHEMA, _FIRST_SCHEMA):
        reason = "schema"
        raise Damaged(reason)
    content, newline, changes = rest.partition(b"\n")
    if not newline:
        reason = "truncated"
        raise Damaged(reason)
    if _checksum(content) != header.checksum or (changes and header.schema == _FIRST_SCHEMA):
        reason = "garbage"
        raise Damaged(reason)
    try:
        if header.schema == _FIRST_SCHEMA:
            old = _decoded(content, _FirstCheckpoint)
            return Loaded(Checkpoint([each.today() for each in old.positions], old.ended))
        return _changed(_decoded(content, Checkpoint), changes.split(b"\n"))
    except (msgspec.DecodeError, ValueError):
        reason = "garbage"
        raise Damaged(reason) from None


def _changed(whole: Checkpoint, lines: list[bytes]) -> Loaded:
    """Apply changes until one does not hold what was written. `lines`: of the file, so the last has no newline."""
    positions = {each.key: each for each in whole.positions}
    ended = {(each.key, each.first_line): each for each in whole.ended}
    lost_changes = 0
    for number, line in enumerate(lines[:-1]):
        checksum, _, content = line.partition(b" ")
        try:
            if _checksum(content).encode() != checksum:
                raise Damaged
            change = _decoded(content, CheckpointChange)
        except (msgspec.DecodeError, ValueError):
            lost_changes = len(lines) - 1 - number
            break
        for key in change.forgotten:
            positions.pop(key, None)
        positions.update((each.key, each) for each in change.positions)
        for each in change.ended:
            ended.pop((each.key, each.first_line), None)  # the order tells which is forgotten first
            ended[each.key, each.first_line] = each
    return Loaded(Checkpoint(list(positions.values()), list(ended.values())), lost_changes)


def _same(saved: FilePosition | None, now: FilePosition) -> bool:
    return saved is now or saved == now


def _encoded(value: Checkpoint | CheckpointChange) -> bytes:
    """JSON. A file name that is not UTF-8 holds lone surrogates (PEP 383); only the standard library writes those."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()


_T = TypeVar("_T")


def _decoded(content: bytes, kind: type[_T]) -> _T:
    """Raises msgspec.DecodeError, ValueError."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(content), kind)


def _checksum(content: bytes) -> str:
    return blake2b(content, digest_size=_CHECKSUM_BYTES).hexdigest()


def by_inode(positions: Iterable[FilePosition]) -> dict[int, list[FileKey]]:
    """Return the files of each inode number: there may be some of several devices."""
    found: dict[int, list[FileKey]] = {}
    for each in positions:
        found.setdefault(each.key.inode, []).append(each.key)
    return found
