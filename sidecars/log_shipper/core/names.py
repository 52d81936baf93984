"""Which file each path led to, to notice that it leads to another one now."""

from collections.abc import Mapping

from .identity import FileKey


class Names:
    """The last known file of each path."""

    def __init__(self, known: Mapping[str, FileKey]) -> None:
        self._known = dict(known)

    def changed(self, found: Mapping[str, FileKey], modified_ns: Mapping[FileKey, int]) -> dict[str, int]:
        """Take what the paths lead to now; returns those that led to another file before, with the modification time
        of that file. `modified_ns` holds the files that are still known.

        A path that leads nowhere for the moment, between rename and create, is remembered as long as its file is.
        """
        rotated = {
            path: modified_ns[before]
            for path, key in found.items()
            if (before := self._known.get(path, key)) != key and before in modified_ns
        }
        kept = {path: key for path, key in self._known.items() if key in modified_ns}
        self._known = {**kept, **found}
        return rotated
