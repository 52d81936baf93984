"""Why a connection ended, or was not made: a closed list, the label of a metric and a field of its log line.

Exists beside the causes of `kit.net` because an operator searches for one list: what ended a session, what kept it from
being made, and what we decided ourselves.
"""

from enum import StrEnum

SIDES = ("client", "upstream", "sidecar")
"""Who ended a connection, in the words of `kit.net`."""


class Cause(StrEnum):
    """Why a connection ended, or was not made. At most 25: people learn them."""

    FINISHED = "finished"
    """Both sides have said that they are done."""
    RESET = "reset"
    TRUNCATED = "truncated"
    """TLS ended without close_notify: something may be missing."""
    VANISHED = "vanished"
    """The peer acknowledges nothing, and answers no keep-alive."""
    IDLE = "idle"
    AGE = "age"
    NO_NAME = "no_name"
    REFUSED = "refused"
    """Nothing listens there, or it ended the connection before it was of use, or it is starting up."""
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    EXHAUSTED = "exhausted"
    """We have no descriptors, ports or memory left."""
    TLS_FAILED = "tls_failed"
    TLS_REFUSED = "tls_refused"
    """The server says that it has no TLS; nothing is ever sent in plain text in place of it."""
    BYTES_BEFORE_TLS = "bytes_before_tls"
    """Bytes followed the server's `S`: somebody in between has put them there (CVE-2021-23222)."""
    UNTRUSTED = "untrusted"
    """The server's certificate is of no authority of ours, has expired, or is not valid yet."""
    WRONG_NAME = "wrong_name"
    """The server's certificate is good, and for somebody else."""
    IDENTITY_REFUSED = "identity_refused"
    """The server does not take our certificate, or asks for one and there is none."""
    BROKEN_UPSTREAM = "broken_upstream"
    """What the upstream sent is not of the listener's protocol."""
    BAD_OPENING = "bad_opening"
    """What the client sent first is not of the listener's protocol, or nothing came."""
    NO_UPSTREAM = "no_upstream"
    """No upstream of the wanted role was usable for as long as the connection was parked."""
    ROOM_FULL = "room_full"
    """Too many connections are parked already."""
    LIMIT = "limit"
    """As many connections as limits.connections says were served for as long as this one was parked."""
    ROLE_CHANGED = "role_changed"
    DRAINED = "drained"
    """Moved to another node: POST /drain or /failover, or its address has left the DNS."""
    STOPPED = "stopped"


CONNECT_FAILURES = (
    Cause.NO_NAME,
    Cause.REFUSED,
    Cause.UNREACHABLE,
    Cause.TIMED_OUT,
    Cause.EXHAUSTED,
    Cause.TLS_FAILED,
    Cause.TLS_REFUSED,
    Cause.BYTES_BEFORE_TLS,
    Cause.UNTRUSTED,
    Cause.WRONG_NAME,
    Cause.IDENTITY_REFUSED,
    Cause.BROKEN_UPSTREAM,
)
"""What can keep a connection to an upstream from being made."""

LASTING = (
    Cause.TLS_REFUSED,
    Cause.BYTES_BEFORE_TLS,
    Cause.UNTRUSTED,
    Cause.WRONG_NAME,
    Cause.IDENTITY_REFUSED,
)
"""What stays until somebody acts: waiting for it only hides it."""

_FROM_KIT = {
    "refused": Cause.REFUSED,
    "ended": Cause.REFUSED,
    "tls_broken": Cause.TLS_FAILED,
    "half_closed": Cause.IDLE,
}


def cause(word: str) -> Cause:
    """Return the cause for one of the causes of `kit.net`."""
    return _FROM_KIT.get(word) or Cause(word)
