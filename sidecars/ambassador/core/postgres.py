"""As much of PostgreSQL's protocol as a relay has to understand that owns the TLS leg: how a connection opens, what the
server says until the first ReadyForQuery, and the errors that a client understands.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", Message Formats; a key of variable length and protocol
3.2 since PostgreSQL 18.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

SSL_REQUEST = struct.pack("!II", 8, 80877103)
TERMINATE = struct.pack("!cI", b"X", 4)
ALPN = "postgresql"
"""What a server asks for that takes TLS without SSLRequest (since PostgreSQL 17)."""
NO = b"N"
_SSL, _GSSENC, _CANCEL = 80877103, 80877104, 80877102
_LONGEST_OPENING_BYTES = 10000  # MAX_STARTUP_PACKET_LENGTH of the server
_LONGEST_LOGIN_BYTES = 1 << 20
_LONGEST_KEY_BYTES = 256
_TLS_RECORD = 0x16
_SASL = 10
_PLUS = b"-PLUS"
_IDLE = b"Z\0\0\0\5I"
_STANDBY = b"in_hot_standby\0on\0"


class SqlState(StrEnum):
    """The SQLSTATEs that we say ourselves, as libpq and its users know them."""

    ADMIN_SHUTDOWN = "57P01"
    """An idle session is ended: the client opens another one."""
    IDLE_SESSION_TIMEOUT = "57P05"
    CANNOT_CONNECT_NOW = "57P03"
    """Nothing is usable now: try again."""
    CONNECTION_FAILURE = "08006"
    TOO_MANY_CONNECTIONS = "53300"
    PROTOCOL_VIOLATION = "08P01"


class BadOpening(ValueError):
    """What a client sent first is not PostgreSQL; the message says what it may be."""


class BrokenServer(ValueError):
    """What a server sent is not PostgreSQL."""


class Ask(StrEnum):
    """What a client opens a connection with."""

    SSL = "ssl"
    GSSENC = "gssenc"
    CANCEL = "cancel"
    STARTUP = "startup"


@dataclass(frozen=True, slots=True)
class ClientOpening:
    """One packet without a type byte, whole, as it came. `key` of a cancel: process id and secret key."""

    ask: Ask
    raw: bytes
    key: bytes = b""


def opening(received: bytes) -> ClientOpening | None:
    """Return the first packet of what a client sent, None when it is not whole yet. Raise BadOpening."""
    if received[:1] and received[0] == _TLS_RECORD:
        raise BadOpening("it begins with TLS; the ambassador does TLS itself: connect with sslmode=disable or prefer")
    if len(received) < 4:
        return None
    (length,) = struct.unpack_from("!I", received)
    if not 8 <= length <= _LONGEST_OPENING_BYTES:
        raise BadOpening("it does not begin as PostgreSQL does")
    if len(received) < length:
        return None
    raw = received[:length]
    (code,) = struct.unpack_from("!I", raw, 4)
    if code in {_SSL, _GSSENC} and length == 8:
        return ClientOpening(Ask.SSL if code == _SSL else Ask.GSSENC, raw)
    if code == _CANCEL and 16 <= length <= 12 + _LONGEST_KEY_BYTES:
        return ClientOpening(Ask.CANCEL, raw, raw[8:])
    if code >> 16 == 3:
        return ClientOpening(Ask.STARTUP, raw)
    raise BadOpening(f"it asks for protocol {code >> 16}.{code & 0xFFFF}, which is not PostgreSQL 3")


def startup(user: str, database: str, application: str) -> bytes:
    """Return a StartupMessage of protocol 3.0."""
    pairs = [("user", user), ("database", database or user), ("application_name", application)]
    body = b"".join(part.encode() + b"\0" for pair in pairs for part in pair) + b"\0"
    return struct.pack("!II", len(body) + 8, 3 << 16) + body


def message(kind: bytes, body: bytes) -> bytes:
    """Return a message with its type and length."""
    return struct.pack("!cI", kind, len(body) + 4) + body


def error_response(sqlstate: SqlState, text: str, hint: str = "") -> bytes:
    """Return a FATAL ErrorResponse: the client shows its text, and takes the connection for closed."""
    fields = [("S", "FATAL"), ("V", "FATAL"), ("C", sqlstate.value), ("M", text)]
    fields += [("H", hint)] if hint else []
    return message(b"E", b"".join(f"{name}{value}".encode() + b"\0" for name, value in fields) + b"\0")


def error_fields(body: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse by their letters."""
    parts = [part.decode(errors="replace") for part in body.split(b"\0")]
    return {part[0]: part[1:] for part in parts if part}


