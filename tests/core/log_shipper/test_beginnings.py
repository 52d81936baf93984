"""Which files a new one begins as."""

import pytest

from sidecars.log_shipper.core.beginnings import Beginnings
from sidecars.log_shipper.core.identity import HEAD_BYTES, FileKey, Head

LONG = b"banner\n" + b"x" * 2 * HEAD_BYTES
KNOWN = [b"", b"banner\n", b"banner\none\n", b"banner\ntwo\n", b"other\n", b"ban", LONG]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"", []),
        (b"banner\n", [b"banner\n"]),
        (b"banner\none\nmore\n", [b"banner\n", b"banner\none\n"]),
        (b"banner\none\nhalf", [b"banner\n", b"banner\none\n"]),
        (b"ban", [b"ban"]),
        (LONG[:HEAD_BYTES], [b"banner\n", LONG]),
        (b"banner", []),
        (b"unknown\n", []),
    ],
)
def test_a_file_begins_as_those_whose_whole_head_it_has(start: bytes, expected: list[bytes]) -> None:
    beginnings = Beginnings()
    for number, content in enumerate(KNOWN):
        beginnings.add(Head.of(content), FileKey(1, number))
    assert sorted(KNOWN[key.inode] for key in beginnings.of(start)) == sorted(expected)
