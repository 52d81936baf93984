"""Bytes become the same lines wherever the reads happen to end."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecars.log_shipper.core.lines import Limits, Taken, take

LIMIT = 16
CONTENT = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\n", b"\0", b"\0\0\0", b"a", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xff", b"\r\n", b"\n\n"]
        ),
        st.binary(max_size=24),
    ),
    max_size=24,
).map(b"".join)


def read_all(content: bytes, block_bytes: int, lines_each: int = 1 << 30) -> tuple[list[tuple[int, bytes, bool]], int]:
    """Lines (start, text, cut) and skipped NULs of a file that is read to its end in blocks, as the reader does."""
    lines: list[tuple[int, bytes, bool]] = []
    offset, nul_bytes, in_cut_line = 0, 0, False
    while offset < len(content):
        for want_bytes in (block_bytes, max(LIMIT, block_bytes) + 1):
            block = content[offset : offset + want_bytes]
            final = len(block) < want_bytes
            taken = take(block, offset, Limits(LIMIT, lines_each), in_cut_line=in_cut_line, final=final)
            if taken.consumed or final or block[:1] == b"\0":
                break
        if not taken.consumed:
            hole = len(content[offset:]) - len(content[offset:].lstrip(b"\0"))
            if not hole or offset + hole == len(content):
                break
            offset, nul_bytes = offset + hole, nul_bytes + hole
            continue
        check_sums(taken, offset)
        lines += [(s, text, n in taken.cut) for n, (s, text) in enumerate(zip(taken.starts, taken.lines, strict=True))]
        offset, nul_bytes, in_cut_line = offset + taken.consumed, nul_bytes + taken.skipped_nul_bytes, taken.in_cut_line
    return lines, nul_bytes


def check_sums(taken: Taken, offset: int) -> None:
    """Lines lie one after the other within what was consumed."""
    assert len(taken.lines) == len(taken.starts) == len(taken.spans)
    place = offset
    for start, span, line in zip(taken.starts, taken.spans, taken.lines, strict=True):
        assert place <= start
        assert len(line) <= span
        place = start + span
    assert place <= offset + taken.consumed


@given(CONTENT, st.integers(1, 40), st.integers(1, 40))
@example(b"a" * 17 + b"\0\0\nb\n", 3, 40)
@example(b"\0\0\0", 2, 7)
def test_the_same_lines_come_out_wherever_the_blocks_end(content: bytes, one: int, other: int) -> None:
    assert read_all(content, one) == read_all(content, other)


@given(CONTENT, st.integers(1, 5))
def test_the_same_lines_come_out_however_few_are_taken_at_once(content: bytes, lines_each: int) -> None:
    assert read_all(content, 64, lines_each) == read_all(content, 64)


@given(CONTENT)
def test_every_line_is_found_where_it_is_said_to_start(content: bytes) -> None:
    lines, _ = read_all(content, 64)
    for start, text, cut in lines:
        assert content[start : start + len(text)] == text
        if not cut:
            assert content[start + len(text) : start + len(text) + 1] in (b"\n", b"")
    assert [start for start, _, _ in lines] == sorted({start for start, _, _ in lines})


@given(CONTENT.filter(lambda content: b"\0" not in content))
def test_without_holes_all_short_lines_come_out_whole(content: bytes) -> None:
    expected = content.split(b"\n")
    if not expected[-1]:
        del expected[-1]
    lines, nul_bytes = read_all(content, 64)
    assert nul_bytes == 0
    assert len(lines) == len(expected)
    for (_, text, cut), whole in zip(lines, expected, strict=True):
        assert cut == (len(whole) > LIMIT)
        assert whole.startswith(text) if cut else whole == text


@given(CONTENT.filter(lambda content: b"\0" not in content), st.booleans())
def test_spans_of_lines_add_up_to_what_was_consumed(content: bytes, final: bool) -> None:
    """Where nothing is skipped, every consumed byte belongs to a line."""
    taken = take(content, 7, Limits(1000), final=final)
    assert sum(taken.spans) == taken.consumed
    assert taken.consumed == (len(content) if final else content.rfind(b"\n") + 1)


@given(CONTENT, st.booleans(), st.booleans())
def test_spans_holes_and_skipped_rests_add_up(content: bytes, in_cut_line: bool, final: bool) -> None:
    taken = take(content, 0, Limits(LIMIT), in_cut_line=in_cut_line, final=final)
    assert all(span >= len(line) for span, line in zip(taken.spans, taken.lines, strict=True))
    rest_of_cut = taken.consumed - sum(taken.spans) - taken.skipped_nul_bytes
    assert rest_of_cut >= 0
    if not in_cut_line and not taken.in_cut_line:
        assert rest_of_cut == 0


@given(st.text(alphabet="aé€😀", min_size=17, max_size=40))
def test_a_cut_never_splits_a_character(text: str) -> None:
    content = text.encode()
    taken = take(content, 0, Limits(LIMIT))
    if len(content) > LIMIT:
        assert taken.in_cut_line
        assert text.startswith(taken.lines[0].decode())
        assert LIMIT - 3 <= len(taken.lines[0]) <= LIMIT


CASES: dict[str, tuple[bytes, bool, bool, list[bytes], int]] = {
    "half a line waits": (b"one\ntwo", False, False, [b"one"], 4),
    "half a line of a file that is done is a line": (b"one\ntwo", False, True, [b"one", b"two"], 7),
    "nothing comes of nothing": (b"", False, True, [], 0),
    "an empty line is a line": (b"\n\n", False, False, [b"", b""], 2),
    "a line of exactly the limit is not cut": (b"x" * 16 + b"\n", False, False, [b"x" * 16], 17),
    "a longer one is cut and its newline taken": (b"x" * 17 + b"\ny\n", False, False, [b"x" * 16, b"y"], 20),
    "the rest of a cut line is skipped": (b"rest\nnext\n", True, False, [b"next"], 10),
    "a rest without an end is skipped too": (b"rest", True, False, [], 4),
    "a hole before a line is skipped": (b"\0\0\0one\n", False, False, [b"one"], 7),
    "a hole at the end waits": (b"one\n\0\0\0", False, False, [b"one"], 4),
    "a hole at the end waits also when the file is done": (b"one\n\0\0\0", False, True, [b"one"], 4),
    "a line of exactly the limit waits for its newline": (b"\0" + b"x" * 16, False, False, [], 0),
    "NULs within a line are content": (b"a\0b\n", False, False, [b"a\0b"], 4),
}


@pytest.mark.parametrize(("block", "in_cut", "final", "lines", "consumed"), CASES.values(), ids=CASES.keys())
def test_a_block_becomes_lines(block: bytes, in_cut: bool, final: bool, lines: list[bytes], consumed: int) -> None:
    taken = take(block, 100, Limits(LIMIT), in_cut_line=in_cut, final=final)
    assert (taken.lines, taken.consumed) == (lines, consumed)
