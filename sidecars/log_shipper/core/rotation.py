"""What rotation does to names: which file of a folder may be an earlier or later generation of a log.

logrotate numbers (`app.log.1`) or dates (`app.log-20261122`, `app-20261122.log`); writers that rotate themselves
do much the same. Used to look for generations that came and went between two looks, and for the file in which a record
goes on that was being written while the log was rotated.
"""

import re

_TAIL = re.compile(r"[._-](?:\d[\d._T:Z+-]*|old|bak|prev)|\d{8}[\d._T:Z+-]*")
"""Without a separator only a date will do: `app2.log` is another log, not a generation of `app.log`."""
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
"""Endings of archives. An archive holds lines that were read before it was made; it is never read."""


def is_archive(name: str) -> bool:
    """Return whether the name is that of a compressed file."""
    return name.lower().endswith(COMPRESSED)


def logs_of(path: str) -> list[str]:
    """Return the logs that `path` can be a rotated generation of: every one for which `is_generation` says so."""
    folder, slash, name = path.rpartition("/")
    if is_archive(name):
        return []
    stem, dot, extension = name.rpartition(".")
    found = [name[:at] for at in range(1, len(name)) if _TAIL.fullmatch(name, at)]
    if dot and stem:
        found += [stem[:at] + dot + extension for at in range(1, len(stem)) if _TAIL.fullmatch(stem, at)]
    return [folder + slash + log for log in found]


def is_generation(name: str, log: str) -> bool:
    """Return whether `name` can be a rotated generation of the log called `log` (both without folder)."""
    if name == log or is_archive(name):
        return False
    if name.startswith(log):
        return _TAIL.fullmatch(name[len(log) :]) is not None
    stem, dot, extension = log.rpartition(".")
    if not dot or not stem or not name.startswith(stem) or not name.endswith(dot + extension):
        return False
    middle = name[len(stem) : len(name) - len(dot + extension)]
    return bool(middle) and _TAIL.fullmatch(middle) is not None
