"""See that the watched content changed: events are hints, the truth is the hash of a consistent look.

The watch is set first and the look taken after it, so nothing falls between. Where events cannot be had (inotify
exhausted) or do not come (network file systems) it looks from time to time.
"""

import asyncio
from collections.abc import Callable

from sidecars.config_reloader.core import digest as digests
from sidecars.config_reloader.core.settling import Settling
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.config_reloader.settings import ConfigReloaderSettings
from sidecars.kit.watch.folders import folder_watch
from sidecars.runtime import Context, State
from sidecars.runtime.clock import monotonic, seconds_until

from . import volume
from .mounts import frozen

_RETRY_INOTIFY_SECONDS = 5.0
_LOOK_SHARE = 4
"""A look is followed by a pause of so many times its own duration: a writer that never rests must not take a core."""
_REST_SECONDS = 0.1
"""The longest pause after a look where a quiet period is waited for anyway: busy folders are looked at less often."""
_UNSTABLE_SECONDS = 0.1
_SETTING_TRIES = 10
"""Folders that come and go while we look: after so many times the next event or timer will do."""
_NAMED = 10


class Detection:
    """Owns the watch, and what each watched path last held: a path that is missing counts as unchanged."""

    def __init__(self, settings: ConfigReloaderSettings, ctx: Context, metrics: ReloaderMetrics) -> None:
        self._settings = settings
        self._ctx = ctx
        self._metrics = metrics
        self._happened = asyncio.Event()
        self._watch = folder_watch(settings.watch_backend, self._happened, retry_seconds=_RETRY_INOTIFY_SECONDS)
        self._bounds = volume.Bounds(settings.max_files, settings.max_bytes)
        self._held: dict[str, str] = {}
        self._told: dict[str, str] = {}
        """What was held when content was handed on last."""
        self._named: dict[str, str] = {}
        self._looking = asyncio.Lock()
        self.settling = Settling(settings.quiet_seconds, settings.max_wait_seconds)
        self.last: digests.Look | None = None
        self.patient_until = 0.0
        """Until when a part of the content is waited for, at the start (monotonic)."""

    @property
    def mode(self) -> str:
        """How changes are noticed."""
        return "poll" if self._watch.polling else self._watch.backend.value

    @property
    def folder(self) -> str:
        """The folder of the first watched path: what is looked at where nothing is rendered."""
        return self.last.roots[0].folder if self.last and self.last.roots else ""

    @property
    def has_content(self) -> bool:
        """Whether anything that is watched was there so far."""
        return bool(self._held)

    @property
    def absent(self) -> list[str]:
        """Watched paths that could not be read at the last look."""
        return [root.path for root in self.last.roots if root.state is not digests.State.OK] if self.last else []

    @property
    def too_large(self) -> list[str]:
        """Watched paths that held too much at the last look, each with the limit and the remedy."""
        return _too_large(self.last) if self.last else []

    def changed_files(self) -> tuple[str, ...]:
        """The names of the files that came, went or changed since this was last asked."""
        before, self._named = self._named, dict(self.last.names) if self.last else {}
        return digests.changed(before, self._named)

    async def look(self) -> str:
        """Look now, and return the digest of all that is watched."""
        async with self._looking:
            for _ in range(_SETTING_TRIES):
                look = await asyncio.to_thread(volume.take, self._settings.watched, self._bounds)
                if not self._watch.watch(look.watch_contents, look.watch_names):
                    break  # every folder of this look was watched before it was taken
            self._hold(look)
            digest = digests.combined(self._held)
            self.last = look
            changed = self._is_whole and self.settling.seen(digest, monotonic())
            self._metrics.looks.labels("changed" if changed else "unchanged").inc()
            self._report(look)
            return digest

    @property
    def _is_whole(self) -> bool:
        """Whether what is there is a content. At the start of a sidecar that knows what the app has, a part of it (one
        volume is not there yet) is none, for a while.
        """
        at_start = self.settling.present is None and monotonic() < self.patient_until
        return bool(self._held) and not (at_start and self.absent)

    def _hold(self, look: digests.Look) -> None:
        """Take over what each path holds now. One that is missing is as it was told: what was seen of it on the way,
        while it was being deleted file by file, was never a content.
        """
        if self.settling.present == self.settling.told:
            self._told = dict(self._held)
        for root in look.roots:
            if root.state is digests.State.OK:
                self._held[root.path] = root.digest
            elif root.state is digests.State.MISSING and root.path in self._told:
                self._held[root.path] = self._told[root.path]

    async def contents(self) -> tuple[str, digests.Look]:
        """Read everything once more, with the bytes: the digest and the look. A missing path that was there before
        makes the look unusable.
        """
        look = await asyncio.to_thread(volume.take, self._settings.watched, self._bounds, contents=True)
        held = {root.path: root.digest for root in look.roots if root.state is digests.State.OK}
        return digests.combined(held) if held else "", look

    async def run(self, hand_on: Callable[[], None]) -> None:
        """Look whenever there is reason to, and call `hand_on` when the content is to be told; until cancelled."""
        while True:
            await self._wait()
            self._happened.clear()
            began = monotonic()
            await self.look()
            due_at = self.settling.due_at()
            if due_at is not None and due_at <= monotonic():
                hand_on()
            rest_seconds = min(self._settings.quiet_seconds / 4, _REST_SECONDS)
            await self._ctx.stop.pause(max((monotonic() - began) * _LOOK_SHARE, rest_seconds))

    def close(self) -> None:
        """Let go of the watch."""
        self._watch.close()

    async def _wait(self) -> None:
        """Until something happened, content is due, or it is time to look anyway."""
        due_at = self.settling.due_at()
        seconds = self._settings.poll_seconds if self._watch.polling else self._settings.resync_seconds
        if self.last and any(root.state is digests.State.UNSTABLE for root in self.last.roots):
            seconds = _UNSTABLE_SECONDS
        if due_at is not None:
            seconds = min(seconds, seconds_until(due_at))
        if self.settling.present is None and self._held:
            seconds = min(seconds, seconds_until(self.patient_until))
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            pass  # a timer is a reason as well

    def _report(self, look: digests.Look) -> None:
        missing = [root.path for root in look.roots if root.state is digests.State.MISSING]
        too_large = _too_large(look)
        self._metrics.polling.set(self._watch.polling)
        self._metrics.missing.set(len(missing))
        self._metrics.too_large.set(len(too_large))
        self._metrics.unreadable.set(len(look.problems))
        self._metrics.files.set(sum(root.files for root in look.roots))
        reasons = too_large + [f"{path} is not there" for path in missing]
        reasons += [
            f"{root.path} {_empty(root.kind)}; in a pod, mount there what the app reads"
            for root in look.roots
            if root.state is digests.State.OK and not root.files
        ]
        reasons += [f"cannot read {problem.path}: {problem.reason}" for problem in look.problems[:_NAMED]]
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
        """Set a condition; whether it has just become bad, or bad in another way."""
        before = {c.name: c.reason for c in self._ctx.health.conditions}.get(condition, "")
        reason = "; ".join(reasons)
        self._ctx.health.set(condition, bad if reasons else State.OK, reason)
        return bool(reasons) and reason != before


def _too_large(look: digests.Look) -> list[str]:
    return [f"{root.path}: {root.too_large}" for root in look.roots if root.state is digests.State.TOO_LARGE]


def _empty(kind: digests.Kind) -> str:
    return "matches no file" if kind is digests.Kind.GLOB else "holds no file"
