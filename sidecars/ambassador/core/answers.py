"""What a client is told when it cannot be served, or is ended: in its own protocol, with what happened. Pure.

A client of tcp is told nothing: its connection is reset, which no one takes for an end of data.
"""

import struct

from .causes import Cause
from .postgres import SqlState, error_response
from .redis import error

_SQLSTATES = {
    Cause.NO_UPSTREAM: SqlState.CANNOT_CONNECT_NOW,
    Cause.ROOM_FULL: SqlState.CANNOT_CONNECT_NOW,
    Cause.LIMIT: SqlState.TOO_MANY_CONNECTIONS,
    Cause.BAD_OPENING: SqlState.PROTOCOL_VIOLATION,
    Cause.ROLE_CHANGED: SqlState.ADMIN_SHUTDOWN,
    Cause.DRAINED: SqlState.ADMIN_SHUTDOWN,
    Cause.AGE: SqlState.ADMIN_SHUTDOWN,
    Cause.IDLE: SqlState.IDLE_SESSION_TIMEOUT,
    Cause.STOPPED: SqlState.ADMIN_SHUTDOWN,
}
_HINTS = {
    SqlState.CANNOT_CONNECT_NOW: "Try again.",
    SqlState.ADMIN_SHUTDOWN: "Connect again.",
    SqlState.TOO_MANY_CONNECTIONS: "Raise limits.connections of the ambassador, or use a smaller pool.",
}
_MYSQL_TOO_MANY, _MYSQL_UNREACHABLE = 1040, 2003


def answer(protocol: str, cause: Cause, text: str) -> bytes:
    """Return what a client of a protocol is told in place of an answer of its server; nothing for tcp."""
    text = f"ambassador: {text}"
    if protocol == "postgres":
        sqlstate = _SQLSTATES.get(cause, SqlState.CONNECTION_FAILURE)
        return error_response(sqlstate, text, _HINTS.get(sqlstate, ""))
    if protocol == "redis":
        return error(text)
    if protocol == "mysql":
        number = _MYSQL_TOO_MANY if cause is Cause.LIMIT else _MYSQL_UNREACHABLE
        body = struct.pack("<BH", 0xFF, number) + text.encode()[:400]
        return struct.pack("<I", len(body))[:3] + b"\0" + body
    return b""
