"""A bulk request in the making, and what is left of it after a reply.

The body is newline-delimited JSON with two lines for each record, so the records that a reply wants retried or
refuses are found in the body itself: no second copy of the data is kept for that.
"""

from array import array
from collections.abc import Sequence

import msgspec

from .position import Ledger, Segment


class Part(msgspec.Struct):
    """One stretch of one file within a batch."""

    ledger: Ledger
    segment: Segment


class Payload(msgspec.Struct):
    """One request body of `count` records, gzip when `packed`; `spans` are the file bytes each record stands for."""

    body: bytes
    count: int
    spans: "array[int]"
    packed: bool = False


class Batch(msgspec.Struct):
    """Documents that go out together and the stretches of files that they stand for."""

    texts: list[bytes] = []
    spans: "array[int]" = msgspec.field(default_factory=lambda: array("Q"))
    parts: list[Part] = []
    body_bytes: int = 0
    file_bytes: int = 0

    def add(self, texts: Sequence[str], spans: Sequence[int], parts: Sequence[Part], file_bytes: int) -> None:
        """Append documents, and the stretches that were read for them. `file_bytes` are those of the spans, and of what
        holds no record (holes, the rest of a cut line); parts of a record that is not over yet count when it is.
        """
        if texts:
            joined = "".join(texts).encode()
            self.texts.append(joined)
            self.body_bytes += len(joined)
        self.spans.extend(spans)
        self.parts.extend(parts)
        self.file_bytes += file_bytes

    def payload(self) -> Payload:
        """The whole body, not yet compressed."""
        return Payload(b"".join(self.texts), len(self.spans), self.spans)


def records_of(body: bytes, lines_each: int) -> list[bytes]:
    """The records of a plain body, each with its newlines; `lines_each` is 2 with action lines, else 1."""
    lines = body.split(b"\n")[:-1]
    return [b"\n".join(lines[at : at + lines_each]) + b"\n" for at in range(0, len(lines), lines_each)]


def chosen(records: Sequence[bytes], spans: Sequence[int], indices: Sequence[int]) -> Payload:
    """A plain payload of some of the records, in their order."""
    return Payload(b"".join(records[index] for index in indices), len(indices), array("Q", (spans[i] for i in indices)))


def halves(records: Sequence[bytes], spans: Sequence[int]) -> tuple[Payload, Payload]:
    """Two payloads in place of one that was too large."""
    middle = len(records) // 2
    return (
        chosen(records, spans, range(middle)),
        chosen(records, spans, range(middle, len(records))),
    )
