"""The messages of PostgreSQL."""

import pytest

from sidecars.wait_for.core import postgres
from sidecars.wait_for.core.postgres import Encryption, NotPostgres, PostgresError


def test_the_messages_of_postgres_are_as_its_manual_says() -> None:
    assert postgres.SSL_REQUEST.hex() == "0000000804d2162f"
    assert postgres.TERMINATE == b"X\0\0\0\4"
    assert postgres.startup("me", "db") == (b"\0\0\0\x37\0\3\0\0user\0me\0application_name\0wait-for\0database\0db\0\0")
    assert b"database" not in postgres.startup("me", "")


@pytest.mark.parametrize(
    ("answer", "offered"), [(b"S", Encryption.OFFERED), (b"N", Encryption.REFUSED), (b"E\0", None)]
)
def test_the_answer_to_an_ssl_request(answer: bytes, offered: Encryption | None) -> None:
    assert postgres.encryption(answer) is offered


@pytest.mark.parametrize("answer", [b"SS", b"N1", b"H", b"\x4a", b"2", b""])
def test_an_answer_that_is_not_of_postgres(answer: bytes) -> None:
    with pytest.raises(NotPostgres):
        postgres.encryption(answer)


@pytest.mark.parametrize("head", [b"R\0\0\0\3", b"E\x7f\xff\xff\xff", b"HTTP/", b"Z\0\0\0\5"])
def test_a_message_that_is_not_of_postgres(head: bytes) -> None:
    with pytest.raises(NotPostgres):
        postgres.body_bytes(head)


def test_an_error_of_postgres_is_read() -> None:
    starting = postgres.refusal(b"SFATAL\0C57P03\0Mthe database system is starting up\0\0")
    assert starting == PostgresError("57P03", "the database system is starting up")
    assert (starting.is_starting, starting.is_about_us) == (True, False)
    assert postgres.refusal(b"C28P01\0").is_about_us
    with pytest.raises(NotPostgres):
        postgres.refusal(b"Mno SQLSTATE\0")
    assert (postgres.is_authenticated(b"\0\0\0\0"), postgres.is_authenticated(b"\0\0\0\x0aSCRAM")) == (True, False)
