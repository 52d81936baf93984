"""A config reloader in the loop of the test: with fakes on virtual time, or on real time with real files.

async with Stage(HOOK).running() as stage:      # what it watches is a word, who it notifies notes it down
    await stage.sees("a")
    assert stage.told == [HOOK_URL]

Files(HOOK, watch=[folder]) sees real folders by real inotify. With `render` the output folder is a real one. A second
stage with the same folder and state file is the next start.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

import msgspec

from sidecars.config_reloader.agent import Outside, Reloader
from sidecars.config_reloader.core.advance import Value
from sidecars.config_reloader.core.messages import Remembered
from sidecars.config_reloader.core.snapshot import Snapshot
from sidecars.config_reloader.core.steps import Confirm
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.config_reloader.notifying.notifier import Notifier
from sidecars.config_reloader.notifying.state_file import StateFile
from sidecars.config_reloader.rendering.output import OutputFolder
from sidecars.config_reloader.settings import ConfigReloaderSettings
from sidecars.config_reloader.watching.watcher import Watcher
from sidecars.kit.generations import Generations
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import StepOptions
from sidecars.kit.notify.core.outcome import OK, Outcome
from sidecars.runtime.clock import monotonic
from tests.support.context import condition, context, passes
from tests.support.snapshots import made_up
from tests.support.waiting import until_async

A, B = "http://a", "http://b"
HOOK, OTHER = {"webhook": {"url": A}}, {"webhook": {"url": B}}
VALIDATE = {"validate": {"command": ["check"]}}


def snapshot(name: str) -> Snapshot:
    """Return a snapshot of one folder with a file of this name and content; "" for a folder that is not there."""
    names, files = ({f"{name}.yaml": name}, {f"{name}.yaml": name.encode()}) if name else ({}, {})
    return replace(made_up({"/config": name}), names=names, files=files)


class FakeWatcher(Watcher):
    """Sees the content that it is given."""

    content = "start"

    async def take(self) -> Snapshot:
        self.last = snapshot(self.content)
        return self.last

    async def contents(self) -> Snapshot:
        return snapshot(self.content)


class FakeNotifier(Notifier):
    """Answers `answer(step, change)` after `takes(step)` seconds. `told`: when it was asked to do what."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.changes: list[Change] = []
        self.answer: Callable[[StepOptions, Change], Outcome] = lambda _step, _change: OK
        self.takes: Callable[[StepOptions], float] = lambda _step: 0.0

    async def act(self, step: StepOptions, change: Change, tasks: asyncio.TaskGroup) -> Outcome:
        del tasks
        self.told.append((monotonic(), getattr(step, "url", "") or type(step).__name__))
        self.changes.append(change)
        await passes(self.takes(step))
        return self.answer(step, change)

    async def ready(self, step: StepOptions) -> bool:
        return monotonic() > 100

    async def observe(self, step: Confirm, change: Change) -> Value | None:
        return 1

    async def confirm(
        self, step: Confirm, change: Change, before: Value | None, pause: Callable[[float], Awaitable[None]]
    ) -> Outcome:
        assert before == 1
        return await self.act(step, change, asyncio.TaskGroup())


class SlowDisk(StateFile):
    """Writes nothing, for `takes_seconds`."""

    takes_seconds = 0.0
    saved = (0.0, Remembered())

    async def save(self, remembered: Remembered) -> None:
        await passes(self.takes_seconds)
        self.saved = (monotonic(), remembered)


class Stage:
    """A reloader that runs, and what is around it."""

    watched_by: type[Watcher] = FakeWatcher
    remembered_by: type[StateFile] = SlowDisk

    def __init__(self, *steps: dict[str, Any], generations: Generations | None = None, **given: object) -> None:
        self.ctx = context(name="config-reloader")
        usual: dict[str, object] = {"watch": ["/config"], "quiet_seconds": 0, "state_file": "/state"}
        self.settings = msgspec.convert({**usual, "steps": steps, **given}, ConfigReloaderSettings)
        metrics, render = ReloaderMetrics(context(name="config-reloader").metrics), self.settings.render
        self.watcher = self.watched_by(self.settings, self.ctx, metrics)
        self.notifier = FakeNotifier()
        self.disk = self.remembered_by(self.settings.state_file, self.ctx, metrics)
        output = OutputFolder(render, self.ctx.log, generations) if render else None
        self.reloader = Reloader(self.settings, self.ctx, Outside(self.watcher, self.notifier, output, self.disk))

    @asynccontextmanager
    async def running(self, *, begins: bool = True) -> AsyncIterator[Self]:
        """Run it until the end of the block; with `begins` it has taken the first content before the block."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reloader.run())
            if begins:
                await self.begins()
            yield self
            self.ctx.stop.request("the end of the test")

    async def begins(self) -> None:
        await passes(1)

    async def sees(self, name: str, seconds: float = 0.1) -> None:
        """Let the fake watcher see this content, and time pass."""
        self.watcher.content = name  # type: ignore[attr-defined]
        self.watcher._happened.set()
        await passes(seconds)

    async def asks(self) -> object:
        """POST /reload."""
        return await self.ctx.admin.triggers["reload"]()

    @property
    def told(self) -> list[str]:
        """Which steps were attempted: addresses, and kinds of what has none."""
        return [text for _, text in self.notifier.told]

    @property
    def shown(self) -> dict[str, Any]:
        """What /status shows."""
        return self.ctx.admin.shown()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.ctx.metrics.registry.get_sample_value(f"sidecar_config_reloader_{name}", labels)

    def reason(self, name: str) -> str:
        """Return why a condition is not good, or ""."""
        return condition(self.ctx, name).reason


class Files(Stage):
    """Real folders, real events, a real state file; on real time. Nothing but an event makes it look (`resync_seconds`)
    unless a test asks for it.
    """

    watched_by = Watcher
    remembered_by = StateFile

    def __init__(self, *steps: dict[str, Any], **given: Any) -> None:
        super().__init__(*steps, **{"resync_seconds": 3600, "quiet_seconds": 0.05, "state_file": "", **given})

    async def begins(self) -> None:
        await until_async(lambda: self.ctx.health.started, "the start to be over")
        await self.settles()

    async def settles(self) -> None:
        """Until nothing is pending, and that is written down and shown."""
        await until_async(
            lambda: self.reloader.rollouts.pending is None and self.shown["pending"] is None, "everything to be told"
        )

    async def tells(self, act: Callable[[], object]) -> None:
        """This makes it notify the app exactly once (so far)."""
        before = len(self.told)
        act()
        await until_async(lambda: len(self.told) > before, "the app to be notified")
        await self.settles()
        assert len(self.told) == before + 1

    async def tells_nothing(self, act: Callable[[], object]) -> None:
        """This makes it look, and find nothing new."""
        before, (changed, unchanged) = self.told, self.looks
        act()
        await until_async(lambda: self.looks[1] > unchanged, "another look at the content")
        assert (self.looks[0], self.told) == (changed, before)

    async def misses(self, delete: Callable[[], object]) -> None:
        """This takes away what is watched, perhaps not at once, and nobody is notified."""
        before = self.told
        delete()
        await until_async(lambda: "is not there" in self.reason("watch"), "what is watched to be missing")
        await self.settles()
        assert self.told == before

    @property
    def looks(self) -> tuple[float, float]:
        """How many looks at the content found it changed, and unchanged."""
        changed, unchanged = (self.metric("looks_total", found=found) or 0.0 for found in ("changed", "unchanged"))
        return changed, unchanged
