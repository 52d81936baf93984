"""Lines that are parts of a longer record: the CRI log format and Docker's json-file split long lines of the app.

A record is identified by the offset of its first part. Streams are independent: what one of them has open holds no
record of the other back. A record may leave without its end (its writer died, it is too long, we stop): where that was
decided by time it is a `Cut`, which the checkpoint keeps, so that the record is ended at the same place when it is read
again. The part that comes later is a record of its own then, and is stored once.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from .lines import Taken

PATIENCE_SECONDS = 5.0
"""How long the end of a record is waited for once all that is in the file has been read. Runtimes write the parts of a
line within milliseconds; a rotation between two of them takes no longer."""
_PART_COST = 2
"""A record may span so many times the limit in the file: the runtime's own words around tiny parts are memory too."""
CRI = re.compile(rb"(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP](?::\S*)?)(?: (.*))?", re.DOTALL)
"""Time, stream, tag, content, as the kubelet's CRI logs have them. The tag's first letter says full or partial; more
tags may follow, separated by colons."""
_DOCKER_START = b'{"log":"'
_DOCKER = re.compile(
    rb'\{"log":"([^"\\]*(?:\\.[^"\\]*)*)","stream":"(stdout|stderr)",(?:"attrs":\{.*\},)?"time":"[^"]*"\}\r?'
)


class Frame(msgspec.Struct, frozen=True):
    """How a line is a part: its stream, whether the record ends with it, and where in the line its content stands."""

    stream: bytes
    ends: bool
    start: int
    stop: int


