"""The reading side: look at the files when there is reason to, read while there is room, hand batches on."""

import asyncio
import math
import os
from collections.abc import Callable
from typing import Any

import msgspec

from sidecars.kit.watch.folders import folder_watch
from sidecars.log_shipper.core.batch import Batch
from sidecars.log_shipper.core.checkpoint import Checkpoint
from sidecars.log_shipper.core.joining import Joining
from sidecars.log_shipper.core.lines import Intake
from sidecars.log_shipper.core.notices import SAID, WORTH_A_WARNING, Notice
from sidecars.log_shipper.core.reach import said
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic, now, rfc3339, seconds_until

from .discovery import Globs
from .files import Tail, Truncated
from .follow import Following, allowed
from .reader import Reader, shape_of

_POLL_SECONDS = 0.1
"""How often a file that is being written is looked at; inotify would tell of every single write."""
_HOT_SECONDS = 1.0
"""A file that did not grow for so long is left to inotify."""
_SLACK_BYTES = 256 << 10
"""Beside records that are not over yet, what one more read may bring."""
_RECORD_BYTES = 12
"""What a record costs in memory at least while it is under way, however short its line."""
_SLICE_SECONDS = 0.2
"""So long at a time a backlog is read before names, new files and a request to stop are looked at."""
_ABSENT_SECONDS = 5.0
"""For so long a glob may have no file without a word: the app starts after a native sidecar, and rotation has gaps."""
_SCAN_SECONDS = 2.0
_BUSY_SCAN_SECONDS = 0.5
_SCAN_SHARE = 10
"""A scan is followed by a pause of at least so many times its own duration, whatever happens."""


