"""From a followed file into a batch: read a block, take its lines, encode them."""

from collections.abc import Sequence
from typing import Any

from sidecars.log_shipper.core.batch import Batch, FilePart
from sidecars.log_shipper.core.choices import IdMode, Output, Parse
from sidecars.log_shipper.core.documents import BYTE_ORDER_MARK, Encoded, Shape, Template, nested
from sidecars.log_shipper.core.encodings import LONGEST_MARK_BYTES, Wide, encoding_of, still_is
from sidecars.log_shipper.core.ended import EndedFiles
from sidecars.log_shipper.core.identity import first_line_digest, id_prefix
from sidecars.log_shipper.core.joining import Framing, Joining, Record, cri_frame, docker_frame, may_be_docker
from sidecars.log_shipper.core.lines import Intake, Limits, Taken, take
from sidecars.log_shipper.core.structured import cri_documents, json_documents
from sidecars.log_shipper.settings import LogShipperSettings

from .files import Tail

_BLOCK_BYTES = 256 << 10
_LEAST_BYTES = 4096
_USUAL_LINE_BYTES = 120
_USUAL_OVERHEAD_BYTES = 400
_TEMPLATES = 512


class Reader:
    """Reads with the limits and the document shape of the settings."""

    def __init__(self, settings: LogShipperSettings, shape: Shape, scope: str, ended: EndedFiles) -> None:
        self._settings = settings
        self._shape = shape
        self._scope = scope
        self._ended = ended
        self._templates: dict[tuple[str, str], Template] = {}
        self._framing = _FRAMINGS.get(settings.parse)
        self.decisions = 0
        """How many things were decided that the checkpoint has to hold before anything is sent that depends on them:
        the ids of a file's documents, the end of a record that has none."""

    def read(self, tail: Tail, batch: Batch, timestamp: str, *, final: bool = False) -> Intake:
        """Take what fits from the file into the batch. Raises tail.Truncated and OSError.

        `final`: nothing more is expected of the file, an unterminated last line is a line.
        """
        block, taken = self._taken(tail, batch, final=final)
        if taken.consumed == 0:
            return self._skip_hole(tail, batch) if block[:1] == b"\0" and not tail.encoding else Intake()
        if taken.lines and not tail.identity.prefix:
            self._name(tail)
        clean, open_bytes = None, 0
        records = [(tail, taken)]
        if self._framing is not None:
            joining = self._joining(tail)
            open_bytes = joining.open_bytes
            joined = joining.feed(taken, tail.ledger.read.offset, self._framing, self._settings.max_line_bytes)
            clean = joined.clean
            open_bytes -= joining.open_bytes
            if joined.records is not None:
                records = _by_owner(tail, joined.records)
        tail.former = None
        parts = _parts(tail, block, taken, clean)
        read = self._add(batch, records, timestamp, parts, taken.consumed + open_bytes)
        read.file_bytes, read.skipped_nul_bytes = taken.consumed, taken.skipped_nul_bytes
        return read

    def release(self, tail: Tail, batch: Batch, timestamp: str, now: float) -> Intake:
        """Let the open records of the file that have waited long enough leave without their end; all of them for an
        infinite `now`.
        """
        if tail.joining is None:
            return Intake()
        open_bytes = tail.joining.open_bytes
        released = tail.joining.release(now, tail.ledger.read.offset)
        if not released:
            return Intake()
        self.decisions += 1
        part = FilePart(tail.ledger, tail.ledger.take(tail.ledger.read, clean=not tail.joining.is_open))
        records = _by_owner(tail, released)
        return self._add(batch, records, timestamp, [part], open_bytes - tail.joining.open_bytes)

    def joins(self, former: Tail) -> bool:
        """Return whether a record that begins in the file may go on in the next generation."""
        match self._settings.parse:
            case Parse.CRI:
                return True
            case Parse.JSON:
                return former.has_open_record or may_be_docker(former.start_bytes())
            case _:
                return False

    @property
    def joins_records(self) -> bool:
        """Return whether lines can be parts of records at all."""
        return self._framing is not None

    def _joining(self, tail: Tail) -> Joining:
        """Return the open records of the file; those of the generation before it go on here."""
        joining = tail.joining = tail.joining or Joining()
        if tail.former is not None and tail.former.joining is not None and not tail.ledger.read.offset:
            if tail.former.has_open_record:
                tail.ledger.continues(tail.former.ledger)
            joining.adopt(tail.former.joining, tail.former)
        return joining

    def _add(
        self,
        batch: Batch,
        records: Sequence[tuple[Tail, Taken]],
        timestamp: str,
        parts: Sequence[FilePart],
        file_bytes: int,
    ) -> Intake:
        """Encode records, each with the ids of the file in which it began, into the batch."""
        read = Intake()
        texts: list[str] = []
        spans: list[int] = []
        for owner, taken in records:
            encoded = self._encoded(owner, taken, timestamp)
            texts += encoded.texts
            spans += encoded.spans
            read.cut_lines += len(taken.cut)
            read.partial_records += len(taken.partial)
            read.invalid_utf8_lines += encoded.invalid_utf8_lines
            read.unparsed_lines += encoded.unparsed_lines
        read.records = len(texts)
        batch.add(texts, spans, parts, file_bytes)
        return read

    def _taken(self, tail: Tail, batch: Batch, *, final: bool) -> tuple[bytes, Taken]:
        """Return a block and what was taken of it; reads as far as the longest line that is let through where
        needed.
        """
        limits = Limits(self._settings.max_line_bytes, self._lines_that_fit(tail, batch))
        offset, in_cut_line = tail.ledger.read.offset, tail.ledger.read.in_cut_line
        block, taken = b"", Taken([], [], [], 0)
        usual_bytes = min(_BLOCK_BYTES, max(_LEAST_BYTES, self._settings.batch_bytes - batch.body_bytes))
        for want_bytes in (usual_bytes, max(self._settings.max_line_bytes, usual_bytes) + LONGEST_MARK_BYTES):
            block = tail.read(want_bytes)
            encoding = _encoding(tail, block)
            step = Wide(encoding).take if encoding else take
            taken = step(block, offset, limits, in_cut_line=in_cut_line, final=final and len(block) < want_bytes)
            if taken.consumed or len(block) < want_bytes or (block[0] == 0 and not encoding):
                break
        if taken.consumed:
            tail.encoding = encoding
        if self._framing is not None and offset == 0 and taken.lines:
            taken.lines[0] = taken.lines[0].removeprefix(BYTE_ORDER_MARK)
        return block, taken

    def _lines_that_fit(self, tail: Tail, batch: Batch) -> int:
        """Return how many lines of usual length the batch has room for; documents are several times longer than
        lines.
        """
        overhead = self._template(tail).overhead_bytes if tail.identity.prefix else _USUAL_OVERHEAD_BYTES
        return max(1, (self._settings.batch_bytes - batch.body_bytes) // (overhead + _USUAL_LINE_BYTES))

    def _name(self, tail: Tail) -> None:
        """Fix the ids of the file's documents: done when its first line is known, and kept from then on. Copies of one
        original are numbered by age, so that they get the same ids again should the state be lost.
        """
        unnamed: list[Tail] = []
        each: Tail | None = tail
        while each is not None and not each.identity.prefix:
            unnamed.append(each)
            each.elder, each = None, each.elder
        for each in reversed(unnamed):
            if each is tail or (each.fd is not None and each.size_bytes):
                self._identify(each)

    def _template(self, tail: Tail) -> Template:
        """Return the template of a file's documents. Those of the files that were read last are kept: each is
        kilobytes.
        """
        names = (tail.identity.path, tail.identity.prefix)
        template = self._templates.get(names)
        if template is None:
            if len(self._templates) >= _TEMPLATES:
                del self._templates[next(iter(self._templates))]
            template = self._templates[names] = Template(self._shape, *names)
        return template

    def _identify(self, tail: Tail) -> None:
        first_line = tail.start_line or first_line_digest(tail.start_bytes())
        generation = self._ended.next_generation(tail.origin, first_line)
        if tail.original is not None:
            original = tail.original.identity
            if original.prefix and original.first_line == first_line:
                generation = max(generation, original.generation + 1)
            self._ended.note(tail.origin, first_line, generation)
        prefix = id_prefix(self._scope, tail.origin, first_line, generation)
        tail.identity = tail.identity.named(prefix, first_line, generation)
        self.decisions += 1

    def _encoded(self, tail: Tail, taken: Taken, timestamp: str) -> Encoded:
        if not taken.lines:
            return Encoded([], [])
        template = self._template(tail)
        match self._settings.parse:
            case Parse.JSON:
                return json_documents(template, taken, timestamp)
            case Parse.CRI:
                return cri_documents(template, taken, timestamp)
            case _:
                return template.plain(taken, timestamp)

    def _skip_hole(self, tail: Tail, batch: Batch) -> Intake:
        """Move over NULs that something follows."""
        length = tail.hole() - tail.ledger.read.offset
        if length == 0:
            return Intake()
        mark = tail.skip_to(tail.ledger.read.offset + length)
        segment = tail.ledger.take(mark, clean=not tail.has_open_record)
        batch.add((), (), [FilePart(tail.ledger, segment)], length)
        return Intake(file_bytes=length, skipped_nul_bytes=length)


def shape_of(settings: LogShipperSettings) -> Shape:
    """Return what all documents have in common under these settings."""
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


def _encoding(tail: Tail, block: bytes) -> str:
    """Return the encoding of the file, by its first bytes."""
    if tail.encoding is not None:
        return tail.encoding
    start = tail.start_bytes() if tail.ledger.read.offset else block
    encoding = encoding_of(start)
    if not encoding and still_is(tail.encoding_before, start):
        encoding = tail.encoding_before
    if tail.ledger.read.offset:
        tail.encoding = encoding
    return encoding


def _by_owner(tail: Tail, records: Sequence[Record]) -> list[tuple[Tail, Taken]]:
    """Return records as lines of the file in which they began: this one, or an earlier generation."""
    by_owner: dict[int, tuple[Tail, list[Record]]] = {}
    for record in records:
        owner = record.owner or tail
        by_owner.setdefault(id(owner), (owner, []))[1].append(record)
    return [(owner, _taken_of(each)) for owner, each in by_owner.values()]


def _taken_of(records: Sequence[Record]) -> Taken:
    return Taken(
        lines=[record.line for record in records],
        starts=[record.start for record in records],
        spans=[record.span for record in records],
        consumed=0,
        cut=frozenset(index for index, record in enumerate(records) if record.cut),
        partial=frozenset(index for index, record in enumerate(records) if record.partial),
    )


def _parts(tail: Tail, block: bytes, taken: Taken, clean: int | None) -> list[FilePart]:
    """Return the stretches of the file that were taken: up to where no record is open, and the rest."""
    parts: list[FilePart] = []
    is_open = tail.has_open_record
    first = (clean or 0) - tail.ledger.read.offset if is_open else 0
    if first > 0:
        mark = tail.advance(block, first, in_cut_line=False)
        parts.append(FilePart(tail.ledger, tail.ledger.take(mark)))
        block = block[first:]
    mark = tail.advance(block, taken.consumed - max(first, 0), in_cut_line=taken.in_cut_line)
    parts.append(FilePart(tail.ledger, tail.ledger.take(mark, clean=not is_open)))
    return parts


_FRAMINGS: dict[Parse, Framing] = {Parse.CRI: cri_frame, Parse.JSON: docker_frame}
