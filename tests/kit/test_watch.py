"""Something happened in a folder: told by the kernel where that can be had, and never a reason to fail."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecars.kit.watch.backend import WatchBackend
from sidecars.kit.watch.folders import folder_watch
from tests.support.context import passes
from tests.support.limits import descriptors_left, open_descriptors
from tests.support.waiting import until_async

ROOT = Path(__file__).resolve().parents[2]
EVENTS = [WatchBackend.INOTIFY, WatchBackend.WATCHFILES]
"""The backends that tell of events; each keeps the same contract."""


class Watched:
    def __init__(self, backend: WatchBackend = WatchBackend.INOTIFY) -> None:
        self.happened = asyncio.Event()
        self.watch = folder_watch(backend, self.happened)

    def set(self, *folders: Path, contents: bool = False) -> bool:
        paths = [str(folder) for folder in folders]
        return self.watch.watch(paths) if contents else self.watch.watch((), paths)

    async def told(self) -> bool:
        """Whether an event comes; takes it."""
        await asyncio.wait_for(self.happened.wait(), 30)
        self.happened.clear()
        names, self.watch.names_changed = self.watch.names_changed, False
        return names

    async def silent(self) -> bool:
        """Whether nothing is waiting: the kernel tells at once, and watchfiles after two steps of 0.1 s."""
        pause_seconds = 0.0 if self.watch.backend is WatchBackend.INOTIFY else 0.02
        for _ in range(20):
            await asyncio.sleep(pause_seconds)
        return not self.happened.is_set()


@pytest.fixture(params=EVENTS)
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    one = Watched(request.param)
    yield one
    one.watch.close()


@pytest.fixture
async def by_inotify() -> AsyncIterator[Watched]:
    one = Watched()
    yield one
    one.watch.close()


async def begin(watched: Watched, *folders: Path, contents: bool = False) -> None:
    watched.set(*folders, contents=contents)
    watched.watch.names_changed = False


def create(folder: Path) -> None:
    (folder / "new").write_text("x")


ACTS: dict[str, Callable[[Path], object]] = {
    "create": create,
    "rename": lambda folder: (folder / "old").rename(folder / "renamed"),
    "remove": lambda folder: (folder / "old").unlink(),
    "move in": lambda folder: (folder.parent / "outside").rename(folder / "inside"),
}


@pytest.mark.parametrize("act", ACTS)
async def test_a_changed_name_is_told(tmp_path: Path, watched: Watched, act: str) -> None:
    for contents in (False, True):
        folder = tmp_path / f"{contents}" / "logs"
        folder.mkdir(parents=True)
        (folder / "old").touch()
        (folder.parent / "outside").touch()
        await begin(watched, folder, contents=contents)
        ACTS[act](folder)
        assert await watched.told()
        await watched.silent()
        watched.happened.clear()


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
        assert watched.watch.contents_changed
        watched.set(tmp_path, contents=False)
        print("c", file=file, flush=True)
        assert await watched.silent()
    create(tmp_path)
    assert await watched.told()


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
    (one / "new").unlink()
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


async def test_what_cannot_be_watched_is_no_error_and_a_new_folder_is_looked_at_once_more(
    tmp_path: Path, watched: Watched
) -> None:
    (tmp_path / "file").touch()
    folders = (tmp_path / "missing", tmp_path / "file" / "below", tmp_path)
    assert watched.set(*folders)
    assert watched.watch.names_changed
    assert not watched.set(*folders)
    watched.watch.names_changed = False
    assert not watched.watch.polling
    (tmp_path / "missing").mkdir()
    assert await watched.told()
    assert watched.set(*folders)


@pytest.mark.looptime
async def test_without_inotify_it_polls_and_tries_again_later(tmp_path: Path, watched: Watched) -> None:
    with descriptors_left(0):
        assert not watched.set(tmp_path)
        assert watched.watch.polling
    assert not watched.set(tmp_path)
    assert watched.watch.polling
    await passes(31)
    assert watched.set(tmp_path)
    assert not watched.watch.polling


@pytest.mark.parametrize("backend", WatchBackend)
async def test_closing_is_possible_twice_and_gives_the_descriptors_back(tmp_path: Path, backend: WatchBackend) -> None:
    before = open_descriptors()
    for _ in range(3):
        one = Watched(backend)
        one.watch.close()
        if backend is not WatchBackend.POLLING:
            one.set(tmp_path)
        one.watch.close()
        one.watch.close()
    # a thread of watchfiles' own gives them back a moment later, also those of the test before
    await until_async(lambda: open_descriptors() <= before, "the descriptors to be given back")


async def test_each_folder_is_told_for_what_it_was_asked(tmp_path: Path, watched: Watched) -> None:
    for name in ("contents", "names"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    watched.watch.watch([str(tmp_path / "contents")], [str(tmp_path / "names")])
    watched.watch.names_changed = False
    (tmp_path / "names" / "file").write_text("x")
    assert await watched.silent()
    (tmp_path / "contents" / "file").write_text("x")
    assert not await watched.told()
    create(tmp_path / "names")
    assert await watched.told()


async def test_a_folder_under_two_names_is_told_for_all_that_was_asked(tmp_path: Path, watched: Watched) -> None:
    """The kernel has one watch for one folder, and the last mask that was set for it."""
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    (folder / "file").touch()
    link.symlink_to(folder)
    watched.watch.watch([str(folder)])
    watched.watch.watch([str(folder)], [str(link)])
    watched.watch.names_changed = False
    (folder / "file").write_text("x")
    assert not await watched.told()
    watched.watch.watch([str(folder)])
    (folder / "file").write_text("y")
    assert not await watched.told()


async def test_what_was_renamed_away_tells_nothing_any_more(tmp_path: Path, watched: Watched) -> None:
    folder, away = tmp_path / "folder", tmp_path / "away"
    folder.mkdir()
    await begin(watched, folder)
    folder.rename(away)
    assert await watched.told()
    create(away)
    assert await watched.silent()


async def test_another_folder_at_the_path_is_noticed_without_any_event(tmp_path: Path, watched: Watched) -> None:
    """The parent is renamed, and a copy comes in its place: the watched folder itself is told nothing."""
    folder = tmp_path / "parent" / "folder"
    folder.mkdir(parents=True)
    await begin(watched, folder)
    assert not watched.set(folder)
    (tmp_path / "parent").rename(tmp_path / "away")
    folder.mkdir(parents=True)
    assert await watched.silent()
    assert watched.set(folder), "files may have come before the watch"
    watched.watch.names_changed = False
    create(tmp_path / "away" / "folder")
    assert await watched.silent(), "the old folder is not watched any more"
    create(folder)
    assert await watched.told()


def test_a_folder_that_something_is_mounted_over_is_watched_anew(tmp_path: Path) -> None:
    mount = "mount -t tmpfs none folder"
    script = f"""
