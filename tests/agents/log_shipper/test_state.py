"""The checkpoint file: kept when positions move, done without when that is impossible."""

import asyncio
import itertools
import resource
import threading
from pathlib import Path

import msgspec
import pytest

from sidecars.log_shipper.core.checkpoint import Checkpoint, CheckpointChange, FilePosition, load
from sidecars.log_shipper.core.identity import FileIdentity, FileKey, Head, Mark
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.tailing.checkpoint_file import StateFolder
from sidecars.runtime import Context, State
from tests.support.context import condition, context, metric, passes
from tests.support.waiting import until_async


def checkpoint(offset: int, path: str = "/a.log") -> Checkpoint:
    return Checkpoint([position(offset, path)])


def position(offset: int, path: str = "/a.log", inode: int = 2) -> FilePosition:
    return FilePosition(FileIdentity(path, Head(1, "h"), "p", "f"), path, FileKey(1, inode), Mark(offset, "m"))


def folder_at(path: Path) -> tuple[StateFolder, Context]:
    ctx = context()
    return StateFolder(str(path), ctx, ShipperMetrics(ctx.metrics)), ctx


async def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    state, ctx = folder_at(tmp_path / "new" / "folder")
    assert state.load() == Checkpoint()
    assert await state.save(checkpoint(5))
    assert folder_at(tmp_path / "new" / "folder")[0].load() == checkpoint(5)
    assert metric(ctx, "checkpoint_writes_total", result="ok") == 1
    assert condition(ctx, "state").state is State.OK


async def test_file_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    state, _ = folder_at(tmp_path)
    name = b"/logs/caf\xe9.log".decode("utf-8", "surrogateescape")
    assert await state.save(checkpoint(5, name))
    assert state.load() == checkpoint(5, name)


