"""The checkpoint file: read it once, write what moved, and go on without it when that is impossible."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from sidecars.kit.atomic import clear_leftovers, write_file
from sidecars.log_shipper.core.checkpoint import Checkpoint, CheckpointChange, Damaged, Journal, dump, dump_change, load
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic

_NAME = "checkpoint.json"
_EVERY_SECONDS = 1.0

_Written = tuple[int, int, int]
"""Device, inode and size of the file as we left it."""


class StateFolder:
    """Keeps the checkpoint. A folder that cannot be written degrades the sidecar and loses nothing: document ids are
    made of positions, so what is read again after a restart is recognised.
    """

    def __init__(self, folder: str, ctx: Context, metrics: ShipperMetrics) -> None:
        self._path = os.path.join(folder, _NAME)
        self._ctx = ctx
        self._metrics = metrics
        self._moved = asyncio.Event()
        self._moved.set()
        self._unsaved_since: float | None = None
        self._journal = Journal()
        self._written: _Written | None = None
        self._saving = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, "checkpoint")  # one thread: the last write stands last

    def load(self) -> Checkpoint:
        """Return the last checkpoint; an empty one when there is none or it cannot be used (counted, and said)."""
        clear_leftovers(self._path)
        try:
            with open(self._path, "rb") as file:
                loaded = load(file.read())
        except FileNotFoundError:
            return Checkpoint()
        except (Damaged, OSError) as error:
            reason = str(error) if isinstance(error, Damaged) else "unreadable"
            self._say_damage(reason, f"cannot use the checkpoint {self._path}: {reason}")
            return Checkpoint()
        if loaded.lost_changes:
            self._say_damage("garbage", f"cannot use the last {loaded.lost_changes} changes in {self._path}: garbage")
        return loaded.checkpoint

    def moved(self) -> None:
        """Note that positions changed: write soon."""
        if self._unsaved_since is None:
            self._unsaved_since = monotonic()
        self._moved.set()

    def age_seconds(self) -> float:
        """Return since when a position is not saved; 0 when the checkpoint is up to date."""
        return 0.0 if self._unsaved_since is None else monotonic() - self._unsaved_since

    async def keep_saving(self, checkpoint: Callable[[], Checkpoint]) -> None:
        """Write whenever positions moved, at most once a second; runs until cancelled."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            if not await self.save(checkpoint()):
                self._moved.set()
            await self._ctx.stop.pause(_EVERY_SECONDS)

    async def save(self, checkpoint: Checkpoint) -> bool:
        """Write what moved now; False (counted, shown) when the folder cannot be written."""
        unsaved_since, self._unsaved_since = self._unsaved_since, None
        async with self._saving:
            change = self._journal.change(checkpoint)
            if change is not None and not change:
                return True
            self._journal.must_be_whole = True  # until it is known that the write was done
            try:
                loop = asyncio.get_running_loop()
                size_bytes, whole = await loop.run_in_executor(self._writer, self._write, checkpoint, change)
            except OSError as error:
                self._unsaved_since = unsaved_since
                self._say_failure(error)
                return False
            self._journal.written(checkpoint, size_bytes, whole=whole)
        self._metrics.checkpoints.labels("ok").inc()
        self._metrics.checkpoint_writable.set(1)
        self._ctx.health.set("state", State.OK)
        return True

    def close(self) -> None:
        """Write no more; nobody waits for a write that is under way."""
        self._writer.shutdown(wait=False)

    def _say_damage(self, reason: str, text: str) -> None:
        self._metrics.checkpoint_resets.labels(reason).inc()
        text = f"{text}; files are read again, ids tell repeats"
        self._ctx.log.warning(text, action="checkpoint.reset", reason=reason)

    def _say_failure(self, error: OSError) -> None:
        text = f"cannot write {self._path} (state_dir): {error.strerror}; going on without, nothing is lost"
        self._metrics.checkpoints.labels("failed").inc()
        self._metrics.checkpoint_writable.set(0)
        self._ctx.health.set("state", State.DEGRADED, text)
        self._ctx.log.error(text, action="checkpoint.failed", every_seconds=60)

    def _write(self, checkpoint: Checkpoint, change: CheckpointChange | None) -> tuple[int, bool]:
        """Append the change, or else write the whole; the bytes written, and whether it is the whole. In the thread."""
        if change is not None and self._written is not None:
            data = dump_change(change)
            if self._append(data, self._written):
                return len(data), False
        self._written = None
        data = dump(checkpoint)
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        write_file(self._path, data)
        status = os.stat(self._path)
        self._written = (status.st_dev, status.st_ino, len(data))
        return len(data), True

    def _append(self, data: bytes, written: _Written) -> bool:
        """Append to the file as we left it; False when it is not there any more, or another. Raises OSError, and leaves
        nothing of `data` behind then.
        """
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino, status.st_size) != written:
                return False
            try:
                rest = memoryview(data)
                while rest:  # a write may be short (signals, quotas)
                    rest = rest[os.write(fd, rest) :]
                os.fdatasync(fd)
            except OSError:
                with suppress(OSError):  # what stays is half a line, which ends the reading of changes
                    os.ftruncate(fd, status.st_size)
                raise
        finally:
            os.close(fd)
        self._written = (status.st_dev, status.st_ino, status.st_size + len(data))
        return True
