"""Take snapshots of the watched content when there is reason to: events are hints, the truth is the hash of a snapshot.

The watch is set first and the snapshot taken after it, so nothing falls between. Where events cannot be had (inotify
exhausted) or do not come (network file systems) a snapshot is taken from time to time.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from sidecars.config_reloader.core.snapshot import EntryKind, EntryState, Snapshot
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.config_reloader.settings import ConfigReloaderSettings
from sidecars.kit.watch.folders import folder_watch
from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic, seconds_until

from . import volume
from .mounts import frozen

_RETRY_INOTIFY_SECONDS = 5.0
_LOOK_SHARE = 4
"""A snapshot is followed by a pause of so many times its own duration: a restless writer must not take a core."""
_REST_SECONDS = 0.1
"""The longest pause after a snapshot where a quiet period is waited for anyway: busy folders are read less often."""
_UNSTABLE_SECONDS = 0.1
_SETTING_TRIES = 10
"""Folders that come and go while we look: after so many times the next event or timer will do."""
_NAMED = 10


class Watcher:
    """Takes snapshots of what is watched, and knows when to take the next one."""

    def __init__(self, settings: ConfigReloaderSettings, ctx: Context, metrics: ReloaderMetrics) -> None:
        self._settings = settings
        self._ctx = ctx
        self._metrics = metrics
        self._happened = asyncio.Event()
        self._watch = folder_watch(settings.watch_backend, self._happened, retry_seconds=_RETRY_INOTIFY_SECONDS)
        self._bounds = volume.Bounds(settings.max_files, settings.max_bytes)
        self._taking = asyncio.Lock()
        self.last: Snapshot | None = None

    @property
    def mode(self) -> str:
        """Return how changes are noticed."""
        return "poll" if self._watch.polling else self._watch.backend.value

    @property
    def folder(self) -> str:
        """Return the folder of the first watched path: the candidate where nothing is rendered."""
        return self.last.entries[0].folder if self.last and self.last.entries else ""

    async def take(self) -> Snapshot:
        """Take a snapshot now."""
        async with self._taking:
            for _ in range(_SETTING_TRIES):
                snapshot = await asyncio.to_thread(volume.take, self._settings.watched, self._bounds)
                if not self._watch.watch(snapshot.watch_contents, snapshot.watch_names):
                    break  # every folder of this snapshot was watched before it was taken
            self.last = snapshot
            self._report(snapshot)
            return snapshot

    async def contents(self) -> Snapshot:
        """Take a snapshot with the bytes of the files."""
        return await asyncio.to_thread(volume.take, self._settings.watched, self._bounds, contents=True)

    async def run(self, seen: Callable[[Snapshot], None], look_at: Callable[[], float]) -> None:
        """Take a snapshot and call `seen` whenever there is reason to, until cancelled; `look_at` says when that is at
        the latest (monotonic).
        """
        while True:
            await self._wait(look_at())
            self._happened.clear()
            began = monotonic()
            seen(await self.take())
            rest_seconds = min(self._settings.quiet_seconds / 4, _REST_SECONDS)
            await self._ctx.stop.pause(max((monotonic() - began) * _LOOK_SHARE, rest_seconds))

    def close(self) -> None:
        """Let go of the watch."""
        self._watch.close()

    async def _wait(self, look_at: float) -> None:
        """Wait until something happened, or it is time to take a snapshot anyway."""
        seconds = self._settings.poll_seconds if self._watch.polling else self._settings.resync_seconds
        if self.last and any(entry.state is EntryState.UNSTABLE for entry in self.last.entries):
            seconds = _UNSTABLE_SECONDS
        with suppress(TimeoutError):  # a timer is a reason as well
            async with asyncio.timeout(min(seconds, seconds_until(look_at))):
                await self._happened.wait()

    def _report(self, snapshot: Snapshot) -> None:
        missing = [entry.path for entry in snapshot.entries if entry.state is EntryState.MISSING]
        too_large = too_large_paths(snapshot)
        self._metrics.polling.set(self._watch.polling)
        self._metrics.missing.set(len(missing))
        self._metrics.too_large.set(len(too_large))
        self._metrics.unreadable.set(len(snapshot.unreadable))
        self._metrics.files.set(sum(entry.files for entry in snapshot.entries))
        reasons = too_large + [f"{path} is not there" for path in missing]
        reasons += [
            f"{entry.path} {_empty(entry.kind)}; in a pod, mount there what the app reads"
            for entry in snapshot.entries
            if entry.state is EntryState.OK and not entry.files
        ]
        reasons += [f"cannot read {path.path}: {path.reason}" for path in snapshot.unreadable[:_NAMED]]
        # Whoever sees no change for good must not look as if nothing had changed.
        if self._say("watch", reasons, State.FAILING if too_large else State.DEGRADED):
            if too_large:
                self._ctx.log.error("; ".join(reasons), action="watch.too_large")
            else:
                self._ctx.log.warning("; ".join(reasons), action="watch.incomplete")
        reason = self._watch.reason
        if self._say("events", [reason] if reason else []):
            text = f"{reason}: looking every {self._settings.poll_seconds:g} s instead"
            self._ctx.log.warning(text, action="watch.polling")

    def report_frozen(self) -> None:
        """Say which paths can never change. Once, at the start: mounts of a container do not change."""
        found = frozen(self._settings.watched)
        self._metrics.frozen.set(len(found))
        if self._say("mounts", [f"{item.path} {item.reason}" for item in found]):
            for item in found:
                self._ctx.log.error(
                    f"cannot see changes of {item.path}: {item.reason}", action="watch.frozen", path=item.path
                )

    def _say(self, condition: str, reasons: list[str], bad: State = State.DEGRADED) -> bool:
        """Set a condition; return whether it has just become bad, or bad in another way."""
        before = {c.name: c.reason for c in self._ctx.health.conditions}.get(condition, "")
        reason = "; ".join(reasons)
        self._ctx.health.set(condition, bad if reasons else State.OK, reason)
        return bool(reasons) and reason != before


def too_large_paths(snapshot: Snapshot) -> list[str]:
    """Return the watched paths that hold too much, each with the limit and the remedy."""
    return [f"{entry.path}: {entry.too_large}" for entry in snapshot.entries if entry.state is EntryState.TOO_LARGE]


def _empty(kind: EntryKind) -> str:
    return "matches no file" if kind is EntryKind.GLOB else "holds no file"
