"""The checkpoint's bytes: a header with schema and checksum, then the positions.

Positions are kilobytes, so the whole is written anew each time; anything but a complete file of this schema is
treated as absent. Reading again from the start is harmless: the ids are made of positions.
"""

import json
from hashlib import blake2b

import msgspec

from .identity import FileKey, Head, Mark
from .joining import Cut

SCHEMA = 1


class Position(msgspec.Struct, frozen=True):
    """One file: its names, who it is, and up to where all of it is acknowledged."""

    path: str
    """The name it was first seen under."""
    place: str
    """Where it was last."""
    key: FileKey
    head: Head
    mark: Mark
    prefix: str
    """Begins the ids of this file's documents; kept, because a copy goes on under the original's ids."""
    first_line: str
    generation: int
    modified_ns: int = 0
    """Modification time when it was last looked at; tells generations missed meanwhile from older ones."""
    encoding: str = ""
    """Of a file that is not UTF-8: after a truncation its byte order mark is gone."""
    cuts: list[Cut] = []
    """Where records were ended that had no end: before they are sent, so that they end there when read again."""


class Ended(msgspec.Struct, frozen=True):
    """A file that is gone, remembered to tell the next one of that inode and first line from it."""

    key: FileKey
    first_line: str
    generation: int


class Checkpoint(msgspec.Struct, frozen=True):
    """All that outlives a restart."""

    positions: list[Position] = []
    ended: list[Ended] = []


class _Header(msgspec.Struct):
    schema: int
    checksum: str


class Damaged(ValueError):
    """The bytes are no checkpoint of ours; the message is the reason: `truncated`, `garbage` or `schema`."""


def dump(checkpoint: Checkpoint) -> bytes:
    """A line of header, a line of content."""
    content = _encoded(checkpoint)
    return msgspec.json.encode(_Header(SCHEMA, _checksum(content))) + b"\n" + content + b"\n"


def load(data: bytes) -> Checkpoint:
    """The checkpoint that `dump` wrote. Raises Damaged."""
    first, _, rest = data.partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=_Header)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        reason = "garbage"
        raise Damaged(reason) from None
    if header.schema != SCHEMA:
        reason = "schema"
        raise Damaged(reason)
    content, newline, after = rest.partition(b"\n")
    if not newline:
        reason = "truncated"
        raise Damaged(reason)
    if after or _checksum(content) != header.checksum:
        reason = "garbage"
        raise Damaged(reason)
    try:
        return _decoded(content)
    except (msgspec.DecodeError, ValueError):
        reason = "garbage"
        raise Damaged(reason) from None


def _encoded(checkpoint: Checkpoint) -> bytes:
    """JSON. A file name that is not UTF-8 holds lone surrogates (PEP 383); only the standard library writes those."""
    try:
        return msgspec.json.encode(checkpoint)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(checkpoint), separators=(",", ":")).encode()


def _decoded(content: bytes) -> Checkpoint:
    """Raises msgspec.DecodeError, ValueError."""
    try:
        return msgspec.json.decode(content, type=Checkpoint)
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(content), Checkpoint)


def _checksum(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
