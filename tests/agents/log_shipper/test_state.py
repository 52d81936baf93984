"""The checkpoint file: kept when positions move, done without when that is impossible."""

import asyncio
import itertools
import threading
from pathlib import Path

import pytest

from sidecars.log_shipper.core.checkpoint import Checkpoint, Position, dump, load
from sidecars.log_shipper.core.identity import FileKey, Head, Mark
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.tailing.checkpoint_file import StateFolder
from sidecars.runtime import Context, State
from tests.support.context import condition, context, metric, passes
from tests.support.waiting import until_async


def checkpoint(offset: int, path: str = "/a.log") -> Checkpoint:
    return Checkpoint([Position(path, path, FileKey(1, 2), Head(1, "h"), Mark(offset, "m"), "p", "f", 0)])


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


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "garbage"),
    "cut off": (dump(checkpoint(5))[:-9], "truncated"),
    "of an older schema": (dump(checkpoint(5)).replace(b'"schema":1', b'"schema":0', 1), "schema"),
    "of other bytes": (b"\0" * 4096, "garbage"),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD.keys())
async def test_a_checkpoint_that_cannot_be_used_is_counted_and_replaced(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    (tmp_path / "checkpoint.json").write_bytes(data)
    state, ctx = folder_at(tmp_path)
    assert state.load() == Checkpoint()
    assert metric(ctx, "checkpoint_resets_total", reason=reason) == 1
    assert await state.save(checkpoint(7))
    assert state.load() == checkpoint(7)


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

    def _write(self, data: bytes) -> None:
        if self.slow:
            self.slow = False
            self.begun.set()
            assert self.let_go.wait(30)
        super()._write(data)


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
    assert load((tmp_path / "checkpoint.json").read_bytes()) == checkpoint(2)
