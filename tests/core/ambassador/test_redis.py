"""Redis's replies, cut anywhere, and the role in them."""

import pytest

from sidecars.ambassador.core.redis import NotRedis, RedisError, command, error, reply, role_of

SLAVE = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:42\r\n"
MASTER = b"*3\r\n$6\r\nmaster\r\n:42\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n$2\r\n42\r\n"


@pytest.mark.parametrize(("raw", "role"), [(SLAVE, "slave"), (MASTER, "master")])
def test_the_role_is_read_when_the_reply_is_whole(raw: bytes, role: str) -> None:
    assert [reply(raw[:length]) for length in range(len(raw))] == [None] * len(raw)
    found = reply(raw + b"+OK\r\n")
    assert found is not None
    assert (role_of(found[0]), found[1]) == (role, b"+OK\r\n")


def test_a_refusal_is_a_value_and_no_role() -> None:
    found = reply(b"-NOAUTH Authentication required.\r\n")
    assert found == (RedisError("NOAUTH Authentication required."), b"")
    assert RedisError("NOAUTH x").word == "NOAUTH"
    for answer in (found[0], ["sentinel", []], [], None, "OK", 3):
        with pytest.raises(NotRedis):
            role_of(answer)
    assert reply(b"$-1\r\n") == (None, b"")


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 400\r\n", b"*x\r\n", b"$-2\r\n", b"$99999999999\r\n", b"*1\r\n" * 6, b":--5\r\n", b"\x16"]
)
def test_what_is_not_redis_is_found_out(raw: bytes) -> None:
    with pytest.raises(NotRedis):
        reply(raw)


def test_commands_and_errors_are_as_redis_wants_them() -> None:
    assert command("AUTH", "ü") == b"*2\r\n$4\r\nAUTH\r\n$2\r\n\xc3\xbc\r\n"
    assert error("no upstream") == b"-ERR no upstream\r\n"
