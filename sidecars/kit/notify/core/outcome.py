"""How one attempt to notify ended: a value that every adapter (signal, webhook, exec) returns; what follows from it is
decided by the sidecar.
"""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """The closed list of how an attempt can end; label `outcome` of the attempts metric."""

    OK = "ok"
    REJECTED = "rejected"
    """A validator looked at the content and said no: the same content will be refused again."""
    FAILED = "failed"
    """It was there and did not do it: exit status, HTTP status."""
    UNREACHABLE = "unreachable"
    """Not there yet, or not to the end: nobody listens, no such process, no handler for the signal, killed."""
    TIMEOUT = "timeout"
    DENIED = "denied"
    """We may not, or our own files cannot be used: EPERM, an unreadable credentials file, a command that is missing."""
    UNCONFIRMED = "unconfirmed"
    """Notified, but it did not take effect in time."""
    SUPERSEDED = "superseded"
    """Newer content came while we waited."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, and one line for people: names the object and the remedy, never a credential, header or body."""

    result: Result
    detail: str = ""
    doubt: str = ""
    """Why what was done may not have been what was wanted."""

    @property
    def ok(self) -> bool:
        """Return whether the step did its work."""
        return self.result is Result.OK


OK = Outcome(Result.OK)


def one_line(text: str) -> str:
    """Return what a program or a server said, fit for a line of the log: printable, and without breaks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
