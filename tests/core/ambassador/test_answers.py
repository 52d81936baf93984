"""What a client is told, in the words of its protocol."""

import pytest

from sidecars.ambassador.core.answers import answer
from sidecars.ambassador.core.causes import CONNECT_FAILURES, LASTING, Cause
from sidecars.ambassador.core.postgres import error_fields

SQLSTATES = {
    Cause.NO_UPSTREAM: "57P03",
    Cause.ROOM_FULL: "57P03",
    Cause.LIMIT: "53300",
    Cause.BAD_OPENING: "08P01",
    Cause.ROLE_CHANGED: "57P01",
    Cause.DRAINED: "57P01",
    Cause.STOPPED: "57P01",
    Cause.AGE: "57P01",
    Cause.IDLE: "57P05",
    **dict.fromkeys(CONNECT_FAILURES, "08006"),
}


@pytest.mark.parametrize(("cause", "sqlstate"), SQLSTATES.items())
def test_postgres_gets_an_error_that_its_client_knows_with_what_happened(cause: Cause, sqlstate: str) -> None:
    told = answer("postgres", cause, "db-1 is down")
    assert told[:1] == b"E"
    assert int.from_bytes(told[1:5], "big") == len(told) - 1
    fields = error_fields(told[5:])
    assert (fields["C"], fields["S"], fields["M"]) == (sqlstate, "FATAL", "ambassador: db-1 is down")


def test_what_lasts_is_a_failure_to_connect() -> None:
    assert set(LASTING) < set(CONNECT_FAILURES)


def test_the_other_protocols_get_theirs_and_plain_tcp_gets_nothing() -> None:
    assert answer("redis", Cause.NO_UPSTREAM, "db-1 is down") == b"-ERR ambassador: db-1 is down\r\n"
    packet = answer("mysql", Cause.LIMIT, "too many")
    assert packet == b"\x17\0\0\0\xff\x10\x04ambassador: too many"
    assert answer("mysql", Cause.NO_UPSTREAM, "x" * 1000)[4:7] == b"\xff\xd3\x07"
    assert answer("tcp", Cause.NO_UPSTREAM, "db-1 is down") == b""
