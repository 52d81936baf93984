"""Which path leads to which file, and what may have been missed when that changes."""

from typing import NamedTuple

from sidecars.log_shipper.core.identity import FileKey
from sidecars.log_shipper.core.names import Names

OLD, NEW, OTHER = (FileKey(1, inode) for inode in (1, 2, 3))


class Led(NamedTuple):
    key: FileKey
    modified_ns: int


def test_a_path_that_leads_to_a_new_file_was_rotated() -> None:
    names = Names({"/a": Led(OLD, 5)})
    assert names.changed({"/a": Led(OLD, 6)}, {OLD}, 0.0) == []
    assert names.changed({"/a": Led(NEW, 7)}, {OLD}, 1.0) == ["/a"]
    assert names.searches(1.0) == {"/a": 6}, "generations between the two are not older than the last look"
    assert names.changed({"/a": Led(NEW, 8)}, {OLD, NEW}, 2.0) == []


def test_a_former_generation_that_is_renamed_once_more_is_no_rotation() -> None:
    names = Names({"/a.1": Led(OLD, 5)})
    assert names.changed({"/a.1": Led(OTHER, 6)}, {OLD, OTHER}, 0.0) == []


def test_a_path_that_leads_nowhere_for_the_moment_is_remembered_as_long_as_its_file_is() -> None:
    names = Names({"/a": Led(OLD, 5), "/b": Led(OTHER, 5)})
    assert names.changed({}, {OLD}, 0.0) == []
    assert names.changed({"/a": Led(NEW, 7), "/b": Led(NEW, 7)}, {OLD}, 1.0) == ["/a"]


def test_generations_are_looked_for_a_while_and_longer_when_there_was_one() -> None:
    names = Names({})
    names.search("/a", 9, 0.0)
    names.search("/a", 4, 1.0)
    assert names.searches(2.9) == {"/a": 4}
    names.search_on("/a", 2.9)
    assert names.searches(4.8) == {"/a": 4}
    assert names.searches(5.0) == {}
