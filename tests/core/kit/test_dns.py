"""SRV records: which names are asked for, and which answers are believed."""

import struct

import pytest

from sidecars.kit.net.core.dns import (
    SRV,
    AskByTcp,
    NameServers,
    NoAnswer,
    Service,
    candidates,
    read_resolv_conf,
    read_services,
    write_query,
)

NAME = "_postgres._tcp.db.svc"
TARGET = b"\x04db-1\xc0\x0c"  # db-1 in front of the name that was asked for


def labels(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def record(priority: int, weight: int, port: int, target: bytes, kind: int = SRV) -> bytes:
    body = struct.pack("!HHH", priority, weight, port) + target
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 30, len(body)) + body


def answer(*records: bytes, number: int = 7, flags: int = 0x8180, name: str = NAME) -> bytes:
    head = struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0)
    return head + labels(name) + struct.pack("!HH", SRV, 1) + b"".join(records)


def test_a_question_is_one_that_a_server_reads() -> None:
    query = write_query(7, NAME)
    assert query.startswith(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 1) + labels(NAME) + struct.pack("!HH", SRV, 1))
    for name in ("", "a..b", "x" * 64 + ".b", ".".join(["abcdefgh"] * 40)):
        with pytest.raises(ValueError, match="is no name"):
            write_query(1, name)


def test_the_best_server_comes_first() -> None:
    data = answer(
        record(10, 5, 5432, labels("c.svc")), record(1, 1, 5433, TARGET), record(1, 9, 5432, labels("b.svc")),
        record(0, 0, 0, b"\0"), record(0, 0, 1, labels("not-srv"), kind=1),
    )  # fmt: skip
    assert read_services(data, 7, NAME.upper()) == (
        Service(1, 9, 5432, "b.svc"), Service(1, 1, 5433, f"db-1.{NAME}"), Service(10, 5, 5432, "c.svc"),
    )  # fmt: skip


def test_a_name_that_is_not_there_has_no_servers() -> None:
    assert read_services(answer(flags=0x8183), 7, NAME) == ()


NO_ANSWER = {
    "another number": answer(number=8),
    "another name": answer(name="_evil._tcp.db.svc"),
    "a question": answer(flags=0x0100),
    "a failed server": answer(flags=0x8182),
    "a refusing server": answer(flags=0x8185),
    "a name that leads to itself": answer(record(1, 1, 1, b"\xc0" + bytes([len(answer()) + 18]))),
    "nothing": b"",
    "a cut answer": answer(record(1, 1, 5432, TARGET))[:-4],
}


@pytest.mark.parametrize("data", NO_ANSWER.values(), ids=NO_ANSWER)
def test_what_is_no_answer_is_not_believed(data: bytes) -> None:
    with pytest.raises(NoAnswer):
        read_services(data, 7, NAME)


def test_a_truncated_answer_says_so() -> None:
    with pytest.raises(AskByTcp):
        read_services(answer(flags=0x8380), 7, NAME)


def test_resolv_conf_is_read_as_in_a_pod() -> None:
    text = "search ns.svc.cluster.local svc.cluster.local. \n# x\nnameserver 10.96.0.10\noptions ndots:5 timeout:1\n"
    servers = read_resolv_conf(text)
    assert servers == NameServers(("10.96.0.10",), ("ns.svc.cluster.local", "svc.cluster.local"), 5)
    assert candidates(NAME, servers) == (f"{NAME}.ns.svc.cluster.local", f"{NAME}.svc.cluster.local", NAME)
    assert candidates(NAME + ".", servers) == (NAME,)
    assert candidates("a.b", NameServers((), ("d",), 1)) == ("a.b", "a.b.d")
    assert read_resolv_conf("").addresses == ("127.0.0.1",)
