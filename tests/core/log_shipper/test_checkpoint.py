"""The checkpoint's bytes: what was written comes back, and anything else is told apart."""

import json
from hashlib import blake2b

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecars.log_shipper.core.checkpoint import (
    SCHEMA,
    Checkpoint,
    CheckpointChange,
    Damaged,
    EndedFile,
    FilePosition,
    Journal,
    Loaded,
    by_inode,
    dump,
    dump_change,
    load,
)
from sidecars.log_shipper.core.identity import FileIdentity, FileKey, Head, Mark
from sidecars.log_shipper.core.joining import Cut

NUMBERS = st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=12)
PATHS = st.binary(max_size=20).map(lambda name: name.decode("utf-8", "surrogateescape"))
"""File names as the operating system has them: any bytes."""
KEYS = st.builds(FileKey, st.integers(0, 3), st.integers(0, 3))
POSITIONS = st.builds(
    FilePosition,
    identity=st.builds(
        FileIdentity, PATHS, st.builds(Head, st.integers(0, 1024), TEXTS), prefix=TEXTS, first_line=TEXTS
    ),
    place=PATHS,
    key=KEYS,
    mark=st.builds(Mark, NUMBERS, TEXTS, st.booleans()),
    modified_ns=TIMES,
    changed_ns=TIMES,
    cuts=st.builds(Cut, st.just("stdout"), NUMBERS).map(lambda cut: (cut,)) | st.just(()),
)
ENDED = st.builds(EndedFile, KEYS, TEXTS, NUMBERS)
CHECKPOINTS = st.builds(
    Checkpoint,
    st.lists(POSITIONS, max_size=3, unique_by=lambda each: each.key),
    st.lists(ENDED, max_size=3, unique_by=lambda each: (each.key, each.first_line)),
)
ONE = Checkpoint(
    [
        FilePosition(
            FileIdentity("/logs/a.log", Head(3, "ab"), "p", "f", 2),
            "/logs/a.log.1",
            FileKey(7, 8),
            Mark(5, "cd", in_cut_line=True),
        )
    ],
    [EndedFile(FileKey(1, 2), "x", 3)],
)
OF_THE_FIRST_SCHEMA = {
    "positions": [
        {
            "path": "/logs/a.log",
            "place": "/logs/a.log.1",
            "key": [7, 8],
            "head": {"length": 3, "digest": "ab"},
            "mark": {"offset": 5, "marker": "cd", "in_cut_line": True},
            "prefix": "p",
            "first_line": "f",
            "generation": 2,
            "modified_ns": 11,
            "encoding": "utf-16-le",
            "cuts": [["stdout", 5]],
        }
    ],
    "ended": [{"key": [1, 2], "first_line": "x", "generation": 3}],
}


@given(CHECKPOINTS)
@example(ONE)
def test_what_was_dumped_is_loaded(checkpoint: Checkpoint) -> None:
    assert load(dump(checkpoint)) == Loaded(checkpoint)


@given(st.lists(CHECKPOINTS, min_size=1, max_size=5), st.data())
def test_the_changes_that_were_appended_are_loaded_wherever_the_file_was_cut(
    checkpoints: list[Checkpoint], data: st.DataObject
) -> None:
    """Ended files are only ever added, as in the sidecar."""
    journal, file, ends = Journal(), b"", []
    for checkpoint in checkpoints:
        change = journal.change(checkpoint)
        file = dump(checkpoint) if change is None else file + dump_change(change)
        journal.written(checkpoint, len(file), whole=change is None)
        ends.append(len(file))
    cut = data.draw(st.integers(ends[0], len(file)))
    reached = checkpoints[max(index for index, end in enumerate(ends) if end <= cut)]
    loaded = load(file[:cut])
    assert {each.key: each for each in loaded.checkpoint.positions} == {each.key: each for each in reached.positions}
    assert loaded.lost_changes == 0
    assert set(map(repr, reached.ended)) <= set(map(repr, loaded.checkpoint.ended))


def test_a_change_that_is_damaged_ends_the_reading_and_those_after_it_are_counted() -> None:
    first, second, third = (dump_change(CheckpointChange(forgotten=[FileKey(0, number)])) for number in range(3))
    damaged = second[:40] + b"#" + second[41:]
    assert load(dump(ONE) + first + damaged + third) == Loaded(ONE, lost_changes=2)


def test_a_change_without_content_is_none() -> None:
    journal = Journal()
    assert journal.change(ONE) is None, "the first write is a whole"
    journal.written(ONE, 100, whole=True)
    assert journal.change(ONE) == CheckpointChange()
    assert not CheckpointChange()
    assert CheckpointChange(forgotten=[FileKey(1, 1)])


def test_changes_longer_than_the_whole_make_it_be_written_anew() -> None:
    journal = Journal()
    journal.written(ONE, 100_000, whole=True)
    journal.written(ONE, 100_000, whole=False)
    assert journal.change(ONE) is not None
    journal.written(ONE, 1, whole=False)
    assert journal.change(ONE) is None
    journal.written(ONE, 100_000, whole=True)
    assert journal.change(ONE) is not None


def test_the_first_schema_is_still_read() -> None:
    """A running deployment is upgraded."""
    content = json.dumps(OF_THE_FIRST_SCHEMA).encode()
    header = json.dumps({"schema": 1, "checksum": blake2b(content, digest_size=16).hexdigest()}).encode()
    (position,) = ONE.positions
    expected = FilePosition(
        position.identity, position.place, position.key, position.mark, 11, 0, 0, "utf-16-le", (Cut("stdout", 5),)
    )
    assert load(header + b"\n" + content + b"\n") == Loaded(Checkpoint([expected], ONE.ended))


def test_a_file_is_as_it_was_only_with_the_same_size_and_both_times() -> None:
    position = FilePosition(FileIdentity("/a"), "/a", FileKey(1, 2), Mark(5, "m"), 11, 12)
    assert position.is_all_of(5, 11, 12)
    assert not any(position.is_all_of(*other) for other in ((6, 11, 12), (5, 10, 12), (5, 11, 13)))


def test_files_of_one_inode_number_are_found_together() -> None:
    other = FilePosition(FileIdentity("/b"), "/b", FileKey(9, 8), Mark())
    assert by_inode([*ONE.positions, other]) == {8: [FileKey(7, 8), FileKey(9, 8)]}


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


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, 10**30])
def test_another_schema_is_told_by_name(schema: int) -> None:
    data = dump(ONE).replace(b'"schema":%d' % SCHEMA, b'"schema":%d' % schema, 1)
    with pytest.raises(Damaged, match=r"^(schema|garbage)$"):
        load(data)


def test_an_older_schema_says_so() -> None:
    with pytest.raises(Damaged, match="schema"):
        load(dump(ONE).replace(b'"schema":2', b'"schema":0', 1))


def test_content_of_another_shape_under_a_good_checksum_is_damaged() -> None:
    """Written by a version that forgot to raise the schema."""
    empty = dump(Checkpoint())
    content = empty.split(b"\n")[1]
    assert load(empty) == Loaded(Checkpoint())
    with pytest.raises(Damaged, match="garbage"):
        load(empty.replace(content, b'{"positions":7}'))
