"""The documents of one index, kept small: one run of bytes for all sources, an array of ends, one dictionary of ids.

A test that ships two million lines must fit in a few hundred megabytes, so a document is no Python object of its own.
"""

from array import array
from collections.abc import Iterator

import msgspec


class Document(msgspec.Struct, frozen=True):
    """One stored document: `source` is its JSON text as it was sent."""

    index: str
    id: str
    source: bytes
    sequence: int


class Documents:
    """Append-only sources; a document written again supersedes its older source."""

    def __init__(self, index: str) -> None:
        self.index = index
        self._sources = bytearray()
        self._ends = array("Q", [0])
        self._ids: list[str] = []
        self._ordinals: dict[str, int] = {}
        self._versions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ordinals)

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._ordinals

    def put(self, document_id: str, source: bytes) -> tuple[int, int]:
        """Stores a document, over an older one of the same id; returns (sequence number, version)."""
        ordinal = len(self._ids)
        if document_id in self._ordinals:
            self._versions[document_id] = self.version(document_id) + 1
        self._ordinals[document_id] = ordinal
        self._ids.append(document_id)
        self._sources += source
        self._ends.append(len(self._sources))
        return ordinal, self.version(document_id)

    def remove(self, document_id: str) -> bool:
        """Forgets a document; False when there was none."""
        self._versions.pop(document_id, None)
        return self._ordinals.pop(document_id, None) is not None

    def version(self, document_id: str) -> int:
        """How many times this id was written (1 for most)."""
        return self._versions.get(document_id, 1)

    def get(self, document_id: str) -> Document | None:
        """The document of this id."""
        ordinal = self._ordinals.get(document_id)
        return None if ordinal is None else self.at(ordinal)

    def at(self, ordinal: int) -> Document:
        """The document by its place in the order of writing."""
        source = bytes(self._sources[self._ends[ordinal] : self._ends[ordinal + 1]])
        return Document(self.index, self._ids[ordinal], source, ordinal)

    def live(self) -> Iterator[int]:
        """The places of the documents that are neither superseded nor removed, in the order of writing."""
        if len(self._ordinals) == len(self._ids):
            yield from range(len(self._ids))
            return
        for ordinal, document_id in enumerate(self._ids):
            if self._ordinals.get(document_id) == ordinal:
                yield ordinal

    @property
    def generation(self) -> tuple[int, int]:
        """Changes whenever the documents change; lets a sorted result be reused."""
        return len(self._ids), len(self._ordinals)
