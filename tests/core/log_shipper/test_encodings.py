"""Files in UTF-16 and UTF-32: their lines arrive as they are, and offsets stay those of the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.encodings import Wide, encoding_of, still_is
from sidecars.log_shipper.core.lines import Limits

ENCODINGS = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
CHARACTERS = st.characters(exclude_characters="\n\0\ufeff", exclude_categories=["Cs"])
TEXTS = st.lists(st.text(CHARACTERS, max_size=8), max_size=6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_byte_order_mark_tells_the_encoding(encoding: str) -> None:
    assert encoding_of("\ufeffa\n".encode(encoding)) == encoding
    assert encoding_of("a\n".encode(encoding)) == ""


@pytest.mark.parametrize("start", [b"", b"a", b"\xff", b"\xef\xbb\xbfa", b"\xfe\x00\xff\x00", b"\x00\x00\x00\x00"])
def test_without_a_mark_it_is_utf8(start: bytes) -> None:
    assert encoding_of(start) == ""


def test_after_a_truncation_there_is_no_mark() -> None:
    assert still_is("utf-16-le", "a\n".encode("utf-16-le"))
    assert not still_is("utf-16-le", b"plain\n")
    assert not still_is("", "a\n".encode("utf-16-le"))


@given(TEXTS, st.sampled_from(ENCODINGS), st.integers(1, 7))
def test_lines_come_out_whole_whatever_the_size_of_the_reads(texts: list[str], encoding: str, step: int) -> None:
    """A newline of UTF-16 is looked for at whole units only: U+0A0A and its like hold the bytes of it, too."""
    data = "\ufeff".encode(encoding) + "".join(text + "\n" for text in texts).encode(encoding)
    wide, found, offset, end = Wide(encoding), list[str](), 0, 0
    while offset < len(data) and end < len(data):
        end = min(len(data), max(end, offset) + step)
        taken = wide.take(data[offset:end], offset, Limits(1 << 20))
        assert sum(taken.spans) == taken.consumed
        found += [line.decode() for line in taken.lines]
        offset += taken.consumed
    assert found == texts
    assert offset == (len(data) if texts else 0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_end_without_a_newline_is_a_line_at_the_end_only(encoding: str) -> None:
    data = "\ufeffab".encode(encoding)
    assert Wide(encoding).take(data, 0, Limits(100)).consumed == 0
    taken = Wide(encoding).take(data, 0, Limits(100), final=True)
    assert (taken.lines, taken.spans, taken.consumed) == ([b"ab"], [len(data)], len(data))


def test_half_a_unit_at_the_end_is_no_reason_to_leave_it() -> None:
    data = "a\nb".encode("utf-16-le")[:-1]
    taken = Wide("utf-16-le").take(data, 0, Limits(100), final=True)
    assert (taken.lines, taken.consumed) == ([b"a", "\ufffd".encode()], len(data))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("limit", [8, 9, 10, 11])
def test_a_long_line_is_cut_at_a_whole_character(encoding: str, limit: int) -> None:
    unit = len("a".encode(encoding))
    data = ("\U0001f600" * 20 + "\nnext\n").encode(encoding)
    taken = Wide(encoding).take(data, 100, Limits(limit))
    assert set(taken.lines[0].decode()) == {"\U0001f600"}
    assert len(taken.lines[0].decode().encode(encoding)) <= limit
    assert taken.lines[1] == b"next"[: limit // unit]
    assert 0 in taken.cut
    assert (taken.starts[0], taken.consumed) == (100, len(data))


def test_the_rest_of_a_cut_line_is_skipped_over_reads() -> None:
    wide, data = Wide("utf-16-le"), ("x" * 100 + "\nb\n").encode("utf-16-le")
    first = wide.take(data[:51], 0, Limits(10))
    assert (first.lines, first.in_cut_line, first.consumed) == ([b"xxxxx"], True, 50)
    second = wide.take(data[50:], 50, Limits(10), in_cut_line=True)
    assert (second.lines, second.in_cut_line, 50 + second.consumed) == ([b"b"], False, len(data))


def test_no_more_lines_than_asked_for() -> None:
    taken = Wide("utf-16-le").take("a\nb\nc\n".encode("utf-16-le"), 0, Limits(100, 2))
    assert (taken.lines, taken.consumed) == ([b"a", b"b"], 8)


def test_lone_surrogates_are_replaced() -> None:
    taken = Wide("utf-16-le").take(b"\x00\xd8a\x00\n\x00", 0, Limits(100))
    assert taken.lines == ["\ufffda".encode()]
