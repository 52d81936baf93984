"""Keep what Elasticsearch refuses for good: a bounded NDJSON file, written through to the disk before the record
counts as done.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from sidecars.log_shipper.core.bulk import Refusal
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Context, State
from sidecars.runtime.clock import now, rfc3339

from .outputs import append

_NAMED_TYPES = 5


class DeadLetter(msgspec.Struct):
    """One refused record: when and why, and the document (and its id) as it was sent."""

    time: str
    target: str
    error: Refusal
    id: str | None
    document: msgspec.Raw


class DeadLetterFile:
    """Appends records; at `limit_bytes` the file becomes `.1`, and a former `.1` is dropped and counted."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self.dropped_bytes = 0
        """Bytes of older dead letters that made room, in all."""

    def write(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Append and fsync. Raises OSError; none of them counts as kept then."""
        data = b"".join(msgspec.json.encode(dead_letter) + b"\n" for dead_letter in dead_letters)
        self._make_room(len(data))
        append(self.path, data)

    def _make_room(self, more_bytes: int) -> None:
        try:
            size = os.stat(self.path).st_size
        except OSError:
            return
        if size and size + more_bytes > self._limit_bytes:
            older = self.path + ".1"
            with suppress(FileNotFoundError):  # there is none yet
                self.dropped_bytes += os.stat(older).st_size
            os.replace(self.path, older)


class DeadLetters:
    """The dead-letter file of this shipper, with its log, metrics and health."""

    def __init__(self, settings: LogShipperSettings, ctx: Context, metrics: ShipperMetrics) -> None:
        self.path = settings.dead_letter_file
        self.kept = 0
        """Records that were written to it since the start."""
        self._file = DeadLetterFile(settings.dead_letter_file, settings.dead_letter_bytes)
        self._target = settings.target
        self._ctx = ctx
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._dropped_bytes = 0

    async def keep(self, rejected: Sequence[tuple[bytes, Refusal]]) -> bool:
        """Write rejected records (as in the bulk body) with the reason; False when that is not possible now."""
        time = rfc3339(now())
        dead_letters = [_dead_letter(record, refusal, self._target, time) for record, refusal in rejected]
        try:
            async with self._turn:
                await asyncio.to_thread(self._file.write, dead_letters)
        except OSError as error:
            text = f"cannot write {self.path} (dead_letter_path): {error.strerror}"
            self._metrics.retries.labels("dead_letter").inc(len(dead_letters))
            self._ctx.health.set("dead-letters", State.DEGRADED, text)
            self._ctx.log.error(text, action="dead_letter.failed", every_seconds=30, records=len(dead_letters))
            return False
        self._note_kept(rejected)
        return True

    def status(self) -> dict[str, Any]:
        """Return what /status shows."""
        return {"path": self.path, "records": self.kept, "dropped_bytes": self._file.dropped_bytes}

    def _note_kept(self, rejected: Sequence[tuple[bytes, Refusal]]) -> None:
        """Say it: that records are refused, and that older ones had to make room."""
        self.kept += len(rejected)
        dropped_bytes = self._file.dropped_bytes
        gone = f"; {dropped_bytes} bytes of older ones were dropped (dead_letter_bytes)" if dropped_bytes else ""
        self._ctx.health.set("dead-letters", State.OK, f"{self.kept} refused records are in {self.path}{gone}")
        if dropped_bytes > self._dropped_bytes:
            self._ctx.log.error(
                f"cannot keep all refused records in {self.path}: {dropped_bytes} bytes of older ones are dropped"
                " so far; raise dead_letter_bytes, or mend what is refused",
                action="dead_letter.dropped",
                every_seconds=30,
                dropped_bytes=dropped_bytes,
            )
        self._dropped_bytes = dropped_bytes
        self._metrics.dead_letters_dropped.set(dropped_bytes)
        types = sorted({refusal.type for _, refusal in rejected})
        self._ctx.log.warning(
            f"Elasticsearch refused records for good: {', '.join(types[:_NAMED_TYPES])}; they are kept in {self.path}",
            action="records.rejected",
            every_seconds=10,
            records=len(rejected),
            status=rejected[0][1].status,
        )


def _dead_letter(record: bytes, refusal: Refusal, target: str, time: str) -> DeadLetter:
    """Return the dead letter for a record of a bulk body: its action line and its document."""
    action, _, document = record.partition(b"\n")
    meta = msgspec.json.decode(action, type=dict[str, dict[str, str]]).get("create", {})
    return DeadLetter(time, target, refusal, meta.get("_id"), msgspec.Raw(document.strip()))
