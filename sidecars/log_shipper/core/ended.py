"""Files that are gone: so that the next one with their inode and first line gets other document ids.

Inodes are reused at once, and copytruncate keeps them; a banner makes first lines alike. Without this the first
line of the new file would have the id of the old one's and be taken for a duplicate: a lost line.
"""

from collections import OrderedDict
from collections.abc import Iterable

from .checkpoint import EndedFile
from .identity import FileKey

_REMEMBERED = 4096
"""Least recently ended ones beyond this are forgotten; about 100 bytes each in the checkpoint."""


class EndedFiles:
    """The last generation by inode and first line."""

    def __init__(self, known: Iterable[EndedFile] = ()) -> None:
        self._generations: OrderedDict[tuple[FileKey, str], EndedFile] = OrderedDict()
        for ended in known:
            self.note(ended.key, ended.first_line, ended.generation)

    def note(self, key: FileKey, first_line: str, generation: int) -> None:
        """Note that a file is over. One without a first line had no documents, so there is nothing to remember."""
        if first_line:
            before = self._generations.pop((key, first_line), None)
            latest = generation if before is None else max(generation, before.generation)
            self._generations[key, first_line] = EndedFile(key, first_line, latest)
            if len(self._generations) > _REMEMBERED:
                self._generations.popitem(last=False)

    def next_generation(self, key: FileKey, first_line: str) -> int:
        """Return the generation of a file that appears now."""
        before = self._generations.get((key, first_line))
        return 0 if before is None else before.generation + 1

    def listed(self) -> list[EndedFile]:
        """Return all of them, for the checkpoint."""
        return list(self._generations.values())
