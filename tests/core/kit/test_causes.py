"""Which cause an error of the system has."""

import errno

import pytest

from sidecars.kit.net.core.causes import ConnectCause, EndCause, connect_cause, end_cause

ENDS = {
    errno.ECONNRESET: EndCause.RESET,
    errno.EPIPE: EndCause.RESET,
    errno.ETIMEDOUT: EndCause.VANISHED,
    errno.EHOSTUNREACH: EndCause.UNREACHABLE,
    None: EndCause.RESET,
}
CONNECTS = {
    errno.ECONNREFUSED: ConnectCause.REFUSED,
    errno.ETIMEDOUT: ConnectCause.TIMED_OUT,
    errno.ENETUNREACH: ConnectCause.UNREACHABLE,
    errno.EMFILE: ConnectCause.EXHAUSTED,
    errno.EAGAIN: ConnectCause.EXHAUSTED,
}


@pytest.mark.parametrize(("number", "cause"), ENDS.items())
def test_why_a_connection_ended(number: int | None, cause: EndCause) -> None:
    assert end_cause(number) is cause


@pytest.mark.parametrize(("number", "cause"), CONNECTS.items())
def test_why_there_is_no_connection(number: int, cause: ConnectCause) -> None:
    assert connect_cause(number) is cause