class Tailing:
    """Owns the followed files; `handed_on` takes each batch that is ready to be sent."""

    def __init__(
        self,
        settings: LogShipperSettings,
        ctx: Context,
        metrics: ShipperMetrics,
        start: Checkpoint,
        handed_on: Callable[[Batch], None],
    ) -> None:
        """Start with what the checkpoint knows."""
        scope = settings.pod_uid or f"{settings.pod_namespace}/{settings.pod_name or host_name()}"
        self.following = Following(Globs(settings.paths, settings.exclude, settings.own_files), start, allowed())
        self._reader = Reader(settings, shape_of(settings), scope, self.following.ended)
        self._settings = settings
        self._ctx = ctx
        self._metrics = metrics
        self._handed_on = handed_on
        self.wake = asyncio.Event()
        self.in_flight_records = 0
        self.in_flight_bytes = 0
        """Bytes read and not yet settled, those of the batch in the making included."""
        self._watch = folder_watch(settings.watch_backend, self.wake)
        self._batch = Batch()
        self._batch_due = 0.0
        self._scan_due = 0.0
        self._scan_after = 0.0
        self._has_more = False
        self._contents_watched = True
        self.last_growth = monotonic()
        self._absent_since: dict[str, float] = {}
        self._reach_said = ""

    async def step(self, *, final: bool = False) -> bool:
        """Look, read what there is and fits, hand on what is due; whether anything was read.

        `final`: half lines count as lines, and nothing waits for company in its batch.
        """
        at = monotonic()
        if final or at >= self._scan_due or (self._watch.names_changed and at >= self._scan_after):
            self._scan(at)
        else:
            self._refresh(at, everything=self._contents_watched)
        any_read = await self._read_all(final=final)
        postponed = self.following.postponed > 0
        if postponed:
            self._scan_due = min(self._scan_due, max(self._scan_after, monotonic() + _POLL_SECONDS))
        if final or postponed or (self._batch.parts and monotonic() >= self._batch_due):
            self.flush()
        return any_read

    async def wait(self, at_most_seconds: float = math.inf) -> None:
        """Until there is reason for the next step."""
        at = monotonic()
        hot = self._is_hot(at)
        self._contents_watched = not hot
        folders = self.following.folders
        if self._watch.watch(() if hot else folders, folders):
            return  # what was written before the watch was set is seen by looking once more
        if self.has_room and self._has_more:
            return
        self._metrics.polling.set(self._watch.polling)
        due = [self._scan_due, at + at_most_seconds]
        if self._batch.parts:
            due.append(self._batch_due)
        due += [joining.deadline(at) for joining in self._waiting()]
        if hot and self.has_room:
            due.append(at + _POLL_SECONDS)
        if self._watch.names_changed:
            due.append(self._scan_after)
        try:
            async with asyncio.timeout(seconds_until(min(due))):
                await self.wake.wait()
        except TimeoutError:
            pass  # a timer is a reason as well
        self.wake.clear()

    def look(self) -> None:
        """Look at names and sizes now."""
        self._scan(monotonic())

    def flush(self) -> None:
        """Hand the batch in the making on."""
        if self._batch.parts:
            batch, self._batch = self._batch, Batch()
            self._handed_on(batch)

    def close(self) -> None:
        """Let go of all files and watches."""
        self._watch.close()
        for tail in self.following.tails.values():
            tail.close()

    def settle(self, batch: Batch) -> None:
        """Every record of the batch has its outcome: move the low watermarks of its files."""
        for part in batch.parts:
            part.ledger.settle(part.segment)
        self.in_flight_bytes -= batch.file_bytes
        self.in_flight_records -= len(batch.spans)
        self.wake.set()

    @property
    def is_settled(self) -> bool:
        """Whether all that was read is settled, and no file waits to be opened."""
        return not self.in_flight_bytes and not self.following.postponed

    @property
    def decisions(self) -> int:
        """How many things were decided that the checkpoint must hold before anything is sent that depends on them."""
        return self._reader.decisions

    def checkpoint(self) -> Checkpoint:
        """Return where reading would go on after a restart."""
        return Checkpoint(self.following.positions(), self.following.ended.listed())

    def undelivered(self) -> dict[str, int]:
        """Return the bytes that nobody took yet, by file and by the last look at it; files without any are left out."""
        found: dict[str, int] = {}
        for tail in self.following.tails.values():
            if tail.undelivered_bytes:
                found[tail.place] = found.get(tail.place, 0) + tail.undelivered_bytes
        return found

    def status(self) -> list[dict[str, Any]]:
        """Return the files for /status."""
        files = [
            {
                "path": tail.path,
                "place": tail.place,
                "inode": tail.key.inode,
                "size": tail.size_bytes,
                "read_offset": tail.ledger.read.offset,
                "acknowledged_offset": tail.ledger.committed.offset,
                "lag_bytes": tail.lag_bytes,
                "listed": tail.listed,
                "open": tail.fd is not None,
                "deleted": tail.deleted,
            }
            for tail in self.following.tails.values()
        ]
        return sorted(files, key=lambda item: str(item["path"]))

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return self._held_bytes() < self._settings.in_flight_bytes

    def _held_bytes(self) -> int:
        return max(self.in_flight_bytes, _RECORD_BYTES * self.in_flight_records)

    def _has_room_for(self, tail: Tail) -> bool:
        """Whether more may be read of this file. Where records that are not over yet take all the room, the first file
        that has one is read on, or none of them would ever be over.
        """
        if self.has_room:
            return True
        more_bytes = 2 * (self._settings.max_line_bytes + _SLACK_BYTES)
        if not tail.has_open_record or self._held_bytes() >= self._settings.in_flight_bytes + more_bytes:
            return False
        tails = self.following.tails.values()
        return next((each for each in tails if each.has_open_record and each.readable), None) is tail

    def _waiting(self) -> list[Joining]:
        """The open records of files that are read to their end."""
        tails = [tail for tail in self.following.tails.values() if tail.has_open_record and not tail.readable]
        return [tail.joining for tail in tails if tail.joining is not None]

    def _is_hot(self, at: float) -> bool:
        return any(at - tail.grown_at < _HOT_SECONDS for tail in self.following.tails.values() if tail.fd is not None)

    def _scan(self, at: float) -> None:
        self._watch.names_changed = False
        self.following.scan(at)
        if self._reader.joins_records:
            self.following.link_generations()
        self._report()
        self._say_reach(at)
        took = monotonic() - at
        busy = self._watch.polling or self._is_hot(at)
        self._scan_due = at + max(_BUSY_SCAN_SECONDS if busy else _SCAN_SECONDS, took * _SCAN_SHARE)
        self._scan_after = at + took * _SCAN_SHARE

    def _refresh(self, at: float, *, everything: bool) -> None:
        """Look again at the files that are being written, or at all when inotify told of a write somewhere."""
        for tail in list(self.following.tails.values()):
            if tail.fd is not None and (everything or at - tail.grown_at < _HOT_SECONDS):
                self.following.refresh(tail, at)
        self._report()

    async def _read_all(self, *, final: bool) -> bool:
        """Round and round, a block of each file, until there is nothing to read, no room, or it is time to look
        around again; whether any was read.
        """
        any_read, progress = False, True
        until = monotonic() + _SLICE_SECONDS
        self._has_more = False
        while progress:
            progress = False
            for tail in list(self.following.tails.values()):
                last = final or tail.is_finished(monotonic())
                if not (tail.readable or (last and tail.unread_bytes)):
                    progress = (tail.has_open_record and self._release(tail, final=last)) or progress
                    continue
                if not self._has_room_for(tail) or self._waits_for_former(tail, final=last):
                    continue
                progress = self._read_one(tail, final=last) or progress
                await self._ctx.stop.pause(0)  # let replies in
            any_read = any_read or progress
            if monotonic() >= until:
                self._has_more = progress
                break
        return any_read

    def _waits_for_former(self, tail: Tail, *, final: bool) -> bool:
        """Whether the generation before this file has to be read to its end first."""
        former = tail.former
        if former is None or tail.ledger.read.offset or not self._reader.joins(former):
            return False
        self.following.refresh(former, monotonic())
        return former.readable or (final and former.unread_bytes > 0)

    def _read_one(self, tail: Tail, *, final: bool) -> bool:
        """One block of one file; whether anything was taken."""
        had_parts = bool(self._batch.parts)
        try:
            read = self._reader.read(tail, self._batch, rfc3339(now()), final=final)
        except Truncated:
            self.following.truncated(tail, monotonic())
            return True
        except OSError as error:
            self._ctx.log.error(
                f"cannot read {tail.place}: {error.strerror}",
                action="file.unreadable",
                every_seconds=60,
                file=tail.place,
                reason=error.strerror,
            )
            tail.stuck_at = (tail.size_bytes, tail.modified_ns)
            return False
        if not read.file_bytes:
            tail.lag.ends_unfinished(tail.ledger.read.offset, tail.size_bytes)
            tail.stuck_at = (tail.size_bytes, tail.modified_ns)
            return False
        self.last_growth = monotonic()
        self._taken(read, had_parts=had_parts)
        return True

    def _release(self, tail: Tail, *, final: bool) -> bool:
        """Let records leave that waited long enough for their end; whether there were any."""
        joining, at = tail.joining, monotonic()
        if joining is None or (joining.deadline(at) > at and not final):
            return False
        later = [each for each in self.following.tails.values() if each.former is tail]
        if any(each.readable or (final and each.unread_bytes) for each in later):
            return False  # it goes on there
        had_parts = bool(self._batch.parts)
        read = self._reader.release(tail, self._batch, rfc3339(now()), math.inf if final else at)
        self._taken(read, had_parts=had_parts)
        return read.records > 0

    def _taken(self, read: Intake, *, had_parts: bool) -> None:
        """Enter what was read in the books; the batch goes when it is full."""
        self.in_flight_bytes += read.file_bytes
        self.in_flight_records += read.records
        self._metrics.taken(read)
        if not had_parts:
            self._batch_due = monotonic() + self._settings.batch_seconds
        if self._batch.body_bytes >= self._settings.batch_bytes * 7 // 8:
            self.flush()

    def _say_reach(self, at: float) -> None:
        """Say which globs have no file, and what may not be entered or read: in the health, metrics and log."""
        reach = self.following.reach()
        self._metrics.reached(reach)
        absent = {each.pattern: self._absent_since.get(each.pattern, at) for each in reach.unmatched}
        self._absent_since = absent
        lasting = tuple(each for each in reach.unmatched if at - absent[each.pattern] >= _ABSENT_SECONDS)
        text = said(msgspec.structs.replace(reach, unmatched=lasting))
        if text and text != self._reach_said:
            self._ctx.log.warning(text, action="paths.unreached")
        elif self._reach_said and not text:
            self._ctx.log.info("every glob of paths has files, and all can be read", action="paths.reached")
        self._reach_said = text
        self._ctx.health.set("files", State.DEGRADED if text else State.OK, text)

    def _report(self) -> None:
        """Count and log what the scan came across."""
        for notice, path, reason in self.following.notices():
            self._metrics.file_events.labels(notice.value).inc()
            say = self._ctx.log.warning if notice in WORTH_A_WARNING else self._ctx.log.info
            every_seconds = 30.0 if notice is Notice.DESCRIPTORS else 0.0
            why = {"reason": reason} if reason else {}
            text = SAID[notice].format(path, reason)
            say(text, action=f"file.{notice.value}", every_seconds=every_seconds, file=path, **why)


def host_name() -> str:
    """What tells pods apart where the pod's UID is not known: the name of the host, in a pod the pod's."""
    return os.uname().nodename
