"""The state file: what the app has and may have, so that a restart notifies of nothing twice and misses nothing."""

import asyncio
import os

import msgspec

from sidecars.config_reloader.core.messages import Remembered
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.kit.atomic import clear_leftovers, write_file
from sidecars.kit.files import open_regular
from sidecars.runtime import Context, State
from sidecars.runtime.clock import now, rfc3339

_PATIENCE_SECONDS = 0.25
"""How long an app waits, at most, until it is written down that it is being notified."""


class _Record(msgspec.Struct, frozen=True):
    """What is in the file, as `Remembered`: `hash` is what was applied, `telling` what is possible since."""

    hash: str = ""
    telling: str = ""
    refused: str = ""
    at: str = ""
    version: int = 1


class StateFile:
    """The memory of a sidecar; without a path it remembers nothing. That it cannot be written delays no rollout."""

    def __init__(self, path: str, ctx: Context, metrics: ReloaderMetrics) -> None:
        self._path = path
        self._ctx = ctx
        self._metrics = metrics
        self._next: Remembered | None = None
        self._writing: asyncio.Task[None] | None = None

    def load(self) -> Remembered:
        """Return what is remembered; nothing when that is not known."""
        if not self._path:
            return Remembered()
        clear_leftovers(self._path)
        try:
            record = msgspec.json.decode(_read(self._path), type=_Record)
        except FileNotFoundError:
            return Remembered()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            self._ctx.log.warning(
                f"cannot use {self._path} (state_file): {why}; what the app was notified of before is not known",
                action="state.unusable",
            )
            return Remembered()
        return Remembered(record.hash, record.telling, record.refused) if record.version == 1 else Remembered()

    async def write(self, remembered: Remembered, tasks: asyncio.TaskGroup) -> None:
        """Write it down; leave that to a task after a moment, since the disk may be slow, and the app waits."""
        if not self._path:
            return
        self._next = remembered
        if self._writing is None or self._writing.done():
            self._writing = tasks.create_task(self._write_newest(), name="remember")
            await asyncio.wait({self._writing}, timeout=_PATIENCE_SECONDS)

    async def save(self, remembered: Remembered) -> None:
        """Write it, and report whether that is possible."""
        record = _Record(remembered.applied, remembered.possible, remembered.refused, at=rfc3339(now()))
        try:
            await asyncio.to_thread(self._write, msgspec.json.encode(record) + b"\n")
        except OSError as error:
            text = (
                f"cannot write {self._path} (state_file): {error.strerror}; after a restart it is not known what the "
                "app was notified of: mount a writable volume there"
            )
            self._metrics.state_writable.set(0)
            self._ctx.health.set("state", State.DEGRADED, text)
            self._ctx.log.error(text, action="state.failed", every_seconds=60)
        else:
            self._metrics.state_writable.set(1)
            self._ctx.health.set("state", State.OK)

    async def _write_newest(self) -> None:
        while self._next is not None:
            remembered, self._next = self._next, None
            await self.save(remembered)

    def _write(self, data: bytes) -> None:
        """Write it whole, to outlive the process; not a power cut, after which the app reads what is there anyway."""
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        write_file(self._path, data, durable=False)


def _read(path: str) -> bytes:
    with open(open_regular(path), "rb") as file:
        return file.read(1 << 16)
