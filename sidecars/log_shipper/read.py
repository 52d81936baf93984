"""From a followed file into a batch: read a block, take its lines, encode them."""

from typing import Any

import msgspec

from .core.batch import Batch, Part
from .core.choices import IdMode, Output, Parse
from .core.documents import Encoded, Shape, Template, nested
from .core.ended import EndedFiles
from .core.identity import first_line_digest, id_prefix
from .core.lines import Limits, Taken, take
from .core.structured import cri_documents, json_documents, whole_records
from .settings import LogShipperSettings
from .tail import Tail

_BLOCK_BYTES = 256 << 10
_LEAST_BYTES = 4096
_USUAL_LINE_BYTES = 120


class Read(msgspec.Struct):
    """What one call of `Reader.read` did: bytes of the file taken, and what had to be repaired."""

    file_bytes: int = 0
    records: int = 0
    cut_lines: int = 0
    invalid_utf8_lines: int = 0
    unparsed_lines: int = 0
    skipped_nul_bytes: int = 0


class Reader:
    """Reads with the limits and the document shape of the settings."""

    def __init__(self, settings: LogShipperSettings, shape: Shape, scope: str, ended: EndedFiles) -> None:
        self._settings = settings
        self._shape = shape
        self._scope = scope
        self._ended = ended
        self.named = 0
        """How many files have got their document ids so far."""

    def read(self, tail: Tail, batch: Batch, timestamp: str, *, final: bool = False) -> Read:
        """Take what fits from the file into the batch. Raises tail.Truncated and OSError.

        `final`: nothing more is expected of the file, an unterminated last line is a line.
        """
        block, taken = self._taken(tail, batch, final=final)
        if taken.consumed == 0:
            return self._skip_hole(tail, batch) if block[:1] == b"\0" else Read()
        if taken.lines and tail.template is None:
            self._name(tail)
        encoded = self._encoded(tail, taken, timestamp)
        mark = tail.advance(block, taken.consumed, in_cut_line=taken.in_cut_line)
        batch.add(encoded.texts, encoded.spans, Part(tail.ledger, tail.ledger.take(mark)))
        return Read(
            file_bytes=taken.consumed,
            records=len(encoded.texts),
            cut_lines=len(taken.cut),
            invalid_utf8_lines=encoded.invalid_utf8_lines,
            unparsed_lines=encoded.unparsed_lines,
            skipped_nul_bytes=taken.skipped_nul_bytes,
        )

    def _taken(self, tail: Tail, batch: Batch, *, final: bool) -> tuple[bytes, Taken]:
        """A block and what was taken of it; reads as far as the longest line that is let through where needed."""
        limits = Limits(self._settings.max_line_bytes, self._lines_that_fit(tail, batch))
        offset, in_cut_line = tail.ledger.read.offset, tail.ledger.read.in_cut_line
        block, taken = b"", Taken([], [], [], 0)
        usual_bytes = min(_BLOCK_BYTES, max(_LEAST_BYTES, self._settings.batch_bytes - batch.body_bytes))
        for want_bytes in (usual_bytes, max(self._settings.max_line_bytes, usual_bytes) + 1):
            block = tail.read(want_bytes)
            last = final and len(block) < want_bytes
            taken = take(block, offset, limits, in_cut_line=in_cut_line, final=last)
            is_cri = self._settings.parse is Parse.CRI
            if is_cri and len(taken.lines) == limits.lines and not whole_records(taken.lines):
                limits = Limits(limits.line_bytes)  # one record of more parts than the batch has room for lines
                taken = take(block, offset, limits, in_cut_line=in_cut_line, final=last)
            if is_cri and not (last and len(taken.lines) < limits.lines):
                _leave_unfinished(taken, offset, full=want_bytes > usual_bytes and len(block) == want_bytes)
            if taken.consumed or len(block) < want_bytes or block[0] == 0:
                break
        return block, taken

    def _lines_that_fit(self, tail: Tail, batch: Batch) -> int:
        """How many lines of usual length the batch has room for; documents are several times longer than lines."""
        overhead = tail.template.overhead_bytes if tail.template else 400
        return max(1, (self._settings.batch_bytes - batch.body_bytes) // (overhead + _USUAL_LINE_BYTES))

    def _name(self, tail: Tail) -> None:
        """Fix the ids of the file's documents: done when its first line is known, and kept from then on."""
        if not tail.prefix:
            tail.first_line = tail.start_line or first_line_digest(tail.start_bytes())
            tail.generation = self._ended.next_generation(tail.key, tail.first_line)
            tail.prefix = id_prefix(self._scope, tail.key, tail.first_line, tail.generation)
            self.named += 1
        tail.template = Template(self._shape, tail.path, tail.prefix)

    def _encoded(self, tail: Tail, taken: Taken, timestamp: str) -> Encoded:
        if tail.template is None:
            return Encoded([], [])
        match self._settings.parse:
            case Parse.JSON:
                return json_documents(tail.template, taken, timestamp)
            case Parse.CRI:
                return cri_documents(tail.template, taken, timestamp)
            case _:
                return tail.template.plain(taken, timestamp)

    def _skip_hole(self, tail: Tail, batch: Batch) -> Read:
        """Move over NULs that something follows."""
        length = tail.hole() - tail.ledger.read.offset
        if length == 0:
            return Read()
        mark = tail.skip_to(tail.ledger.read.offset + length)
        batch.add((), (), Part(tail.ledger, tail.ledger.take(mark)))
        return Read(file_bytes=length, skipped_nul_bytes=length)


def shape_of(settings: LogShipperSettings) -> Shape:
    """What all documents have in common under these settings."""
    return Shape(
        fields=_fields(settings),
        action=settings.destination is Output.ELASTICSEARCH,
        with_id=settings.id_mode is IdMode.DERIVED,
    )


def _fields(settings: LogShipperSettings) -> dict[str, Any]:
    """Pod fields and static fields as one nested object; a static field of the same name wins."""
    pod = {
        "kubernetes.pod.name": settings.pod_name,
        "kubernetes.pod.uid": settings.pod_uid,
        "kubernetes.namespace": settings.pod_namespace,
        "kubernetes.node.name": settings.node_name,
        "kubernetes.container.name": settings.container_name,
    }
    return nested({**{name: value for name, value in pod.items() if value}, **settings.fields})


def _leave_unfinished(taken: Taken, offset: int, *, full: bool) -> None:
    """Give back the lines from the first unfinished CRI record on, unless the block is as large as it may be."""
    count = whole_records(taken.lines)
    if count == len(taken.lines) or (full and count == 0):
        return
    taken.consumed = taken.starts[count] - offset
    del taken.lines[count:], taken.starts[count:], taken.spans[count:]
    taken.in_cut_line = False
    taken.cut = frozenset(index for index in taken.cut if index < count)
