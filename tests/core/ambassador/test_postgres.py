"""PostgreSQL as a relay sees it: openings, the login, what is kept from the client, and when a session is idle."""

import struct

import pytest

from sidecars.ambassador.core.postgres import (
    Ask,
    BadOpening,
    BrokenServer,
    ServerStream,
    SqlState,
    authentication,
    error_fields,
    error_response,
    mechanisms,
    message,
    opening,
    startup,
)

SSL = bytes.fromhex("0000000804d2162f")
GSSENC = bytes.fromhex("0000000804d21630")
LONG_KEY = bytes(range(200))
CANCEL = struct.pack("!II", 16, 80877102) + b"\0\0\0\7\1\2\3\4"
CANCEL_LONG = struct.pack("!II", 12 + 200, 80877102) + b"\0\0\0\7" + LONG_KEY
IDLE = message(b"Z", b"I")
OPENINGS = {
    "SSLRequest": (SSL, Ask.SSL, b""),
    "GSSENCRequest": (GSSENC, Ask.GSSENC, b""),
    "a cancel of protocol 3.0": (CANCEL, Ask.CANCEL, b"\0\0\0\7\1\2\3\4"),
    "a cancel with a long key": (CANCEL_LONG, Ask.CANCEL, b"\0\0\0\7" + LONG_KEY),
    "a start": (startup("u", "d", "a"), Ask.STARTUP, b""),
    "protocol 3.2": (struct.pack("!II", 9, (3 << 16) + 2) + b"\0", Ask.STARTUP, b""),
}
BAD = {
    "TLS": b"\x16\x03\x01\0\1",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "too short": struct.pack("!I", 4),
    "too long": struct.pack("!I", 10001),
    "protocol 2": struct.pack("!II", 8, 2 << 16),
    "a cancel without a key": struct.pack("!III", 12, 80877102, 7),
    "a cancel with too long a key": struct.pack("!II", 12 + 257, 80877102) + b"\0\0\0\7" + bytes(257),
}


@pytest.mark.parametrize(("raw", "ask", "key"), OPENINGS.values(), ids=OPENINGS.keys())
def test_an_opening_is_read_when_it_is_whole_and_nothing_after_it(raw: bytes, ask: Ask, key: bytes) -> None:
    assert [opening(raw[:length]) for length in range(len(raw))] == [None] * len(raw), "it was not whole"
    found = opening(raw + b"more")
    assert found is not None
    assert (found.ask, found.raw, found.key) == (ask, raw, key)


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_what_is_not_postgres_is_refused_at_its_first_bytes(raw: bytes) -> None:
    with pytest.raises(BadOpening):
        opening(raw)


def sasl(*names: str) -> bytes:
    return message(b"R", struct.pack("!I", 10) + b"".join(name.encode() + b"\0" for name in names) + b"\0")


LOGIN = (
    message(b"R", struct.pack("!I", 0))
    + message(b"S", b"in_hot_standby\0off\0")
    + message(b"K", b"\0\0\0\7" + LONG_KEY)
    + IDLE
)


@pytest.mark.parametrize("step", [1, 3, 7, 10_000])
def test_channel_binding_is_taken_out_of_the_offer_however_it_is_cut(step: int) -> None:
    stream, sent = ServerStream(), sasl("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256") + LOGIN + b"later bytes, whatever"
    got = b"".join(stream.from_server(sent[at : at + step]) for at in range(0, len(sent), step))
    assert got == sasl("SCRAM-SHA-256") + LOGIN + b"later bytes, whatever"
    assert stream.key == b"\0\0\0\7" + LONG_KEY
    assert stream.is_authenticated
    assert stream.is_ready


def test_other_messages_of_the_login_are_left_as_they_are() -> None:
    for sent in (sasl("SCRAM-SHA-256"), message(b"R", struct.pack("!I", 3)), message(b"v", b"\0\0\0\0\0\0\0\0")):
        assert ServerStream().from_server(sent) == sent
    only = ServerStream()
    assert mechanisms(only.from_server(sasl("SCRAM-SHA-256-PLUS"))[5:]) == []
    assert only.offers_only_channel_binding


def test_an_error_of_the_login_is_known_by_its_sqlstate() -> None:
    stream = ServerStream()
    sent = error_response(SqlState.CANNOT_CONNECT_NOW, "starting up", "wait")
    assert stream.from_server(sent) == sent
    assert stream.refusal == "57P03"
    assert error_fields(sent[5:]) == {
        "S": "FATAL", "V": "FATAL", "C": "57P03", "M": "starting up", "H": "wait"
    }  # fmt: skip


@pytest.mark.parametrize("sent", [b"HTTP/1.1 400", b"R\0\0\0\3", b"R\x7f\xff\xff\xff"])
def test_a_server_that_is_not_postgres_is_found_out(sent: bytes) -> None:
    with pytest.raises(BrokenServer):
        ServerStream().from_server(sent)


def test_a_session_is_idle_between_the_answer_and_the_next_query_and_not_in_a_transaction() -> None:
    stream = ServerStream()

    def seen() -> tuple[bool, bool]:
        return stream.is_idle, stream.can_be_told

    stream.from_client()
    assert seen() == (False, False), "it has not logged in"
    stream.from_server(LOGIN)
    assert seen() == (True, True)
    stream.from_client()
    assert seen() == (False, False), "it was asked something"
    stream.from_server(message(b"D", b"row"))
    assert seen() == (False, False)
    stream.from_server(IDLE[:2])
    stream.from_server(IDLE[2:])
    assert seen() == (True, True), "the answer came in two pieces"
    stream.looked_at(memoryview(message(b"Z", b"T")))
    assert seen() == (False, True), "a transaction is open: it is not idle, and can be told"


def test_a_standby_says_so_in_the_login() -> None:
    primary, standby = ServerStream(), ServerStream()
    primary.from_server(LOGIN)
    standby.from_server(message(b"S", b"in_hot_standby\0on\0"))
    assert (primary.is_standby, standby.is_standby) == (False, True)


@pytest.mark.parametrize("body", [b"", b"\0\0\0"])
def test_a_login_that_asks_for_nothing_is_no_postgresql(body: bytes) -> None:
    with pytest.raises(BrokenServer):
        authentication(body)
