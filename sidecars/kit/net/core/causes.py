"""Why a connection ended, or never came about: closed lists, for logs and for the labels of metrics."""

import errno
from enum import StrEnum


class EndCause(StrEnum):
    """Why a connection that was open ended. Whoever closes from outside brings a cause of their own."""

    FINISHED = "finished"
    """Both sides said that nothing more comes from them, and all of it has arrived."""
    RESET = "reset"
    TRUNCATED = "truncated"
    """TLS ended without close_notify: what came before may not be all (RFC 8446, 6.1)."""
    VANISHED = "vanished"
    """No answer to keep-alive or to data (TCP_USER_TIMEOUT)."""
    UNREACHABLE = "unreachable"
    TLS_BROKEN = "tls_broken"
    """What came is no TLS record, or a fatal alert."""
    IDLE = "idle"
    AGE = "age"
    HALF_CLOSED = "half_closed"
    """One side ended long ago, and the other one has said nothing since."""


class ConnectCause(StrEnum):
    """Why there is no connection."""

    NO_NAME = "no_name"
    """The name has no address, or no name server answered and there is no earlier answer."""
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    EXHAUSTED = "exhausted"
    """No descriptors, ports or memory: ours, not theirs."""
    ENDED = "ended"
    """The other side closed before the connection was of use."""
    TLS_FAILED = "tls_failed"
    """No common version or cipher, or what answered is not TLS."""
    UNTRUSTED = "untrusted"
    """The certificate is of none of our authorities, expired, or not valid yet."""
    WRONG_NAME = "wrong_name"
    """The certificate is good, and not of whom we asked for."""
    IDENTITY_REFUSED = "identity_refused"
    """The other side does not take our certificate, or asks for one that we do not have."""


_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.ENOENT}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}


def end_cause(number: int | None) -> EndCause:
    """Return why an open connection ended, from the errno of the operation that failed."""
    if number == errno.ETIMEDOUT:
        return EndCause.VANISHED
    return EndCause.UNREACHABLE if number in _UNREACHABLE else EndCause.RESET


def connect_cause(number: int | None) -> ConnectCause:
    """Return why connect(2) failed."""
    if number == errno.ETIMEDOUT:
        return ConnectCause.TIMED_OUT
    if number in _EXHAUSTED:
        return ConnectCause.EXHAUSTED
    return ConnectCause.UNREACHABLE if number in _UNREACHABLE else ConnectCause.REFUSED