async def test_the_start_clears_what_a_killed_predecessor_left(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.json.4711.tmp").write_bytes(b"half")
    folder_at(tmp_path)[0].load()
    assert list(tmp_path.iterdir()) == []


async def test_a_checkpoint_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").mkdir()
    state, ctx = folder_at(tmp_path)
    assert state.load() == Checkpoint()
    assert metric(ctx, "checkpoint_resets_total", reason="unreadable") == 1


async def test_a_folder_that_cannot_be_written_degrades_until_it_can(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    state, ctx = folder_at(blocked / "state")
    state.moved()
    assert not await state.save(checkpoint(5))
    assert condition(ctx, "state").state is State.DEGRADED
    assert "state_dir" in condition(ctx, "state").reason
    assert metric(ctx, "checkpoint_writable") == 0
    assert metric(ctx, "checkpoint_writes_total", result="failed") == 1
    assert state.age_seconds() > 0
    blocked.unlink()
    assert await state.save(checkpoint(5))
    assert condition(ctx, "state").state is State.OK
    assert metric(ctx, "checkpoint_writable") == 1
    assert state.age_seconds() == 0
    assert state.load() == checkpoint(5)


@pytest.mark.looptime
async def test_it_is_written_at_most_once_a_second_and_only_when_positions_moved(tmp_path: Path) -> None:
    state, ctx = folder_at(tmp_path)
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    def now() -> Checkpoint:
        asked.append(loop.time())
        return checkpoint(len(asked))

    keeping = asyncio.create_task(state.keep_saving(now))
    for _ in range(50):
        state.moved()
        await passes(0.1)
    assert 4 <= len(asked) <= 7
    assert all(after - before >= 0.99 for before, after in itertools.pairwise(asked))
    await passes(3)
    seen = len(asked)
    await passes(60)
    assert len(asked) == seen
    state.moved()
    await passes(3)
    assert len(asked) == seen + 1
    assert state.load() == checkpoint(len(asked))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert metric(ctx, "checkpoint_writes_total", result="ok") == len(asked)


@pytest.mark.looptime
async def test_a_failed_write_is_tried_again_without_new_movement(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    state, ctx = folder_at(blocked / "state")
    keeping = asyncio.create_task(state.keep_saving(lambda: checkpoint(5)))
    await passes(5)
    assert metric(ctx, "checkpoint_writes_total", result="failed") >= 3
    blocked.unlink()
    await passes(3)
    assert state.load() == checkpoint(5)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


class SlowFolder(StateFolder):
    """A disk on which a write takes until it is let go."""

    begun = threading.Event()
    let_go = threading.Event()
    slow = True

    def _write(self, checkpoint: Checkpoint, change: CheckpointChange | None) -> tuple[int, bool]:
        if self.slow:
            self.slow = False
            self.begun.set()
            assert self.let_go.wait(30)
        return super()._write(checkpoint, change)


async def test_the_last_write_is_not_overtaken_by_one_that_was_given_up(tmp_path: Path) -> None:
    """At the stop the regular write is cancelled, but its thread goes on: two writers of one temporary file."""
    ctx = context()
    state = SlowFolder(str(tmp_path), ctx, ShipperMetrics(ctx.metrics))
    first = asyncio.create_task(state.save(checkpoint(1)))
    await until_async(state.begun.is_set, "the write to begin")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    last = asyncio.create_task(state.save(checkpoint(2)))
    done, _ = await asyncio.wait({last}, timeout=0.2)
    assert not done, "the last write did not wait for the one under way"
    state.let_go.set()
    assert await last
    assert load((tmp_path / "checkpoint.json").read_bytes()).checkpoint == checkpoint(2)


def many(count: int, offset: int = 5) -> Checkpoint:
    return Checkpoint([position(offset, f"/logs/{number}.log", number) for number in range(count)])


def moved(before: Checkpoint, index: int, offset: int) -> Checkpoint:
    """One of the files was read on; the others' positions are the same objects, as those of files at rest are."""
    changed = msgspec.structs.replace(before.positions[index], mark=Mark(offset, "m"))
    return Checkpoint([*before.positions[:index], changed, *before.positions[index + 1 :]], before.ended)


async def test_what_is_written_follows_what_moved_and_not_how_many_files_there_are(tmp_path: Path) -> None:
    state, ctx = folder_at(tmp_path)
    file = tmp_path / "checkpoint.json"
    latest = many(2000)
    await state.save(latest)
    whole_bytes = file.stat().st_size
    for offset in range(100, 110):
        latest = moved(latest, offset, offset)
        await state.save(latest)
    assert 0 < file.stat().st_size - whole_bytes < 10 * 1000
    await state.save(latest)
    assert metric(ctx, "checkpoint_writes_total", result="ok") == 11, "nothing moved, and yet it was written"
    assert folder_at(tmp_path)[0].load() == latest


async def test_the_file_stays_small_however_long_it_is_appended_to(tmp_path: Path) -> None:
    state, _ = folder_at(tmp_path)
    latest, largest = many(10), 0
    for offset in range(1000):
        latest = moved(latest, offset % 10, offset)
        await state.save(latest)
        largest = max(largest, (tmp_path / "checkpoint.json").stat().st_size)
    assert largest < 80_000
    assert folder_at(tmp_path)[0].load() == latest


@pytest.mark.parametrize("lost_bytes", [1, 30, 200])
async def test_a_change_that_was_cut_short_is_left_out(tmp_path: Path, lost_bytes: int) -> None:
    state, ctx = folder_at(tmp_path)
    file = tmp_path / "checkpoint.json"
    for offset in (5, 6, 7):
        await state.save(checkpoint(offset))
    file.write_bytes(file.read_bytes()[:-lost_bytes])
    again, ctx = folder_at(tmp_path)
    assert again.load() == checkpoint(6)
    assert metric(ctx, "checkpoint_resets_total", reason="garbage") == 0
    await again.save(checkpoint(8))
    assert folder_at(tmp_path)[0].load() == checkpoint(8), "nothing is appended to half a line"


@pytest.mark.parametrize("meddling", ["removed", "replaced", "appended to"])
async def test_a_file_that_somebody_meddled_with_is_written_anew(tmp_path: Path, meddling: str) -> None:
    state, _ = folder_at(tmp_path)
    file = tmp_path / "checkpoint.json"
    await state.save(checkpoint(5))
    if meddling == "removed":
        file.unlink()
    elif meddling == "replaced":
        (tmp_path / "other").write_bytes(file.read_bytes())
        (tmp_path / "other").rename(file)
    else:
        file.write_bytes(file.read_bytes() + b"x")
    assert await state.save(checkpoint(6))
    assert folder_at(tmp_path)[0].load() == checkpoint(6)


async def test_an_append_that_fails_half_done_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A full disk: as far as RLIMIT_FSIZE is one."""
    state, _ = folder_at(tmp_path)
    file = tmp_path / "checkpoint.json"
    await state.save(checkpoint(5))
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        assert not await state.save(checkpoint(6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert await state.save(checkpoint(7))
    assert folder_at(tmp_path)[0].load() == checkpoint(7)
