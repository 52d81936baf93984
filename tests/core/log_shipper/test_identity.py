"""Who a file is, told by its first bytes, the bytes before an offset, and its inode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.identity import (
    HEAD_BYTES,
    MARKER_BYTES,
    FileKey,
    Head,
    first_line_digest,
    id_prefix,
    marker_length,
)

STARTS = st.binary(max_size=HEAD_BYTES + 40)


@given(STARTS, STARTS)
def test_a_head_fits_a_file_that_only_grew(start: bytes, more: bytes) -> None:
    head = Head.of(start)
    assert head.fits(start + more)
    assert head.grown(start + more) == Head.of(start + more)


@given(STARTS.filter(bool), STARTS, st.data())
def test_a_head_fits_nothing_that_differs_in_what_it_covers(start: bytes, more: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, min(len(start), HEAD_BYTES) - 1))
    other = bytearray(start + more)
    other[at] ^= 1
    assert not Head.of(start).fits(bytes(other))
    assert not Head.of(start).fits((start + more)[:at])


def test_the_head_of_an_empty_file_fits_any_file() -> None:
    assert Head().fits(b"")
    assert Head().fits(b"anything")
    assert Head.of(b"").fits(b"anything")


@given(st.lists(STARTS, min_size=1, max_size=4))
def test_however_a_head_grew_it_is_the_same(parts: list[bytes]) -> None:
    head, content = Head(), b""
    for part in parts:
        content += part
        head = head.grown(content[:HEAD_BYTES])
    assert head.length == min(len(content), HEAD_BYTES)
    assert head.fits(content)


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (1, 1), (255, 255), (256, 256), (257, 256), (1 << 40, 256)])
def test_a_marker_covers_what_is_there(offset: int, length: int) -> None:
    assert marker_length(offset) == length <= MARKER_BYTES


@given(st.binary(max_size=HEAD_BYTES).filter(lambda line: b"\n" not in line), STARTS, STARTS)
def test_the_first_line_is_known_from_its_newline_on(line: bytes, one: bytes, other: bytes) -> None:
    assert first_line_digest(line + b"\n" + one) == first_line_digest(line + b"\n" + other)


KEY = FileKey(1, 2)
PREFIXES = {
    "the pod": ("pod-b", KEY, "line", 0),
    "the device": ("pod-a", FileKey(2, 2), "line", 0),
    "the inode": ("pod-a", FileKey(1, 3), "line", 0),
    "device and inode swapped": ("pod-a", FileKey(2, 1), "line", 0),
    "digits moved from device to inode": ("pod-a", FileKey(12, 0), "line", 0),
    "the first line": ("pod-a", KEY, "other", 0),
    "the generation": ("pod-a", KEY, "line", 1),
}


@pytest.mark.parametrize(("scope", "key", "first_line", "generation"), PREFIXES.values(), ids=PREFIXES.keys())
def test_ids_differ_when_this_differs(scope: str, key: FileKey, first_line: str, generation: int) -> None:
    usual = id_prefix("pod-a", KEY, "line", 0)
    assert id_prefix("pod-a", KEY, "line", 0) == usual
    assert id_prefix(scope, key, first_line, generation) != usual


@given(st.text(), st.integers(0, 2**64), st.integers(0, 2**64), st.integers(0, 99))
def test_a_prefix_is_sixteen_characters_that_need_no_escape(scope: str, device: int, inode: int, number: int) -> None:
    prefix = id_prefix(scope, FileKey(device, inode), "", number)
    assert len(prefix) == 16
    assert prefix.replace("-", "").replace("_", "").isalnum()
    assert prefix.isascii()
