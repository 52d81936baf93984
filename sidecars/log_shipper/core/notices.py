"""What can happen to files, and how it is said."""

from collections.abc import Iterable, Iterator
from enum import StrEnum


class Notice(StrEnum):
    """What a scan may come across; counted and logged by the agent."""

    FOUND = "found"
    RESUMED = "resumed"
    ROTATED = "rotated"
    TRUNCATED = "truncated"
    COPY = "copy"
    MISSED = "missed_generation"
    GONE = "gone"
    LET_GO = "let_go"
    UNREADABLE = "unreadable"
    DESCRIPTORS = "descriptors"


WORTH_A_WARNING = (Notice.UNREADABLE, Notice.DESCRIPTORS, Notice.GONE)
SAID = {
    Notice.FOUND: "following {}",
    Notice.RESUMED: "going on with {}",
    Notice.ROTATED: "{} leads to another file now; the former one is read to its end",
    Notice.TRUNCATED: "{} was truncated or replaced in place; reading it from its start",
    Notice.COPY: "{} is a copy of a truncated file; what was not read yet is read from it",
    Notice.MISSED: "{} was rotated away before it was seen; reading it",
    Notice.GONE: "{} is gone since the last run, with whatever of it had not been acknowledged",
    Notice.LET_GO: "done with {}",
    Notice.UNREADABLE: "cannot open {}: {}; trying again at every scan",
    Notice.DESCRIPTORS: "cannot open {} yet: no descriptor left; it waits its turn (raise nofile)",
}
_SAID_EACH = 10


def texts(notices: Iterable[tuple[Notice, str, str]]) -> Iterator[tuple[Notice, str, str, str]]:
    """Return what to say of what one scan came across, with the path and the reason: a sentence each, or one for many
    files (ten thousand after a restart).
    """
    by_kind: dict[Notice, list[tuple[str, str]]] = {}
    for notice, path, reason in notices:
        by_kind.setdefault(notice, []).append((path, reason))
    for notice, met in by_kind.items():
        more = f" (and {len(met) - 1:,} more files alike)" if len(met) > _SAID_EACH else ""
        for path, reason in met[:1] if more else met:
            yield notice, SAID[notice].format(path, reason) + more, path, reason
