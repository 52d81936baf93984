"""The pure part of looking: what a glob takes, and digests that two different contents can never share."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.config_reloader.core.snapshot import (
    EntryContent,
    EntryKind,
    EntryState,
    Snapshot,
    changed,
    combined,
    merged,
    snapshot_of,
    split,
    unreadable_path,
    wanted,
)

NAMES = st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=4)


@given(NAMES, NAMES)
def test_different_contents_have_different_digests(one: dict[str, str], other: dict[str, str]) -> None:
    assert (combined(one) == combined(other)) == (one == other)


@given(NAMES)
def test_the_order_in_which_names_are_found_does_not_count(names: dict[str, str]) -> None:
    assert combined(dict(reversed(names.items()))) == combined(names)


def test_names_and_contents_cannot_run_into_each_other() -> None:
    same_bytes = [{"ab": "c"}, {"a": "bc"}, {"a": "b", "c": ""}, {"": "abc"}, {"abc": ""}]
    assert len({combined(names) for names in same_bytes}) == len(same_bytes)


def test_a_name_that_is_not_utf_8_is_a_name() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert combined({name: "1"}) != combined({"caf": "1"})
    assert unreadable_path(f"/etc/{name}", "gone").path == "/etc/caf\N{REPLACEMENT CHARACTER}"


CHANGES = {
    "nothing": ({"a": "1"}, {"a": "1"}, ()),
    "other content": ({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, ("a",)),
    "it came": ({}, {"b": "1", "a": "1"}, ("a", "b")),
    "it went": ({"a": "1", "b": "1"}, {"b": "1"}, ("a",)),
}


@pytest.mark.parametrize(("before", "after", "names"), CHANGES.values(), ids=CHANGES.keys())
def test_which_names_changed(before: dict[str, str], after: dict[str, str], names: tuple[str, ...]) -> None:
    assert changed(before, after) == names


def test_a_name_of_two_entries_is_a_clash_and_changes_with_each_of_them() -> None:
    names, clashes = merged([{"a": "1", "b": "1"}, {"a": "2"}])
    assert clashes == ("a",)
    assert names["b"] == "1"
    for other in ([{"a": "3", "b": "1"}, {"a": "2"}], [{"a": "1", "b": "1"}, {"a": "3"}], [{"a": "2"}, {"a": "1"}]):
        assert "a" in changed(names, merged(other)[0])


GLOBS = {
    # pattern: (what it takes, what it does not)
    "*.yaml": ("a.yaml .hidden.yaml", "a.yml sub/a.yaml yaml"),
    "a?[bc]": ("axb axc", "axd ab axbc"),
    "*/a": ("x/a", "a x/y/a"),
    "**": ("a x/a x/y/z/a", ""),
    "**/a": ("a x/a x/y/a", "b x/b a/b"),
    "x/**": ("x/a x/y/a", "x y/a"),
    "**/x/**/a": ("x/a y/x/a y/x/z/a x/x/a", "a y/a x"),
    "**/**/a": ("a x/a", "b"),
    "[!a]*": ("b", "a"),
}


@pytest.mark.parametrize(("pattern", "takes", "leaves"), [(glob, *texts) for glob, texts in GLOBS.items()])
def test_what_a_glob_takes(pattern: str, takes: str, leaves: str) -> None:
    want = wanted(pattern)
    assert [path for path in takes.split() if not want.at(path.split("/")).file] == []
    assert [path for path in leaves.split() if want.at(path.split("/")).file] == []


DESCENTS = {
    # pattern and folder: (whether to go down, whether files of its own may count)
    "*.yaml in .": ("*.yaml", "", True, True),
    "*.yaml in a folder": ("*.yaml", "a.yaml", False, False),
    "a level between, above": ("*/conf/*.yaml", "", True, False),
    "a level between, there": ("*/conf/*.yaml", "x/conf", True, True),
    "a level between, elsewhere": ("*/conf/*.yaml", "x/other", False, False),
    "any depth": ("**/a", "x/y/z", True, True),
}


@pytest.mark.parametrize(("pattern", "folder", "down", "files"), DESCENTS.values(), ids=DESCENTS.keys())
def test_it_goes_down_only_where_the_glob_may_lead(pattern: str, folder: str, down: bool, files: bool) -> None:
    want = wanted(pattern).at(name for name in folder.split("/") if name)
    assert (want.folder, want.files_inside) == (down, files)


def test_many_stars_on_a_long_path_cost_little() -> None:
    want = wanted("/".join(["**", "a"] * 10 + ["b"])).at(["a"] * 200)
    assert len(want.rests) < 40
    assert not want.file


SPLITS = {"/etc/app": ("/etc/app", ""), "/etc/*.yaml": ("/etc", "*.yaml"), "/*/a": ("/", "*/a")}


@pytest.mark.parametrize(("path", "parts"), SPLITS.items())
def test_a_glob_begins_at_its_first_wildcard(path: str, parts: tuple[str, str]) -> None:
    assert split(path) == parts


def snapshot(*found: EntryContent) -> Snapshot:
    return snapshot_of(found)


def test_an_entry_that_is_not_there_does_not_count_and_makes_the_snapshot_less_than_whole() -> None:
    there = EntryContent("/a", EntryKind.FOLDER, names={"x": "1"})
    missing = EntryContent("/b", state=EntryState.MISSING)
    assert snapshot(there).whole
    assert not snapshot(there, missing).whole
    assert snapshot(there, missing).hash == snapshot(there).hash == combined({"/a": snapshot(there).entries[0].hash})
    assert snapshot(there, EntryContent("/b", EntryKind.FOLDER)).hash != snapshot(there).hash, (
        "an empty folder is there"
    )


def test_the_first_entry_of_a_clash_gives_the_bytes() -> None:
    first = EntryContent("/a", names={"x": "1"}, files={"x": b"1"})
    both = snapshot(first, EntryContent("/b", names={"x": "2"}, files={"x": b"2"}))
    assert (both.files, both.clashes) == ({"x": b"1"}, ("x",))


def test_content_is_not_in_the_text_of_a_look() -> None:
    secret = snapshot(EntryContent("/a", names={"x": "digest-of-it"}, files={"x": b"hunter2"}))
    assert "hunter2" not in repr(secret)
    assert "digest-of-it" not in repr(secret)


def test_a_folder_watched_for_contents_need_not_be_watched_for_names() -> None:
    both = snapshot(
        EntryContent("/a", watch_contents={"/a"}, watch_names={"/"}), EntryContent("/b", watch_names={"/a"})
    )
    assert both.watch_contents == {"/a"}
    assert both.watch_names == {"/"}


WORDS = {
    "known": (OSError(errno.EACCES, "Permission denied"), "permission denied; let"),
    "others": (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    "without words": (OSError(), "OSError"),
}


@pytest.mark.parametrize(("error", "words"), WORDS.values(), ids=WORDS.keys())
def test_a_problem_is_said_in_words(error: OSError, words: str) -> None:
    assert unreadable_path("/a", error).reason.startswith(words)
