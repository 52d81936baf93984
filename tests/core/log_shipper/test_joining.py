"""Parts of records are joined, each stream for itself; the same bytes give the same records however they are read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.joining import (
    CRI,
    PATIENCE_SECONDS,
    Cut,
    Framing,
    Joining,
    Record,
    cri_frame,
    docker_frame,
    may_be_docker,
)
from tests.support import records
from tests.support.records import taken_of

LIMIT = 1 << 20


def cri(text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return records.cri(text, tag, stream).encode()


def docker(text: str, stream: str = "stdout", more: str = "") -> bytes:
    return records.docker(text, stream, more).encode()


def text_of(record: Record) -> bytes:
    match = CRI.fullmatch(record.line)
    return record.line if match is None else match[4] or b""


class Reading:
    """Feeds lines and collects (offset, text, whether partial) of what comes out."""

    def __init__(self, cuts: tuple[Cut, ...] = (), framing: Framing = cri_frame, limit: int = LIMIT) -> None:
        self.joining = Joining(cuts)
        self.offset = 0
        self.found: list[tuple[int, bytes, bool]] = []
        self.spans = 0
        self.clean: int | None = 0
        self._framing = framing
        self._limit = limit

    def feed(self, *lines: bytes) -> "Reading":
        taken = taken_of(list(lines), self.offset)
        joined = self.joining.feed(taken, self.offset, self._framing, self._limit)
        self.offset += taken.consumed
        self.clean = joined.clean
        if joined.records is None:
            self.take([Record(None, *row) for row in zip(taken.starts, taken.lines, taken.spans, strict=True)])
        else:
            self.take(joined.records)
        return self

    def take(self, records: list[Record]) -> None:
        self.found += [(record.start, text_of(record), record.partial) for record in records]
        self.spans += sum(record.span for record in records)

    def release(self, now: float = math.inf) -> "Reading":
        self.take(self.joining.release(now, self.offset))
        return self

    @property
    def texts(self) -> list[str]:
        return [text.decode() for _, text, _ in self.found]


P, F, E = cri("p", "P"), cri("f"), cri("e", "F", "stderr")
JOINED: dict[str, tuple[list[bytes], list[str]]] = {
    "whole records": ([F, E], ["f", "e"]),
    "parts": ([P, P, F], ["ppf"]),
    "streams, each for itself": ([P, cri("q", "P", "stderr"), F, E], ["pf", "qe"]),
    "the other stream amid a record": ([P, E, F], ["pf", "e"]),
    "garbage amid a record": ([P, b"garbage", F], ["pf", "garbage"]),
    "more tags": ([cri("a", "P:x"), cri("b", "F:x:y")], ["ab"]),
    "an empty last part": ([P, cri("").rstrip()], ["p"]),
    "a part that looks like a record": ([P, cri(cri("x", "P").decode())], ["p" + cri("x", "P").decode()]),
}


@pytest.mark.parametrize(("lines", "texts"), JOINED.values(), ids=JOINED.keys())
def test_parts_are_joined_by_stream(lines: list[bytes], texts: list[str]) -> None:
    reading = Reading().feed(*lines)
    assert reading.texts == texts
    assert [start for start, _, _ in reading.found] == sorted(start for start, _, _ in reading.found)
    assert not any(partial for _, _, partial in reading.found)
    assert reading.clean == reading.offset == reading.spans


def test_an_open_record_holds_nothing_of_the_other_stream_back() -> None:
    reading = Reading().feed(F, P, E, E)
    assert reading.texts == ["f", "e", "e"]
    assert (reading.clean, reading.joining.open_bytes) == (len(F) + 1, len(P) + 1)
    reading.feed(E, F)
    assert reading.texts[3:] == ["pf", "e"]
    assert reading.clean == reading.offset


def test_there_is_no_place_to_go_on_while_records_overlap() -> None:
    reading = Reading().feed(P)
    assert reading.clean == 0
    assert reading.feed(cri("q", "P", "stderr"), F, P).clean is None
    assert reading.feed(E, F).clean == reading.offset


LINES = st.lists(
    st.one_of(
        st.builds(cri, st.text("ab", max_size=2), st.sampled_from("FP"), st.sampled_from(["stdout", "stderr"])),
        st.just(b"garbage"),
    ),
    max_size=12,
)


@given(LINES, st.integers(0, 12), st.integers(1, 5))
def test_where_a_read_ends_changes_no_record(lines: list[bytes], at: int, limit: int) -> None:
    once = Reading(limit=limit).feed(*lines).release()
    twice = Reading(limit=limit).feed(*lines[:at]).feed(*lines[at:]).release()
    assert sorted(once.found) == sorted(twice.found)
    assert once.spans == twice.spans == once.offset
    assert not once.joining.is_open


@given(LINES, st.integers(0, 12))
def test_going_on_at_a_clean_place_gives_the_same_records(lines: list[bytes], at: int) -> None:
    first = Reading().feed(*lines[:at])
    if first.clean is None:
        return
    again = Reading()
    again.offset = first.clean
    count = sum(1 for end in _ends(lines) if end <= first.clean)
    again.feed(*lines[count:]).release()
    whole = Reading().feed(*lines).release()
    assert set(again.found) <= set(whole.found)
    assert {found for found in whole.found if found[0] >= first.clean} == set(again.found)


@given(LINES, st.integers(0, 12))
def test_a_record_that_was_cut_is_cut_there_again(lines: list[bytes], at: int) -> None:
    """Killed after the decision was saved, and started from the beginning, when the rest is there."""
    first = Reading().feed(*lines[:at]).release()
    cuts = tuple(first.joining.cuts)
    first.feed(*lines[at:]).release()
    again = Reading(cuts).feed(*lines).release()
    assert sorted((start, text) for start, text, _ in again.found) == sorted(
        (start, text) for start, text, _ in first.found
    )


def _ends(lines: list[bytes]) -> list[int]:
    return [sum(len(line) + 1 for line in lines[: index + 1]) for index in range(len(lines))]


def test_a_record_without_an_end_leaves_after_a_while_and_its_rest_is_another_one() -> None:
    reading = Reading().feed(P, E)
    assert reading.joining.deadline(100.0) == 100 + PATIENCE_SECONDS
    assert reading.joining.deadline(101.0) == 100 + PATIENCE_SECONDS
    assert reading.release(104.9).texts == ["e"]
    assert reading.release(105.0).found[1:] == [(0, b"p", True)]
    assert reading.joining.deadline(105.0) == math.inf
    assert reading.joining.cuts == [Cut("stdout", reading.offset)]
    reading.feed(cri("rest"), F)
    assert [found[1:] for found in reading.found[2:]] == [(b"rest", True), (b"f", False)]


def test_each_record_has_its_own_time() -> None:
    reading = Reading().feed(P)
    reading.joining.deadline(100.0)
    reading.feed(cri("q", "P", "stderr"))
    reading.joining.deadline(103.0)
    assert reading.release(105.0).texts == ["p"]
    assert reading.joining.is_open
    assert reading.release(108.0).texts == ["p", "q"]


def test_a_record_over_the_limit_leaves_in_several_and_loses_nothing() -> None:
    reading = Reading(limit=100).feed(*[cri("0123456789", "P")] * 25, cri("end"))
    assert "".join(reading.texts) == "0123456789" * 25 + "end"
    assert len(reading.found) > 2
    assert all(partial for _, _, partial in reading.found)
    assert max(map(len, reading.texts)) <= 100


def test_cuts_before_the_low_watermark_are_forgotten() -> None:
    joining = Joining([Cut("stdout", 5), Cut("stderr", 9)])
    joining.cuts_from(6)
    assert joining.cuts == [Cut("stderr", 9)]


def test_a_record_goes_on_in_the_next_generation() -> None:
    former, later = Reading().feed(F, P), Reading()
    owner = object()
    later.joining.adopt(former.joining, owner)
    assert not former.joining.is_open
    taken = taken_of([E, F])
    joined = later.joining.feed(taken, 0, cri_frame, LIMIT)
    assert joined.records is not None
    assert [(record.owner, text_of(record)) for record in joined.records] == [(owner, b"pf"), (None, b"e")]
    assert joined.clean == taken.consumed


@pytest.mark.parametrize("start", [0, 1])
def test_a_record_that_went_on_can_be_cut_at_the_beginning_of_the_next_generation(start: int) -> None:
    former, later = Reading().feed(P), Reading((Cut("stdout", 0),))
    later.joining.adopt(former.joining, object())
    records = later.joining.feed(taken_of([F][start:]), 0, cri_frame, LIMIT).records
    assert records is not None
    assert [text_of(record) for record in records] == [b"p", b"f"][: 2 - start]


DOCKER: dict[str, tuple[list[bytes], list[bytes]]] = {
    "whole lines": ([docker("a\\n"), docker("b\\n", "stderr")], [docker("a\\n"), docker("b\\n", "stderr")]),
    "parts": ([docker("a"), docker("b"), docker("c\\n")], [docker("abc\\n")]),
    "streams": ([docker("a"), docker("x\\n", "stderr"), docker("b\\n")], [docker("ab\\n"), docker("x\\n", "stderr")]),
    "a backslash and an n are no newline": ([docker("a\\\\n"), docker("b\\n")], [docker("a\\\\nb\\n")]),
    "a backslash before the newline": ([docker("a\\\\\\n"), docker("b\\n")], [docker("a\\\\\\n"), docker("b\\n")]),
    "quotes": ([docker('\\"a\\",\\"stream\\":\\"'), docker('\\"\\n')], [docker('\\"a\\",\\"stream\\":\\"\\"\\n')]),
    "an empty part": ([docker(""), docker("\\n")], [docker("\\n")]),
    "attributes": (
        [docker("a", more='"attrs":{"x":"y"},'), docker("b\\n", more='"attrs":{"x":"y"},')],
        [docker("ab\\n", more='"attrs":{"x":"y"},')],
    ),
    "other objects": ([b'{"log":"a"}', b'{"log":"a","x":1,"stream":"stdout","time":"t"}', b'{"a":1}', b"text"],) * 2,
}


@pytest.mark.parametrize(("lines", "expected"), DOCKER.values(), ids=DOCKER.keys())
def test_dockers_parts_are_joined(lines: list[bytes], expected: list[bytes]) -> None:
    reading = Reading(framing=docker_frame).feed(*lines)
    assert [line for _, line, _ in reading.found] == expected
    assert reading.clean == reading.offset


def test_dockers_files_are_known_by_their_first_bytes() -> None:
    assert may_be_docker(docker("x" * 20_000)[:1024])
    assert not may_be_docker(b'{"level":"info"}')
