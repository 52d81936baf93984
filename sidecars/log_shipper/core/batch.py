"""A bulk request in the making, and what is left of it after a reply.

The body is newline-delimited JSON with two lines for each record, so the records that a reply wants retried or
refuses are found in the body itself: no second copy of the data is kept for that.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from .ledger import Ledger, Segment

Pack: TypeAlias = Callable[[Iterable[bytes]], bytes]
"""Makes a body of its pieces: joined, or compressed as well."""


class FilePart(msgspec.Struct):
    """One stretch of one file within a batch."""

    ledger: Ledger
    segment: Segment
    first: int = 0
    """Number within the batch of its first record."""


class Payload(msgspec.Struct):
    """One request body of `count` records, as it is sent; `spans` are the file bytes each record stands for, and
    `numbers` say which records of their batch they are, when it is not all of them.
    """

    body: bytes
    count: int
    spans: "array[int]"
    numbers: Sequence[int] = ()
    age: int = 0
    """The smaller, the earlier its lines were read."""

    def number(self, index: int) -> int:
        """Return which record of its batch a record of this payload is."""
        return self.numbers[index] if self.numbers else index


class Batch(msgspec.Struct):
    """Documents that go out together and the stretches of files that they stand for."""

    texts: list[bytes] = []
    spans: "array[int]" = msgspec.field(default_factory=lambda: array("Q"))
    parts: list[FilePart] = []
    body_bytes: int = 0
    file_bytes: int = 0

    def add(self, texts: Sequence[str], spans: Sequence[int], parts: Sequence[FilePart], file_bytes: int) -> None:
        """Append documents, and the stretches that were read for them. `file_bytes` are those of the spans, and of what
        holds no record (holes, the rest of a cut line); parts of a record that is not over yet count when it is.
        """
        if texts:
            joined = "".join(texts).encode()
            self.texts.append(joined)
            self.body_bytes += len(joined)
        for part in parts:  # the records go with the first of them
            part.first, part.segment.unacknowledged_bytes = len(self.spans) + len(spans), 0
        parts[0].first, parts[0].segment.unacknowledged_bytes = len(self.spans), file_bytes
        self.spans.extend(spans)
        self.parts.extend(parts)
        self.file_bytes += file_bytes

    def take_payload(self, pack: Pack = b"".join) -> Payload:
        """Return all documents as one body. They are gone from here piece by piece: two copies of a body at once would
        cost a MiB each.
        """
        texts, self.texts = self.texts[::-1], []
        return Payload(pack(texts.pop() for _ in range(len(texts))), len(self.spans), self.spans)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Note that these records have their outcome, and others of the batch have not: the watermark stays where it
        is.
        """
        firsts = [part.first for part in self.parts]
        for number in numbers:
            self.parts[bisect_right(firsts, number) - 1].segment.unacknowledged_bytes -= self.spans[number]


def records_of(body: bytes, lines_each: int) -> list[bytes]:
    """Return the records of a plain body, each with its newlines; `lines_each` is 2 with action lines, else 1."""
    lines = body.split(b"\n")[:-1]
    return [b"\n".join(lines[at : at + lines_each]) + b"\n" for at in range(0, len(lines), lines_each)]


def chosen(records: Sequence[bytes], payload: Payload, indices: Sequence[int], pack: Pack = b"".join) -> Payload:
    """Return a payload of some of the records of `payload`, in their order."""
    return Payload(
        pack(records[index] for index in indices),
        len(indices),
        array("Q", (payload.spans[index] for index in indices)),
        numbers=array("Q", map(payload.number, indices)),
        age=payload.age,
    )


def halves(records: Sequence[bytes], payload: Payload, pack: Pack = b"".join) -> tuple[Payload, Payload]:
    """Return two payloads in place of one that was too large."""
    middle = len(records) // 2
    return chosen(records, payload, range(middle), pack), chosen(records, payload, range(middle, len(records)), pack)
