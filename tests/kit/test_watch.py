"""Something happened in a folder: told by the kernel where that can be had, and never a reason to fail."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecars.kit.watch import FolderWatch
from tests.support.context import passes


class Watched:
    def __init__(self) -> None:
        self.happened = asyncio.Event()
        self.watch = FolderWatch(self.happened)

    def set(self, *folders: Path, contents: bool = False) -> bool:
        return self.watch.watch([str(folder) for folder in folders], contents=contents)

    async def told(self) -> bool:
        """Whether an event comes; takes it."""
        await asyncio.wait_for(self.happened.wait(), 30)
        self.happened.clear()
        names, self.watch.names_changed = self.watch.names_changed, False
        return names

    async def silent(self) -> bool:
        """Whether nothing is waiting: a later event in a folder of its own overtakes no earlier one."""
        for _ in range(20):
            await asyncio.sleep(0)
        return not self.happened.is_set()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    one = Watched()
    yield one
    one.watch.close()


async def begin(watched: Watched, *folders: Path, contents: bool = False) -> None:
    watched.set(*folders, contents=contents)
    watched.watch.names_changed = False


def create(folder: Path) -> None:
    (folder / "new").write_text("x")


def rename(folder: Path) -> None:
    (folder / "old").rename(folder / "renamed")


def remove(folder: Path) -> None:
    (folder / "old").unlink()


def move_in(folder: Path) -> None:
    (folder.parent / "outside").rename(folder / "inside")


@pytest.mark.parametrize("act", [create, rename, remove, move_in])
@pytest.mark.parametrize("contents", [False, True])
async def test_a_changed_name_is_told(
    tmp_path: Path, watched: Watched, act: Callable[[Path], None], contents: bool
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "old").touch()
    (tmp_path / "outside").touch()
    await begin(watched, folder, contents=contents)
    act(folder)
    assert await watched.told()


async def test_writes_are_told_only_when_they_are_asked_for(tmp_path: Path, watched: Watched) -> None:
    log = tmp_path / "a.log"
    log.touch()
    await begin(watched, tmp_path)
    with log.open("a") as file:
        print("a", file=file, flush=True)
        assert await watched.silent()
        assert watched.set(tmp_path, contents=True), "what was written before must be looked for"
        watched.watch.names_changed = False
        print("b", file=file, flush=True)
        assert not await watched.told()
        watched.set(tmp_path, contents=False)
        print("c", file=file, flush=True)
        assert await watched.silent()
    create(tmp_path)
    assert await watched.told()


async def test_a_new_folder_is_looked_at_once_more(tmp_path: Path, watched: Watched) -> None:
    assert watched.set(tmp_path)
    assert watched.watch.names_changed
    assert not watched.set(tmp_path)
    inner = tmp_path / "inner"
    inner.mkdir()
    assert watched.set(tmp_path, inner)


async def test_folders_that_are_not_wanted_any_more_are_silent(tmp_path: Path, watched: Watched) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    await begin(watched, one, other)
    watched.set(other)
    while not await watched.silent():
        watched.happened.clear()  # the kernel tells that the watch was removed
    watched.happened.clear()
    create(one)
    assert await watched.silent()
    create(other)
    assert await watched.told()
    watched.set(one, other)
    watched.watch.names_changed = False
    remove_new = one / "new"
    remove_new.unlink()
    assert await watched.told()


@pytest.mark.parametrize("act", ["removed", "renamed"])
async def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path, watched: Watched, act: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    await begin(watched, tmp_path, folder)
    for _ in range(3):
        folder.rmdir() if act == "removed" else folder.rename(tmp_path / "away")
        assert await watched.told()
        watched.set(tmp_path, folder)
        folder.mkdir()
        assert await watched.told()
        assert watched.set(tmp_path, folder), "files may have come before the watch"
        watched.watch.names_changed = False
        create(folder)
        assert await watched.told()
        (folder / "new").unlink()
        assert await watched.told()
        if act == "renamed":
            (tmp_path / "away").rmdir()
            assert await watched.told()


async def test_what_cannot_be_watched_is_no_error(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "file").touch()
    watched.set(tmp_path / "missing", tmp_path / "file" / "below", tmp_path)
    watched.watch.names_changed = False
    assert not watched.watch.polling
    create(tmp_path)
    assert await watched.told()
    (tmp_path / "missing").mkdir()
    assert await watched.told()
    assert watched.set(tmp_path / "missing", tmp_path)


@pytest.mark.looptime
async def test_without_inotify_it_polls_and_tries_again_later(tmp_path: Path, watched: Watched) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert not watched.set(tmp_path)
        assert watched.watch.polling
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not watched.set(tmp_path)
    assert watched.watch.polling
    await passes(31)
    assert watched.set(tmp_path)
    assert not watched.watch.polling


async def test_closing_is_possible_twice_and_before_anything_was_watched() -> None:
    watch = FolderWatch(asyncio.Event())
    watch.close()
    watch.close()
    assert watch.polling


async def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        one = Watched()
        one.set(tmp_path)
        one.watch.close()
    assert len(os.listdir("/proc/self/fd")) == before
