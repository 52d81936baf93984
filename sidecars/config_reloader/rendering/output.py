"""The folder that the app reads: make a generation of the watched content, publish it, go back to the last good one.

Everything that touches the disk is done in a thread, one thing at a time.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

from sidecars.config_reloader.core.snapshot import Snapshot, clash
from sidecars.config_reloader.core.steps import Render
from sidecars.kit.generations import Generations, hash_of
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Log, Permanent
from sidecars.runtime.settings.environment import process_environment

from . import render as rendering

_NAMED = 5


class OutputFolder:
    """One output folder."""

    def __init__(self, rules: Render, log: Log, generations: Generations | None = None) -> None:
        self._rules = rules
        self._log = log
        self._generations = generations or Generations(rules.output, int(rules.mode, 8))
        self._writing = asyncio.Lock()

    def recover(self) -> tuple[str, str]:
        """Put in order what a killed process left. Returns the folder of the published generation, and the hash of its
        content if that is not the one to go back to: the app was not notified of it to the end.
        """
        try:
            self._generations.recover()
        except (OSError, Permanent) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._log.error(f"cannot tidy up {self._rules.output} (render.output): {why}", action="render.unusable")
        current = self._generations.current() or ""
        unsure = self._generations.previous() is not None
        return current, (hash_of(current) or os.path.basename(current)) if unsure else ""

    async def render(self, wanted: str, contents: Callable[[], Awaitable[Snapshot]]) -> tuple[Outcome, str]:
        """Make a generation of the content with the wanted hash, not published yet. Returns its folder, which is the
        published one when that holds the same files.
        """
        snapshot = await contents()
        if snapshot.hash != wanted:
            too_large = [f"{entry.path}: {entry.too_large}" for entry in snapshot.entries if entry.too_large]
            why = "; ".join(too_large) or "the content is changing, or a part of it is not there"
            return Outcome(Result.UNREACHABLE, why), ""
        if snapshot.clashes:
            return Outcome(Result.REJECTED, clash(snapshot)), ""
        if snapshot.unreadable:  # a generation without a file that is there would be another configuration
            named = "; ".join(f"cannot read {path.path}: {path.reason}" for path in snapshot.unreadable[:_NAMED])
            return Outcome(Result.REJECTED, f"{named}; mend it, or watch a glob that leaves it out"), ""
        try:
            async with self._writing:
                return OK, await asyncio.to_thread(self._stage, snapshot)
        except rendering.Unrenderable as error:
            return Outcome(Result.REJECTED, str(error)), ""
        except OSError as error:
            text = f"cannot write {self._rules.output} (render.output): {error.strerror}"
            return Outcome(Result.FAILED, text), ""

    def _stage(self, snapshot: Snapshot) -> str:
        files = rendering.render(snapshot.files, self._rules, process_environment())
        if self._generations.same_as_current(files):
            return self._generations.current() or ""
        return self._generations.stage(files, snapshot.hash)

    async def publish(self, staged: str) -> Outcome:
        """Let the app read this generation ("": it does already). A thread does it: a stop leaves it alone."""
        if not staged:
            return Outcome(Result.OK, "the output holds this content already")
        try:
            async with self._writing:
                await asyncio.to_thread(self._generations.publish, staged)
        except Permanent as error:
            return Outcome(Result.DENIED, str(error))
        except OSError as error:
            return Outcome(Result.FAILED, f"cannot write the output (render.output): {error.strerror}")
        return OK

    async def put_back(self) -> tuple[Outcome, str]:
        """Publish the last good generation again. Returns its folder."""
        try:
            async with self._writing:
                if await asyncio.to_thread(self._generations.put_back):
                    return OK, self._generations.current() or ""
        except OSError as error:
            return Outcome(Result.FAILED, f"cannot put the last good generation back: {error.strerror}"), ""
        return Outcome(Result.FAILED, "there is no last good generation to put back"), ""

    async def keep(self, folder: str) -> None:
        """Note that this generation is good: it is the one to go back to, and older ones are removed."""
        try:
            async with self._writing:
                await asyncio.to_thread(self._generations.keep, folder)
        except OSError as error:
            text = f"cannot tidy up the output (render.output): {error.strerror}"
            self._log.warning(text, action="render.untidy")

    async def discard(self, folder: str) -> None:
        """Remove a generation that was rendered and is not wanted."""
        async with self._writing:
            await asyncio.to_thread(self._generations.discard, folder)
