"""When a target is ready, what follows for all, and how it is told."""

import itertools
import random

import pytest

from sidecars.runtime import Backoff
from sidecars.runtime.life.status import MESSAGE_BYTES, cut
from sidecars.wait_for.core import postgres
from sidecars.wait_for.core.conditions import unmet
from sidecars.wait_for.core.parse import parse
from sidecars.wait_for.core.postgres import Encryption, NotPostgres, Refusal
from sidecars.wait_for.core.schedule import BASE_SECONDS, Pace, Schedule, progress_pauses
from sidecars.wait_for.core.target import Http
from sidecars.wait_for.core.verdict import End, Verdict


class Listed:
    """Pauses from a list."""

    def __init__(self, *pauses: float) -> None:
        self._pauses = pauses
        self._at = 0

    def next(self) -> float:
        self._at += 1
        return self._pauses[min(self._at, len(self._pauses)) - 1]

    def reset(self) -> None:
        self._at = 0


def test_without_a_stable_time_the_first_success_is_enough() -> None:
    schedule = Schedule(Pace(0.0, 2.0), Listed(0.1))
    assert [schedule.failed(), schedule.succeeded(5.0)] == [0.1, None]


def test_a_stable_target_is_ready_when_it_was_up_for_so_long() -> None:
    schedule = Schedule(Pace(10.0, 3.0), Listed(0.1))
    assert [schedule.succeeded(at) for at in (0.0, 2.0, 9.5)] == [2.0, 2.0, 0.5]
    assert schedule.up_seconds(9.5) == 9.5
    assert schedule.succeeded(10.0) is None


def test_a_failure_begins_the_stable_time_anew() -> None:
    schedule = Schedule(Pace(10.0, 3.0), Listed(0.1, 0.2))
    assert schedule.succeeded(0.0) is not None
    assert schedule.failed() == 0.1
    assert schedule.up_seconds(9.0) == 0.0
    assert schedule.succeeded(9.0) is not None
    assert schedule.succeeded(18.9) is not None
    assert schedule.succeeded(19.0) is None


def test_failures_back_off_and_a_success_begins_again_with_short_pauses() -> None:
    schedule = Schedule(Pace(10.0, 3.0), Listed(0.1, 0.2, 0.4))
    assert [schedule.failed(), schedule.failed(), schedule.succeeded(0.0), schedule.failed()] == [0.1, 0.2, 2.0, 0.1]


@pytest.mark.parametrize(("progress_seconds", "pauses"), [(10.0, [2, 10, 10]), (0.5, [0.5, 0.5, 0.5])])
def test_the_first_line_of_progress_comes_early(progress_seconds: float, pauses: list[float]) -> None:
    assert list(itertools.islice(progress_pauses(progress_seconds), 3)) == pauses


def test_no_pause_is_longer_than_the_interval(rng: random.Random) -> None:
    schedule = Schedule(Pace(0.0, 2.0), Backoff(BASE_SECONDS, 2.0, rng.random))
    pauses = [schedule.failed() for _ in range(50)]
    assert pauses[0] <= BASE_SECONDS
    assert max(pauses) <= 2.0
    assert Schedule(Pace(60.0, 2.0), Listed(0.1)).succeeded(0.0) == 2.0


def verdict(*standings: str, any_suffices: bool = False) -> Verdict:
    """`r` is ready, `h` hopeless, `w` waiting."""
    made = Verdict(tuple(f"tcp://{place}:1" for place in range(len(standings))), any_suffices=any_suffices)
    for place, standing in enumerate(standings):
        if standing == "r":
            made.ready(place)
        elif standing == "h":
            made.hopeless(place, "never")
        else:
            made.blocked(place, "connection refused")
    return made


ENDS = [
    ("rrr", End.READY, End.READY),
    ("rrw", None, End.READY),
    ("www", None, None),
    ("wwh", End.HOPELESS, None),
    ("rwh", End.HOPELESS, End.READY),
    ("hhh", End.HOPELESS, End.HOPELESS),
]


@pytest.mark.parametrize(("standings", "of_all", "of_any"), ENDS)
def test_what_the_standings_amount_to(standings: str, of_all: End | None, of_any: End | None) -> None:
    assert verdict(*standings).end() is of_all
    assert verdict(*standings, any_suffices=True).end() is of_any


def test_the_progress_names_what_still_blocks_and_why() -> None:
    line = verdict("r", "w", "w").progress(10.4)
    assert line == (
        "still waiting after 10 s for 2 of 3: tcp://1:1 (connection refused), tcp://2:1 (connection refused)"
    )
    assert "for one of 2: tcp://0:1" in verdict("w", "w", any_suffices=True).progress(1)


