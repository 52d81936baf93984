"""Files by how they begin: to find what a new one may be a copy of among thousands that have a banner in common."""

from .identity import HEAD_BYTES, FileKey, Head, digest


class Beginnings:
    """Files by the fingerprints of their heads."""

    def __init__(self) -> None:
        self._by_digest: dict[str, list[FileKey]] = {}
        self._lengths: set[int] = set()

    def add(self, head: Head, key: FileKey) -> None:
        """Add a file; one of which nothing is known begins like none."""
        if head.length:
            self._by_digest.setdefault(head.digest, []).append(key)
            self._lengths.add(head.length)

    def of(self, start: bytes) -> list[FileKey]:
        """Return the files with whose head `start` begins. A head ends with a line, with the file or at HEAD_BYTES."""
        found: list[FileKey] = []
        for length in self._lengths:
            if length in (len(start), HEAD_BYTES) or start[length - 1 : length] == b"\n":
                found += self._by_digest.get(digest(start[:length]), ()) if length <= len(start) else ()
        return found
