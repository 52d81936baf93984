"""As much of PostgreSQL's protocol as it takes to see whether a server takes connections.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", Message Formats; what counts as ready follows libpq's
PQping (src/interfaces/libpq/fe-connect.c, internal_ping).
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

SSL_REQUEST = struct.pack("!II", 8, 80877103)
TERMINATE = struct.pack("!cI", b"X", 4)
HEAD_BYTES = 5
"""A message begins with its type (one byte) and its length (four, counting themselves)."""
_LONGEST_BYTES = 30000
"""libpq takes no longer message for an error, and none before the login that is longer."""
_PROTOCOL_3_0 = 3 << 16
_STARTING = "57P03"
"""cannot_connect_now: starting up, shutting down, in recovery."""
_AUTHORIZATION = "28"
"""Class of the errors that mean: the server works and does not know us."""


class Encryption(StrEnum):
    """The answer to SSLRequest."""

    OFFERED = "S"
    REFUSED = "N"


class NotPostgres(ValueError):
    """What came is not of this protocol."""

    def __init__(self) -> None:
        super().__init__("it answered something that is not PostgreSQL")


@dataclass(frozen=True, slots=True)
class PostgresError:
    """An ErrorResponse: its SQLSTATE and its message."""

    sqlstate: str
    message: str

    @property
    def is_starting(self) -> bool:
        """Return whether the server says that it takes no connections now."""
        return self.sqlstate == _STARTING

    @property
    def is_about_us(self) -> bool:
        """Return whether it refuses us, not everybody."""
        return self.sqlstate.startswith(_AUTHORIZATION)


def startup(user: str, database: str) -> bytes:
    """Return a StartupMessage. Neither may hold a NUL."""
    pairs = [("user", user), ("application_name", "wait-for")]
    if database:
        pairs.append(("database", database))
    body = b"".join(f"{name}\0{value}\0".encode(errors="surrogateescape") for name, value in pairs) + b"\0"
    return struct.pack("!II", len(body) + 8, _PROTOCOL_3_0) + body


def encryption(answer: bytes) -> Encryption | None:
    """Read the first bytes after SSLRequest; None: an ErrorResponse begins. Raise NotPostgres for all else.

    One byte is the whole answer: SSH begins with an S as well, and goes on.
    """
    if answer in {b"S", b"N"}:
        return Encryption(answer.decode())
    if answer.startswith(b"E"):
        return None
    raise NotPostgres


def body_bytes(head: bytes) -> int:
    """Return how many bytes follow the head of a message. Raise NotPostgres when that cannot be."""
    kind, length = struct.unpack("!cI", head)
    if kind not in {b"R", b"E", b"N", b"v"} or not 4 <= length <= _LONGEST_BYTES:
        raise NotPostgres
    return int(length) - 4


def refusal(body: bytes) -> PostgresError:
    """Read an ErrorResponse. Raise NotPostgres when it has no SQLSTATE, which every one has."""
    parts = [part.decode(errors="replace") for part in body.split(b"\0")]
    fields = {part[0]: part[1:] for part in parts if part}
    if not fields.get("C"):
        raise NotPostgres
    return PostgresError(fields["C"], fields.get("M", ""))


def is_authenticated(body: bytes) -> bool:
    """Return whether an authentication message says that nothing more is asked for; only then may TERMINATE follow."""
    return body[:4] == struct.pack("!I", 0)
