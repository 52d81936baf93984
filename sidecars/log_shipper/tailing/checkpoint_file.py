"""The checkpoint file: read it once, write it when positions moved, and go on without it when that is impossible."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sidecars.kit.atomic import clear_leftovers, write_file
from sidecars.log_shipper.core.checkpoint import Checkpoint, Damaged, dump, load
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic

_NAME = "checkpoint.json"
_EVERY_SECONDS = 1.0


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
        self._writer = ThreadPoolExecutor(1, "checkpoint")  # one thread: the last write stands last

    def load(self) -> Checkpoint:
        """The last checkpoint; an empty one when there is none or it cannot be used (counted, and said)."""
        clear_leftovers(self._path)
        try:
            with open(self._path, "rb") as file:
                return load(file.read())
        except FileNotFoundError:
            return Checkpoint()
        except (Damaged, OSError) as error:
            reason = str(error) if isinstance(error, Damaged) else "unreadable"
            self._metrics.checkpoint_resets.labels(reason).inc()
            self._ctx.log.warning(
                f"cannot use the checkpoint {self._path}: {reason}; files are read again, ids tell repeats",
                action="checkpoint.reset",
                reason=reason,
            )
            return Checkpoint()

    def moved(self) -> None:
        """Positions changed: write soon."""
        if self._unsaved_since is None:
            self._unsaved_since = monotonic()
        self._moved.set()

    def age_seconds(self) -> float:
        """Since when a position is not saved; 0 when the checkpoint is up to date."""
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
        """Write now; False (counted, shown) when the folder cannot be written."""
        unsaved_since, self._unsaved_since = self._unsaved_since, None
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._write, dump(checkpoint))
        except OSError as error:
            text = f"cannot write {self._path} (state_dir): {error.strerror}; going on without, nothing is lost"
            self._unsaved_since = unsaved_since
            self._metrics.checkpoints.labels("failed").inc()
            self._metrics.checkpoint_writable.set(0)
            self._ctx.health.set("state", State.DEGRADED, text)
            self._ctx.log.error(text, action="checkpoint.failed", every_seconds=60)
            return False
        self._metrics.checkpoints.labels("ok").inc()
        self._metrics.checkpoint_writable.set(1)
        self._ctx.health.set("state", State.OK)
        return True

    def close(self) -> None:
        """No more writes; one that is under way is waited for by nobody."""
        self._writer.shutdown(wait=False)

    def _write(self, data: bytes) -> None:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        write_file(self._path, data)
