"""The checkpoint's bytes: what was written comes back, and anything else is told apart."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecars.log_shipper.core.checkpoint import SCHEMA, Checkpoint, Damaged, Ended, Position, dump, load
from sidecars.log_shipper.core.identity import FileKey, Head, Mark

NUMBERS = st.integers(0, 2**64 - 1)
TEXTS = st.text(max_size=12)
PATHS = st.binary(max_size=20).map(lambda name: name.decode("utf-8", "surrogateescape"))
"""File names as the operating system has them: any bytes."""
KEYS = st.builds(FileKey, NUMBERS, NUMBERS)
POSITIONS = st.builds(
    Position,
    path=PATHS,
    place=PATHS,
    key=KEYS,
    head=st.builds(Head, st.integers(0, 1024), TEXTS),
    mark=st.builds(Mark, NUMBERS, TEXTS, st.booleans()),
    prefix=TEXTS,
    first_line=TEXTS,
    generation=NUMBERS,
    modified_ns=st.integers(-(2**63), 2**63 - 1),
)
CHECKPOINTS = st.builds(
    Checkpoint, st.lists(POSITIONS, max_size=3), st.lists(st.builds(Ended, KEYS, TEXTS, NUMBERS), max_size=3)
)
ONE = Checkpoint(
    [
        Position(
            "/logs/a.log", "/logs/a.log.1", FileKey(7, 8), Head(3, "ab"), Mark(5, "cd", in_cut_line=True), "p", "f", 2
        )
    ],
    [Ended(FileKey(1, 2), "x", 3)],
)


@given(CHECKPOINTS)
@example(ONE)
def test_what_was_dumped_is_loaded(checkpoint: Checkpoint) -> None:
    assert load(dump(checkpoint)) == checkpoint


@given(CHECKPOINTS, st.data())
def test_a_truncated_file_is_damaged(checkpoint: Checkpoint, data: st.DataObject) -> None:
    whole = dump(checkpoint)
    with pytest.raises(Damaged, match=r"^(truncated|garbage)$"):
        load(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("length", range(len(dump(ONE))))
def test_a_changed_byte_is_damage(length: int) -> None:
    whole = dump(ONE)
    for change in (0x01, 0x20, 0x80, 0xFF):
        with pytest.raises(Damaged, match=r"^(truncated|garbage|schema)$"):
            load(whole[:length] + bytes([whole[length] ^ change]) + whole[length + 1 :])


@given(st.binary(max_size=200))
@example(b"")
@example(b"\n")
@example(b"null\n{}\n")
@example(b"\xff\xfe\n\n")
@example(b'{"schema":1,"checksum":"\xff"}\n{}\n')
def test_garbage_is_damaged_and_never_another_error(data: bytes) -> None:
    with pytest.raises(Damaged):
        load(data)


def test_garbage_nested_too_deeply_is_damaged() -> None:
    with pytest.raises(Damaged, match="garbage"):
        load(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}\n")


def test_bytes_after_the_end_are_damage() -> None:
    with pytest.raises(Damaged, match="garbage"):
        load(dump(ONE) + b"x")


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, 10**30])
def test_another_schema_is_told_by_name(schema: int) -> None:
    data = dump(ONE).replace(b'"schema":%d' % SCHEMA, b'"schema":%d' % schema, 1)
    with pytest.raises(Damaged, match=r"^(schema|garbage)$"):
        load(data)


def test_an_older_schema_says_so() -> None:
    with pytest.raises(Damaged, match="schema"):
        load(dump(ONE).replace(b'"schema":1', b'"schema":0', 1))


def test_content_of_another_shape_under_a_good_checksum_is_damaged() -> None:
    """Written by a version that forgot to raise the schema."""
    empty = dump(Checkpoint())
    content = empty.split(b"\n")[1]
    assert load(empty) == Checkpoint()
    with pytest.raises(Damaged, match="garbage"):
        load(empty.replace(content, b'{"positions":7}'))
