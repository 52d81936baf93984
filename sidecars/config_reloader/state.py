"""The state file: which content the app was last told, so that a restart tells nothing twice and misses nothing."""

import asyncio
import os

import msgspec

from sidecars.kit.atomic import write_file
from sidecars.runtime import Context, State
from sidecars.runtime.stop import now, rfc3339

from .metrics import ReloaderMetrics


class Told(msgspec.Struct, frozen=True):
    """Its content."""

    hash: str
    at: str
    version: int = 1


class StateFile:
    """Without a path it remembers nothing. That it cannot be written degrades the sidecar; the app is told anyway."""

    def __init__(self, path: str, ctx: Context, metrics: ReloaderMetrics) -> None:
        self._path = path
        self._ctx = ctx
        self._metrics = metrics

    def load(self) -> str | None:
        """The hash of the content that was told last; None when that is not known."""
        if not self._path:
            return None
        try:
            with open(self._path, "rb") as file:
                told = msgspec.json.decode(file.read(1 << 16), type=Told)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            self._ctx.log.warning(
                f"cannot use {self._path} (state_file): {why}; what the app was told before is not known",
                action="state.unusable",
            )
            return None
        return told.hash if told.version == 1 else None

    async def save(self, digest: str) -> None:
        """Remember it, durably."""
        if not self._path:
            return
        data = msgspec.json.encode(Told(digest, rfc3339(now()))) + b"\n"
        try:
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
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        write_file(self._path, data)