import asyncio, subprocess
from sidecars.kit.watch.inotify import InotifyWatch
async def main():
    happened = asyncio.Event()
    watch = InotifyWatch(happened)
    assert watch.watch(["folder"])
    assert not watch.watch(["folder"])
    subprocess.run({mount.split()!r}, check=True)
    assert watch.watch(["folder"]), "the mount was not noticed"
    happened.clear()
    open("folder/new", "w").close()
    await asyncio.wait_for(happened.wait(), 30)
    watch.close()
asyncio.run(main())
"""
    (tmp_path / "folder").mkdir()
    if subprocess.run(["unshare", "-m", *mount.split()], cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("may not mount here (unshare -m)")
    in_child(["unshare", "-m"], script, tmp_path)


EXHAUSTED = """
import asyncio, sys
from pathlib import Path
from asyncinotify import Inotify, Mask
from sidecars.kit.watch.inotify import InotifyWatch
limit = Path("/proc/sys/user/max_inotify_" + sys.argv[1])
async def main():
    happened = asyncio.Event()
    watch = InotifyWatch(happened, retry_seconds=0)
    limit.write_text("0")
    assert not watch.watch(["folder"])
    assert watch.polling, "nothing is left, and it does not poll"
    assert not watch.watch(["folder"]) and watch.polling
    limit.write_text("8")
    assert watch.watch(["folder"]), "what came before must be looked for"
    assert not watch.polling, "it does not return to events"
    happened.clear()
    Path("folder/new").touch()
    await asyncio.wait_for(happened.wait(), 30)
    watch.close()
asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["instances", "watches"])
def test_it_polls_while_inotify_is_exhausted_and_returns_to_events(tmp_path: Path, what: str) -> None:
    own = ["unshare", "-U", "-r"]  # the limits are those of a user namespace
    lowered = [*own, "sh", "-c", f"echo 0 > /proc/sys/user/max_inotify_{what}"]
    if subprocess.run(lowered, capture_output=True, check=False).returncode:
        pytest.skip("may not make a user namespace here (unshare -U -r)")
    (tmp_path / "folder").mkdir()
    in_child(own, EXHAUSTED, tmp_path, what)


def in_child(prefix: list[str], script: str, folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*prefix, sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("backend", EVENTS)
async def test_a_descriptor_short_leaks_none(tmp_path: Path, backend: WatchBackend) -> None:
    for room in (0, 1):
        before = open_descriptors()
        one = Watched(backend)
        with descriptors_left(room):
            assert not one.set(tmp_path)
        assert one.watch.polling
        await until_async(lambda b=before: open_descriptors() <= b, "the descriptors to be given back")  # type: ignore[misc]


async def test_after_an_overflow_everything_is_watched_again(tmp_path: Path, by_inotify: Watched) -> None:
    """The queue is filled for real: the kernel then drops events, and says so."""
    queue_length = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue_length > 100_000:
        pytest.skip(f"fs.inotify.max_queued_events is {queue_length}: too many to fill")
    busy, other, *_ = folders = [tmp_path / name for name in ("busy", "other", *map(str, range(70)))]
    for folder in folders:  # more than are compared every time
        folder.mkdir()
    await begin(by_inotify, *folders)
    assert not by_inotify.set(*folders)
    rename_twice(busy, queue_length)
    other.rmdir()  # the kernel's word that this watch is gone is dropped
    other.mkdir()
    assert await by_inotify.told()
    assert by_inotify.set(*folders), "files may have come before the watch"
    by_inotify.watch.names_changed = False
    create(other)
    assert await by_inotify.told()


def rename_twice(folder: Path, events: int) -> None:
    """So many events, each unlike the one before (the kernel merges equal ones)."""
    one, other = folder / "a", folder / "b"
    one.touch()
    for _ in range(events // 4 + 1):
        one.rename(other)
        other.rename(one)


async def test_where_nothing_is_watched_the_caller_polls_and_nothing_is_wrong(tmp_path: Path) -> None:
    watch = folder_watch(WatchBackend.POLLING, asyncio.Event())
    assert not watch.watch([str(tmp_path)])
    assert (watch.polling, watch.reason) == (True, "")


def test_a_sidecar_watches_by_inotify_on_linux_and_imports_nothing_else() -> None:
    script = """
import asyncio, sys
from sidecars.kit.watch.folders import WatchBackend, folder_watch
async def main():
    print(folder_watch(WatchBackend.AUTO, asyncio.Event()).backend.value, "watchfiles" in sys.modules)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["inotify", "False"]
