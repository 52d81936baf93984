"""The next file of an inode with the same first line gets a generation of its own."""

from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.ended import EndedFiles
from sidecars.log_shipper.core.identity import FileKey

KEYS = st.builds(FileKey, st.integers(0, 2), st.integers(0, 2))
NOTES = st.lists(st.tuples(KEYS, st.sampled_from(["", "a", "b"]), st.integers(0, 5)), max_size=20)


@given(NOTES, KEYS, st.sampled_from(["a", "b"]))
def test_the_next_generation_is_above_all_that_were(
    notes: list[tuple[FileKey, str, int]], key: FileKey, line: str
) -> None:
    ended = EndedFiles()
    for note in notes:
        ended.note(*note)
    before = [generation for k, text, generation in notes if (k, text) == (key, line)]
    assert ended.next_generation(key, line) == max(before, default=-1) + 1


@given(NOTES)
def test_what_is_listed_restores_the_same_memory(notes: list[tuple[FileKey, str, int]]) -> None:
    ended = EndedFiles()
    for note in notes:
        ended.note(*note)
    again = EndedFiles(ended.listed())
    assert again.listed() == ended.listed()
    for key, line, _ in notes:
        assert again.next_generation(key, line) == ended.next_generation(key, line)


def test_the_longest_ended_are_forgotten_first_and_memory_is_bounded() -> None:
    ended = EndedFiles()
    for inode in range(4096):
        ended.note(FileKey(0, inode), "line", 0)
    ended.note(FileKey(0, 0), "line", 1)  # in use again: not the oldest any more
    ended.note(FileKey(0, 9999), "line", 0)
    assert len(ended.listed()) == 4096
    assert ended.next_generation(FileKey(0, 0), "line") == 2
    assert ended.next_generation(FileKey(0, 1), "line") == 0
    assert ended.next_generation(FileKey(0, 2), "line") == 1


def test_a_file_without_lines_leaves_nothing_to_remember() -> None:
    ended = EndedFiles()
    ended.note(FileKey(0, 1), "", 3)
    assert ended.listed() == []
