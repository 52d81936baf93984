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
from sidecars.log_shipper.core.lag import FileFigures
from sidecars.log_shipper.core.lines import Intake
from sidecars.log_shipper.core.notices import WORTH_A_WARNING, Notice, texts
from sidecars.log_shipper.core.reach import said
from sidecars.log_shipper.core.schedule import ReadSchedule, Scan, is_hot
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic, now, rfc3339, seconds_until

from .discovery import Globs
from .files import Tail, Truncated
from .follow import Following
from .opening import descriptors_allowed
from .reader import Reader, shape_of

_SLACK_BYTES = 256 << 10
"""Beside records that are not over yet, what one more read may bring."""
_RECORD_BYTES = 12
"""What a record costs in memory at least while it is under way, however short its line."""
_SLICE_SECONDS = 0.2
"""So long at a time a backlog is read before names, new files and a request to stop are looked at."""
_STALLED_SECONDS = 2.0
"""Nothing was read for so long for want of room: the outage may last."""
_ABSENT_SECONDS = 5.0
"""For so long a glob may have no file without a word: the app starts after a native sidecar, and rotation has gaps."""


class Tailing:
    """Owns the followed files; `handed_on` takes each batch that is ready to be sent."""

    def __init__(
        self,
        settings: LogShipperSettings,
        ctx: Context,
        metrics: ShipperMetrics,
        saved: Checkpoint,
        handed_on: Callable[[Batch], None],
    ) -> None:
        self._settings = settings
        self._ctx = ctx
        self._metrics = metrics
        self._handed_on = handed_on
        globs = Globs(settings.paths, settings.exclude, settings.own_files)
        self.following = Following(globs, saved, descriptors_allowed())
        scope = settings.pod_uid or f"{settings.pod_namespace}/{settings.pod_name or host_name()}"
        self._reader = Reader(settings, shape_of(settings), scope, self.following.ended)
        self._wake = asyncio.Event()
        self._watch = folder_watch(settings.watch_backend, self._wake)
        self._schedule = ReadSchedule(settings.batch_seconds)
        self._in_flight_records = 0
        self.in_flight_bytes = 0
        """Bytes read and not yet settled, those of the batch in the making included."""
        self._batch = Batch()
        self._has_more = False
        self.last_growth = monotonic()
        self._absent_since: dict[str, float] = {}
        self._reach_said = ""

    @property
    def decisions(self) -> int:
        """Return how many things were decided that the checkpoint has to hold before what depends on them is sent."""
        return self._reader.decisions

    async def step(self, *, final: bool = False) -> bool:
        """Look, read what there is and fits, hand on what is due; whether anything was read.

        `final`: half lines count as lines, and nothing waits for company in its batch.
        """
        at = monotonic()
        told, self._watch.contents_changed = self._watch.contents_changed, False
        scan = Scan.ALL if final else self._schedule.scan_due(at, names_changed=self._watch.names_changed)
        if scan is not Scan.NONE:
            self.look(scan)
        if scan is not Scan.ALL:
            self._refresh(at, told=told)
        stalled = not self.has_room and at - self.last_growth >= _STALLED_SECONDS
        self.following.meet_waiting(at, all_of_them=stalled)
        any_read = await self._read_all(final=final)
        postponed = self.following.postponed > 0
        if postponed:
            self._schedule.scan_soon(monotonic())
        if final or postponed or self.following.waiting or self._schedule.must_flush(monotonic()):
            self.flush()
        return any_read

    async def wait(self, at_most_seconds: float = math.inf) -> None:
        """Wait until there is reason for the next step."""
        at = monotonic()
        hot = self._hot(at)
        folders = self.following.folders
        written = {os.path.dirname(name) for tail in hot for name in (tail.path, tail.place)}
        if self._watch.watch(folders - written, folders):
            self._watch.contents_changed = True  # before the watch was set, perhaps: look once more
            return
        if self.has_room and (self._has_more or (self.following.waiting and not self.in_flight_bytes)):
            return
        self._metrics.polling.set(self._watch.polling)
        names_changed = self._watch.names_changed
        due = self._schedule.next_at(at, hot=bool(hot), has_room=self.has_room, names_changed=names_changed)
        due = min([due, at + at_most_seconds, *(joining.deadline(at) for joining in self._waiting())])
        try:
            async with asyncio.timeout(seconds_until(due)):
                await self._wake.wait()
        except TimeoutError:
            pass  # a timer is a reason as well
        self._wake.clear()

    def wake(self) -> None:
        """End the present wait."""
        self._wake.set()

    def look(self, scan: Scan = Scan.ALL) -> None:
        """Look at names and sizes now."""
        began = monotonic()
        self._watch.names_changed = False
        self.following.scan(began, names_only=scan is Scan.NAMES)
        if self._reader.joins_records:
            self.following.link_generations()
        self._report()
        self._say_reach(began)
        self._schedule.scanned(began, monotonic(), scan, polling=self._watch.polling)

    def flush(self) -> None:
        """Hand the batch in the making on."""
        if self._batch.parts:
            self._schedule.flushed(monotonic())
            batch, self._batch = self._batch, Batch()
            self._handed_on(batch)

    def settle(self, batch: Batch) -> None:
        """Move the low watermarks: every record of the batch has its outcome."""
        for part in batch.parts:
            part.ledger.settle(part.segment)
        self.in_flight_bytes -= batch.file_bytes
        self._in_flight_records -= len(batch.spans)
        self._wake.set()

    def checkpoint(self) -> Checkpoint:
        """Return what outlives a restart."""
        return self.following.checkpoint()

    @property
    def is_settled(self) -> bool:
        """Return whether all that was read is settled, and no file waits to be opened."""
        return not (self.in_flight_bytes or self.following.postponed or self.following.waiting)

    def undelivered(self) -> dict[str, int]:
        """Return the bytes that nobody took yet, by file and by the last look at it; files without any are left out."""
        found: dict[str, int] = {}
        for tail in self.following.tails.values():
            if tail.undelivered_bytes:
                found[tail.place] = found.get(tail.place, 0) + tail.undelivered_bytes
        return found

    def status(self) -> list[dict[str, Any]]:
        """Return the open files for /status."""
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

    def figures(self) -> list[FileFigures]:
        """Return what there is to measure of each open file."""
        at = monotonic()
        return [tail.figures(at) for tail in self.following.tails.values()]

    def closed_files(self) -> int:
        """Return how many files are known by their position alone."""
        return len(self.following.closed)

    def close(self) -> None:
        """Let go of all files and watches."""
        self._watch.close()
        for tail in self.following.tails.values():
            tail.close()

    @property
    def has_room(self) -> bool:
        """Return whether more may be read."""
        return self._held_bytes() < self._settings.in_flight_bytes

    def _held_bytes(self) -> int:
        return max(self.in_flight_bytes, _RECORD_BYTES * self._in_flight_records)

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
        """Return the open records of files that are read to their end."""
        tails = [tail for tail in self.following.tails.values() if tail.has_open_record and not tail.readable]
        return [tail.joining for tail in tails if tail.joining is not None]

    def _hot(self, at: float) -> list[Tail]:
        """Return the files that are being written."""
        return [tail for tail in self.following.tails.values() if is_hot(tail.grown_at, at)]

    def _refresh(self, at: float, *, told: bool) -> None:
        """Look again at the files that are being written, and at more when the kernel told of a write somewhere."""
        everything = self._schedule.must_refresh_all(at, told=told)
        self.following.refresh_all(list(self.following.tails.values()) if everything else self._hot(at), at)
        share = self._schedule.share_of_closed(told=told, hot=bool(self._hot(at)))
        if share and self.following.closed:
            self.following.refresh_closed(share, at)
        self._report()

    async def _read_all(self, *, final: bool) -> bool:
        """Read round and round, a block of each file, until there is nothing to read, no room, or it is time to look
        around again. Return whether any was read.
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
        """Return whether the generation before this file has to be read to its end first."""
        former = tail.former
        if former is None or tail.ledger.read.offset or not self._reader.joins(former):
            return False
        self.following.refresh(former, monotonic())
        return former.readable or (final and former.unread_bytes > 0)

    def _read_one(self, tail: Tail, *, final: bool) -> bool:
        """Read one block of one file. Return whether anything was taken."""
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
        self._in_flight_records += read.records
        self._metrics.taken(read)
        if not had_parts:
            self._schedule.batch_begun(monotonic())
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
        notices = self.following.notices()
        for notice, _, _ in notices:
            self._metrics.file_events.labels(notice.value).inc()
        for notice, text, path, reason in texts(notices):
            say = self._ctx.log.warning if notice in WORTH_A_WARNING else self._ctx.log.info
            every_seconds = 30.0 if notice is Notice.DESCRIPTORS else 0.0
            why = {"reason": reason} if reason else {}
            say(text, action=f"file.{notice.value}", every_seconds=every_seconds, file=path, **why)


def host_name() -> str:
    """Return what tells pods apart where the pod's UID is not known: the name of the host, in a pod the pod's."""
    return os.uname().nodename