def test_the_end_is_explained() -> None:
    assert verdict("w", "r").explanation(End.TIMED_OUT, 300.0) == (
        "cannot go on: timed out after 300 s waiting for 1 of 2: tcp://0:1 (connection refused)"
    )
    assert verdict("w").explanation(End.INTERRUPTED, 1234.56).startswith("cannot go on: interrupted after 1234.6 s")
    explained = verdict("w", "h").explanation(End.HOPELESS, 0.0)
    assert "tcp://1:1 (never)" in explained
    assert "tcp://0:1" not in explained


def test_what_comes_from_the_other_side_is_one_short_printable_line() -> None:
    made = verdict("w")
    made.blocked(0, "a\nb\x1b[2J" + "x" * 1000)
    assert made.progress(0).isprintable()
    assert len(made.progress(0)) < 300


@pytest.mark.parametrize("text", ["short", "ü" * 4000, "x" * MESSAGE_BYTES])
def test_a_message_is_cut_to_what_the_kubelet_takes_between_two_characters(text: str) -> None:
    message = cut(text)
    assert len(message) <= MESSAGE_BYTES
    assert message.decode().removesuffix("...") == text[: len(message.decode().removesuffix("..."))]
    assert (message.decode() == text) is (len(text.encode()) <= MESSAGE_BYTES)


ANSWERS = [
    ("", 200, b"", ""),
    ("", 302, b"", "answered 302, expected 2xx"),
    ("status=200,204", 503, b"", "answered 503, expected 200,204"),
    ("status=3xx", 302, b"", ""),
    ("body=^ok$", 200, b"ok", ""),
    ("body=^ok$", 200, b"not ok", "its body does not match"),
    ("body=ok", 503, b"ok", "answered 503"),
    ("body=.", 200, b"\xff\xfe", ""),
    ("json=a", 200, b'{"a": null}', ""),
    ("json=a", 200, b'{"b": 1}', "its JSON has no a yet"),
    ("json=a", 200, b"<html>", "its answer is not JSON"),
    ("json=a", 200, b"\xff\xfe\xfd", "its answer is not JSON"),
    ("json=a", 200, b"[" * 100_000, "its answer is not JSON"),
    ("json=a.0.b=x", 200, b'{"a": [{"b": "x"}]}', ""),
    ("json=a[0].b=x", 200, b'{"a": [{"b": "y"}]}', "another value at a.0.b"),
    ("json=a.1", 200, b'{"a": [1]}', "has no a.1 yet"),
    ("json=a.b", 200, b'{"a": "b"}', "has no a.b yet"),
    ("json=a=true", 200, b'{"a": true}', ""),
    ("json=a=true", 200, b'{"a": 1}', "another value"),
    ("json=a=1", 200, b'{"a": true}', "another value"),
    ("json=a=1", 200, b'{"a": 1.0}', ""),
    ("json=a=1", 200, b'{"a": "1"}', ""),
    ("json=a=null", 200, b'{"a": null}', ""),
    ("json=a=", 200, b'{"a": ""}', ""),
    ("json=a=yes", 200, b'{"a": 1}', "another value"),
]


@pytest.mark.parametrize(("options", "status", "body", "words"), ANSWERS)
def test_what_an_answer_lacks(options: str, status: int, body: bytes, words: str) -> None:
    target = parse(f"http://api/?{options}")
    assert isinstance(target, Http)
    missing = unmet(target, status, body, whole=True)
    assert (words in missing) if words else missing == ""


def test_json_that_is_not_whole_is_not_judged_and_a_beginning_may_match() -> None:
    as_json, as_text = parse("http://api/?json=a"), parse("http://api/?body=a")
    assert isinstance(as_json, Http)
    assert isinstance(as_text, Http)
    assert "longer than" in unmet(as_json, 200, b'{"a": 1}', whole=False)
    assert unmet(as_text, 200, b"aaa", whole=False) == ""


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
    assert starting == Refusal("57P03", "the database system is starting up")
    assert (starting.is_starting, starting.is_about_us) == (True, False)
    assert postgres.refusal(b"C28P01\0").is_about_us
    with pytest.raises(NotPostgres):
        postgres.refusal(b"Mno SQLSTATE\0")
    assert (postgres.is_authenticated(b"\0\0\0\0"), postgres.is_authenticated(b"\0\0\0\x0aSCRAM")) == (True, False)