class MessageReader:
    """Cuts what a server sends into messages."""

    __slots__ = ("_longest_bytes", "rest")

    def __init__(self, longest_bytes: int = _LONGEST_LOGIN_BYTES) -> None:
        self._longest_bytes = longest_bytes
        self.rest = b""
        """What has come of a message that is not whole yet."""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return type and body of every message that is whole now. Raise BrokenServer."""
        self.rest += data
        found = []
        while (one := self.next()) is not None:
            found.append(one)
        return found

    def next(self) -> tuple[bytes, bytes] | None:
        """Return type and body of the next message, None when it is not whole yet. Raise BrokenServer."""
        if len(self.rest) < 5:
            return None
        kind, length = struct.unpack_from("!cI", self.rest)
        if not kind.isalnum() or not 4 <= length <= self._longest_bytes:
            raise BrokenServer("the server does not speak PostgreSQL")
        if len(self.rest) < length + 1:
            return None
        body = self.rest[5 : length + 1]
        self.rest = self.rest[length + 1 :]
        return kind, body


def authentication(body: bytes) -> int:
    """Return what an Authentication message asks for. Raise BrokenServer."""
    if len(body) < 4:
        raise BrokenServer("it asks for a login in no way that PostgreSQL knows")
    return int.from_bytes(body[:4], "big")


def mechanisms(body: bytes) -> list[bytes]:
    """Return the SASL mechanisms that an Authentication message offers; none when it offers none."""
    if len(body) < 5 or struct.unpack_from("!I", body)[0] != _SASL:
        return []
    return [name for name in body[4:].split(b"\0") if name]


def without_channel_binding(body: bytes) -> bytes:
    """Return an Authentication message without mechanisms that bind to the TLS connection.

    That one is ours and not the client's: libpq ends a connection that offers them where it has no TLS itself.
    """
    offered = mechanisms(body)
    if not any(name.endswith(_PLUS) for name in offered):
        return body
    kept = [name for name in offered if not name.endswith(_PLUS)]
    return body[:4] + b"".join(name + b"\0" for name in kept) + b"\0"


class ServerStream:
    """What one server sends to one client: read until the first ReadyForQuery, then only looked at from behind.

    What follows the login is not parsed: whether a session is idle shows in its last six bytes.
    """

    __slots__ = (
        "_asked", "_reader", "_tail", "is_authenticated", "is_ready", "is_standby", "key",
        "offers_only_channel_binding", "refusal",
    )  # fmt: skip

    def __init__(self) -> None:
        self._reader = MessageReader()
        self._tail = b""
        self._asked = False
        self.key = b""
        """Process id and secret key, with which the session can be cancelled."""
        self.is_authenticated = False
        self.is_ready = False
        """Whether the first ReadyForQuery has come."""
        self.refusal = ""
        """SQLSTATE of the error that ended the login."""
        self.offers_only_channel_binding = False
        self.is_standby = False
        """Whether the server has said in the login that it takes no writes (since PostgreSQL 14)."""

    def looked_at(self, data: bytes | memoryview) -> None:
        """See what the server says once the session is ready; it passes as it is."""
        self._tail = bytes(data[-6:]) if len(data) >= 6 else (self._tail + bytes(data))[-6:]
        self._asked = False

    def from_server(self, data: bytes) -> bytes:
        """Return what to pass on. Raise BrokenServer."""
        if self.is_ready:
            self.looked_at(data)
            return data
        found = self._login(data)
        out = [message(kind, self._seen(kind, body)) for kind, body in found]
        if found and found[-1][0] == b"Z":
            rest, self._reader.rest = self._reader.rest, b""
            out.append(rest)
            self.looked_at(b"".join(out))
        return b"".join(out)

    def from_client(self) -> None:
        """Say that the client has sent something."""
        self._asked = True

    @property
    def is_idle(self) -> bool:
        """Whether the session waits for the client, outside of a transaction: it can be ended politely."""
        return self.is_ready and not self._asked and self._tail == _IDLE

    @property
    def can_be_told(self) -> bool:
        """Whether the client waits for nothing, be it in a transaction: what we say then is taken for the server's."""
        return self.is_ready and not self._asked and self._tail[:5] == _IDLE[:5]

    def _login(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the messages up to the first ReadyForQuery; what follows it stays in the reader."""
        self._reader.rest += data
        found = []
        while not self.is_ready and (one := self._reader.next()) is not None:
            found.append(one)
            self.is_ready = one[0] == b"Z"
        return found

    def _seen(self, kind: bytes, body: bytes) -> bytes:
        """Return the body to pass on."""
        if kind == b"R":
            self.is_authenticated |= body[:4] == b"\0\0\0\0"
            kept = without_channel_binding(body)
            self.offers_only_channel_binding |= kept != body and not mechanisms(kept)
            return kept
        if kind == b"K":
            self.key = body
        elif kind == b"S" and body == _STANDBY:
            self.is_standby = True
        elif kind == b"E":
            self.refusal = error_fields(body).get("C", "")
        return body