Framing = Callable[[bytes], Frame | None]
"""None for a line that is no part of anything: a record of its own."""


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A decision: a record of `stream` that began before `offset` ends before it, whatever follows."""

    stream: str
    offset: int


class Record(msgspec.Struct):
    """Lines that became one. `owner` is None, or what the first part was read from, where that is another file."""

    owner: Any
    start: int
    line: bytes
    span: int
    cut: bool = False
    partial: bool = False


class _Open(msgspec.Struct):
    """A record whose end has not been seen."""

    owner: Any
    start: int
    first: bytes
    frame: Frame
    contents: list[bytes]
    size_bytes: int
    span: int
    cut: bool
    torn: bool
    since: float | None = None

    def record(self, *, partial: bool) -> Record:
        """Return the first line with the contents of all parts in it."""
        line = self.first[: self.frame.start] + b"".join(self.contents) + self.first[self.frame.stop :]
        return Record(self.owner, self.start, line, self.span, self.cut, partial or self.torn)


class Joined(msgspec.Struct):
    """What `Joining.feed` made of lines. `records` is None when every line is a record as it stands."""

    records: list[Record] | None
    clean: int | None
    """Offset before which no record is open, as far as that was seen; None when one was open all the time."""


class Joining:
    """The open records of one file, by stream."""

    __slots__ = ("_open", "_torn", "cuts")

    def __init__(self, cuts: Iterable[Cut] = ()) -> None:
        self._open: dict[bytes, _Open] = {}
        self.cuts = list(cuts)
        self._torn = {cut.stream.encode() for cut in self.cuts}
        """Streams whose last record left without its end: what comes next is the rest of it."""

    @property
    def is_open(self) -> bool:
        """Return whether a record waits for its end."""
        return bool(self._open)

    @property
    def open_bytes(self) -> int:
        """Return the bytes of files that the open records stand for."""
        return sum(record.span for record in self._open.values())

    def feed(self, taken: Taken, offset: int, framing: Framing, limit_bytes: int) -> Joined:
        """Join the lines taken from `offset` on. A record over `limit_bytes` leaves in several."""
        frames = [framing(line) for line in taken.lines]
        if not self._open and not self._torn and all(frame is None or frame.ends for frame in frames):
            return Joined(None, offset + taken.consumed)
        clean = None if self._open else offset
        records: list[Record] = []
        for index, frame in enumerate(frames):
            start = taken.starts[index]
            records += self._ended_by(start)
            part = Record(None, start, taken.lines[index], taken.spans[index], index in taken.cut)
            if frame is None:
                records.append(part)
            else:
                records += self._part(part, frame, limit_bytes)
            if not self._open:
                clean = start + part.span
        records += self._ended_by(offset + taken.consumed)
        if not self._open:
            clean = offset + taken.consumed
        records.sort(key=lambda record: -1 if record.owner else record.start)
        return Joined(records, clean)

    def _part(self, part: Record, frame: Frame, limit_bytes: int) -> list[Record]:
        """Take one part; returns the records that are over with it."""
        done: list[Record] = []
        content = part.line[frame.start : frame.stop]
        former = self._open.get(frame.stream)
        if former is not None and (
            former.size_bytes + len(content) > limit_bytes or former.span + part.span > _PART_COST * limit_bytes
        ):
            done.append(self._leave(frame.stream))
            former = None
        if former is None:
            torn = frame.stream in self._torn
            self._torn.discard(frame.stream)
            former = _Open(None, part.start, part.line, frame, [content], len(content), part.span, part.cut, torn)
            self._open[frame.stream] = former
        else:
            former.contents.append(content)
            former.size_bytes += len(content)
            former.span += part.span
            former.cut = former.cut or part.cut
        if frame.ends:
            done.append(self._open.pop(frame.stream).record(partial=False))
        return done

    def _leave(self, stream: bytes) -> Record:
        """Return the open record of a stream, without its end."""
        self._torn.add(stream)
        return self._open.pop(stream).record(partial=True)

    def _ended_by(self, offset: int) -> list[Record]:
        """Return the open records that were cut, on an earlier reading, at a place that was reached now."""
        if not self.cuts or not self._open:
            return []
        return [
            self._leave(cut.stream.encode())
            for cut in self.cuts
            if (former := self._open.get(cut.stream.encode())) is not None
            and (former.owner is not None or former.start < cut.offset)
            and cut.offset <= offset
        ]

    def deadline(self, now: float) -> float:
        """Return when the first of the open records will have waited long enough; those that are new here wait from
        `now` on.
        """
        for record in self._open.values():
            if record.since is None:
                record.since = now
        since = [record.since for record in self._open.values() if record.since is not None]
        return min(since, default=math.inf) + PATIENCE_SECONDS

    def release(self, now: float, offset: int) -> list[Record]:
        """Let the records leave that have waited long enough, all of them for an infinite `now`; the file was read up
        to `offset`.
        """
        late = [
            stream
            for stream, record in self._open.items()
            if now == math.inf or (record.since is not None and record.since + PATIENCE_SECONDS <= now)
        ]
        self.cuts += [Cut(stream.decode(), offset) for stream in late]
        return [self._leave(stream) for stream in late]

    def adopt(self, former: "Joining", owner: object) -> None:
        """Go on with what an earlier generation of the log, `owner`, has open."""
        for stream, record in former._open.items():
            record.owner = record.owner or owner
            self._open.setdefault(stream, record)
        self._torn |= former._torn
        former._open, former._torn = {}, set()

    def cuts_from(self, committed_offset: int) -> list[Cut]:
        """Return the cuts from the low watermark on, and forget the earlier ones: they are never met again."""
        if self.cuts:
            self.cuts = [cut for cut in self.cuts if cut.offset >= committed_offset]
        return self.cuts


def cri_frame(line: bytes) -> Frame | None:
    """F stands for a full record, or for the last part of one; P for a part that others follow."""
    match = CRI.fullmatch(line)
    if match is None:
        return None
    return Frame(match[2], match[3].startswith(b"F"), len(line) if match[4] is None else match.start(4), len(line))


def docker_frame(line: bytes) -> Frame | None:
    """`{"log":"...","stream":"...","time":"..."}`: the line of the app is whole when its text ends in a newline. The
    texts are joined as they are escaped, which JSON allows.
    """
    match = _DOCKER.fullmatch(line) if line.startswith(_DOCKER_START) else None
    if match is None:
        return None
    text = match[1]
    escapes = len(text) - 1 - len(text[:-1].rstrip(b"\\"))
    return Frame(match[2], text.endswith(b"n") and escapes % 2 == 1, match.start(1), match.end(1))


def may_be_docker(start: bytes) -> bool:
    """Return whether a file that begins so is Docker's."""
    return start.startswith(_DOCKER_START)
