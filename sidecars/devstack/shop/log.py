"""The shop's log file: one JSON object a line, in the names of the Elastic Common Schema, for the log shipper to find.

A line is in the file before its request is answered. So whoever has an answer can look for its line, whatever is
killed afterwards: what was written to a file outlives the process that wrote it (write(2): page cache).
"""

import os
from datetime import UTC, datetime
from typing import Any

import msgspec

_MODE = 0o644


class Journal:
    """An append-only log. Raises: OSError when the file cannot be opened or written."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)
        self._torn = _ends_within_a_line(path)

    def write(self, message: str, fields: dict[str, Any], level: str = "info") -> None:
        """Appends one line. After a line that a full disk or a kill cut short, the next begins on a line of its own."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"@timestamp": now, "log": {"level": level}, "message": message, **fields}
        left = memoryview((b"\n" if self._torn else b"") + msgspec.json.encode(line) + b"\n")
        while left:
            taken = os.write(self._file, left)
            left = left[taken:]
            self._torn = bool(left)

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._file)


def _ends_within_a_line(path: str) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
