"""What can happen to files, and how it is said."""

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
