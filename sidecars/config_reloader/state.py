"""The state file: which content the app was last told, so that a restart tells nothing twice and misses nothing."""

import asyncio
import os

import msgspec

from sidecars.kit.atomic import clear_leftovers, write_file
from sidecars.kit.files import open_regular
from sidecars.runtime import Context, State
from sidecars.runtime.clock import now, rfc3339

from .metrics import ReloaderMetrics


class Told(msgspec.Struct, frozen=True):
    """Its content. `hash`: what the app was last told with success. `telling`: what it may have been told since.
    `refused`: what it was told since, in vain: the last good generation is back.
    """

    hash: str = ""
    telling: str = ""
    refused: str = ""
    at: str = ""
    version: int = 1


class StateFile:
    """Without a path it remembers nothing. That it cannot be written degrades the sidecar; the app is told anyway."""

    def __init__(self, path: str, ctx: Context, metrics: ReloaderMetrics) -> None:
        self._path = path
        self._ctx = ctx
        self._metrics = metrics
        self._writing = asyncio.Lock()
        """What is noted later is written later."""

    def load(self) -> Told:
        """What is remembered; nothing when that is not known."""
        if not self._path:
            return Told()
        clear_leftovers(self._path)
        try:
            told = msgspec.json.decode(_read(self._path), type=Told)
        except FileNotFoundError:
            return Told()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            self._ctx.log.warning(
                f"cannot use {self._path} (state_file): {why}; what the app was told before is not known",
                action="state.unusable",
            )
            return Told()
        return told if told.version == 1 else Told()

    async def telling(self, applied: str | None, digest: str) -> None:
        """The app is being told: should we be killed before the end, it may have this content or the applied one."""
        await self._save(Told(applied or "", telling=digest, at=rfc3339(now())))

    async def save(self, digest: str, *, refused: str = "") -> None:
        """The app has this content, told with success; what is `refused` is not tried again by the next start."""
        await self._save(Told(digest, refused=refused, at=rfc3339(now())))

    async def _save(self, told: Told) -> None:
        if not self._path:
            return
        data = msgspec.json.encode(told) + b"\n"
        try:
            async with self._writing:
                await asyncio.to_thread(self._write, data)
        except OSError as error:
            text = (
                f"cannot write {self._path} (state_file): {error.strerror}; after a restart it is not known what the "
                "app was told: mount a writable volume there"
            )
            self._metrics.state_writable.set(0)
            self._ctx.health.set("state", State.DEGRADED, text)
            self._ctx.log.error(text, action="state.failed", every_seconds=60)
            return
        self._metrics.state_writable.set(1)
        self._ctx.health.set("state", State.OK)

    def _write(self, data: bytes) -> None:
        """Whole, and to outlive the process. Not a power cut: that ends the app too, which then reads what is there."""
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        write_file(self._path, data, durable=False)


def _read(path: str) -> bytes:
    with open(open_regular(path), "rb") as file:
        return file.read(1 << 16)
