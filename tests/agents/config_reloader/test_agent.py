"""The loop, with fake watching and fake notifiers on virtual time: what the machine asks for is done, in order."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecars.config_reloader.agent import Outside, Reloader
from sidecars.config_reloader.core.advance import Value
from sidecars.config_reloader.core.messages import Remembered
from sidecars.config_reloader.core.snapshot import EntryKind, EntryState, Snapshot, WatchEntry, combined
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
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Permanent, Transient
from sidecars.runtime.clock import monotonic
from tests.support.context import condition, context, passes

pytestmark = pytest.mark.looptime

DOWN = Outcome(Result.UNREACHABLE, "nobody listens")
A, B = "http://a", "http://b"
HOOK, OTHER = {"webhook": {"url": A}}, {"webhook": {"url": B}}
PATIENCE_SECONDS = 30.0


def snapshot(name: str) -> Snapshot:
    state = EntryState.OK if name else EntryState.MISSING
    entry = WatchEntry("/config", EntryKind.FOLDER, state, 1, "/config", name)
    hash_ = combined({"/config": name} if name else {})
    names, files = ({f"{name}.yaml": name}, {f"{name}.yaml": name.encode()}) if name else ({}, {})
    return Snapshot(hash_, bool(name), (entry,), (), files, (), names, frozenset(), frozenset())


class FakeWatcher(Watcher):
    """Sees what it is told to see."""

    content = "start"

    def sees(self, name: str) -> None:
        self.content = name
        self._happened.set()

    async def take(self) -> Snapshot:
        self.last = snapshot(self.content)
        return self.last

    async def contents(self) -> Snapshot:
        return snapshot(self.content)


class FakeNotifier(Notifier):
    """Answers by a script: `answer(step)` after `takes` seconds; `told` is what it was asked to do."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.answer: Callable[[StepOptions], Outcome] = lambda _step: OK
        self.takes: Callable[[StepOptions], float] = lambda _step: 0.0

    async def act(self, step: StepOptions, change: Change, tasks: asyncio.TaskGroup) -> Outcome:
        del tasks
        self.told.append((monotonic(), f"{getattr(step, 'url', '') or type(step).__name__} {change.hash[:6]}"))
        await passes(self.takes(step))
        return self.answer(step)

    async def ready(self, step: StepOptions) -> bool:
        return monotonic() > 100

    async def observe(self, step: Confirm, change: Change) -> Value | None:
        return 1

    async def confirm(
        self,
        step: Confirm,
        change: Change,
        before: Value | None,
        newer: asyncio.Event,
        pause: Callable[[float], Awaitable[None]],
    ) -> Outcome:
        del newer, pause
        assert before == 1
        return await self.act(step, change, asyncio.TaskGroup())


class SlowDisk(StateFile):
    """Writes nothing, which takes as long as it is told."""

    takes_seconds = 0.0

    async def save(self, remembered: Remembered) -> None:
        await passes(self.takes_seconds)
        self.saved = (monotonic(), remembered)


class Stage:
    """A reloader that runs, and what is around it."""

    def __init__(self, *steps: dict[str, Any], output: OutputFolder | None = None, **given: object) -> None:
        self.ctx = context(name="config-reloader")
        usual: dict[str, object] = {"watch": ["/config"], "steps": steps, "quiet_seconds": 0, "state_file": "/state"}
        self.settings = msgspec.convert({**usual, **given}, ConfigReloaderSettings)
        metrics = ReloaderMetrics(context(name="config-reloader").metrics)
        self.watcher = FakeWatcher(self.settings, self.ctx, metrics)
        self.notifier = FakeNotifier()
        self.disk = SlowDisk(self.settings.state_file, self.ctx, metrics)
        parts = Outside(self.watcher, self.notifier, output, self.disk)
        self.reloader = Reloader(self.settings, self.ctx, parts)

    @asynccontextmanager
    async def running(self) -> "AsyncIterator[Stage]":
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reloader.run())
            await passes(1)
            yield self
            self.ctx.stop.request("the end of the test")

    async def sees(self, name: str, seconds: float = 0.1) -> None:
        self.watcher.sees(name)
        await passes(seconds)

    async def asks(self) -> object:
        return await self.ctx.admin.triggers["reload"]()

    @property
    def told(self) -> list[str]:
        return [text.partition(" ")[0] for _, text in self.notifier.told]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.ctx.metrics.registry.get_sample_value(f"sidecar_config_reloader_{name}", labels)


async def test_a_change_is_told_counted_remembered_and_shown() -> None:
    async with Stage(HOOK).running() as stage:
        await stage.sees("a")
        content = snapshot("a").hash
        assert stage.told == [A]
        assert stage.disk.saved[1] == Remembered(content)
        shown = stage.ctx.admin.shown()
        assert (shown["applied"]["hash"], shown["pending"], shown["refused"]) == (content, None, None)
        assert stage.metric("reloads_total", result="applied") == 1
        assert stage.metric("changes_total") == 1
        assert stage.metric("applied_info", hash=content) == 1


async def test_nobody_is_told_before_that_is_written_down() -> None:
    """Killed in between, nobody would know of it."""
    async with Stage(HOOK, OTHER).running() as stage:
        stage.disk.takes_seconds = 0.1
        began = monotonic()
        await stage.sees("a", 1.0)
        assert [round(at - began, 6) for at, _ in stage.notifier.told] == [0.1, 0.1]


async def test_a_disk_that_hangs_delays_the_app_by_a_moment_only() -> None:
    async with Stage(HOOK, OTHER).running() as stage:
        stage.disk.takes_seconds = 60
        began = monotonic()
        await stage.sees("a", 1.0)
        assert [round(at - began, 6) for at, _ in stage.notifier.told] == [0.25, 0.25]
        assert stage.ctx.admin.shown()["pending"] is None
        await passes(200)
        assert stage.disk.saved[1] == Remembered(snapshot("a").hash)


async def test_pending_content_is_shown_with_what_it_waits_for() -> None:
    async with Stage(HOOK).running() as stage:
        stage.notifier.answer = lambda _step: DOWN
        await stage.sees("a", 60)
        assert stage.ctx.admin.shown()["pending"]["waiting_for"] == "webhook: nobody listens"
        assert condition(stage.ctx, "reload").reason == "webhook: nobody listens"
        assert stage.metric("pending") == 1
        stage.notifier.answer = lambda _step: OK
        await passes(5)
        assert condition(stage.ctx, "reload").reason == ""
        assert stage.metric("pending_since_timestamp_seconds") == 0


async def test_a_request_that_hangs_is_cut_when_newer_content_waits() -> None:
    async with Stage(HOOK).running() as stage:
        stage.notifier.takes = lambda _step: 10.0 if len(stage.notifier.told) == 1 else 0.0
        await stage.sees("a", 1.0)
        await stage.sees("b", 1.5)
        assert stage.told == [A, A]
        assert stage.metric("attempts_total", step="webhook", outcome="superseded") == 1
        assert stage.ctx.admin.shown()["applied"]["hash"] == snapshot("b").hash


async def test_refused_content_is_shown_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage({"validate": {"command": ["check"]}}, HOOK, unready_when_rejected=True).running() as stage:
        stage.notifier.answer = lambda _step: Outcome(Result.REJECTED, "line 3: unknown directive")
        await stage.sees("b", 3600)
        refused = stage.ctx.admin.shown()["refused"]
        assert (refused["hash"], refused["verdict"]) == (snapshot("b").hash, "rejected")
        assert refused["reason"] == "validate: line 3: unknown directive"
        assert not stage.ctx.health.ready
        assert set(stage.told) == {"Validate"}
        assert stage.metric("reloads_total", result="rejected") == 1
        assert stage.metric("rejections_total", reason="validate") == 1
    assert sum("not in force" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"signal": {"process": "app"}}], "the app was notified of the new content"),
        ([HOOK, {"confirm": {"url": "http://a", "metric": "m"}}], "the app has the new content"),
    ],
)
async def test_only_what_was_confirmed_is_said_to_be_with_the_app(
    steps: list[dict[str, Any]], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Stage(*steps).running() as stage:
        await stage.sees("a")
    assert said in caplog.messages


async def test_a_doubt_about_what_was_told_is_said_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage({"signal": {"process": "app"}}).running() as stage:
        stage.notifier.answer = lambda _step: Outcome(Result.OK, "SIGHUP to 7 (java)", "it may exit")
        await stage.sees("a")
        await stage.sees("b")
        assert stage.metric("reloads_total", result="applied") == 2
    assert caplog.messages.count("it may exit") == 1


async def test_at_the_first_start_it_waits_until_somebody_is_ready() -> None:
    async with Stage(HOOK, initial="when-ready").running() as stage:
        await passes(98)
        assert (stage.told, stage.ctx.health.started) == ([], True)
        await passes(2)
        assert stage.told == [A]


async def test_who_asks_is_answered_about_the_content_that_is_there() -> None:
    async with Stage(HOOK).running() as stage:
        assert await stage.asks() == {"hash": snapshot("start").hash, "result": "applied"}
        stage.watcher.content = ""
        with pytest.raises(Transient, match="cannot read /config: a part of the content is not rolled out"):
            await stage.asks()
        stage.watcher.content = "b"
        stage.notifier.answer = lambda _step: DOWN
        with pytest.raises(Transient, match="still pending: webhook: nobody listens; it is tried again"):
            await stage.asks()


async def test_who_asks_for_content_that_is_refused_hears_why() -> None:
    async with Stage({"validate": {"command": ["check"]}}, HOOK).running() as stage:
        stage.notifier.answer = lambda _step: Outcome(Result.REJECTED, "line 3")
        with pytest.raises(Permanent, match="rejected: validate: line 3"):
            await stage.asks()


async def test_a_stop_answers_who_asks_and_ends_at_once() -> None:
    async with Stage(HOOK).running() as stage:
        stage.notifier.takes = lambda _step: 100.0
        asking = asyncio.ensure_future(stage.asks())
        await passes(1)
        began = monotonic()
        stage.ctx.stop.request("test")
        with pytest.raises(Transient, match="still pending"):
            await asking
        assert monotonic() == began


class SlowGenerations(Generations):
    """Publishes when it is let go."""

    def __init__(self, output: str) -> None:
        super().__init__(output, 0o644)
        self.begun, self.go, self.over = threading.Event(), threading.Event(), threading.Event()

    def publish(self, path: str) -> None:
        self.begun.set()
        self.go.wait(PATIENCE_SECONDS)
        super().publish(path)
        self.over.set()


@asynccontextmanager
async def publishing(folder: Path) -> AsyncIterator[tuple[SlowGenerations, Stage]]:
    """A reloader whose publication has begun."""
    slow = SlowGenerations(str(folder))
    given = {"render": {"output": str(folder)}, "state_file": ""}
    settings = msgspec.convert({"watch": ["/config"], **given}, ConfigReloaderSettings)
    assert settings.render is not None
    output = OutputFolder(settings.render, context(name="config-reloader").log, slow)
    async with Stage(output=output, **given).running() as stage:
        assert await asyncio.to_thread(slow.begun.wait, PATIENCE_SECONDS)
        yield slow, stage


@pytest.mark.looptime(False)
async def test_newer_content_waits_for_what_is_being_published(tmp_path: Path) -> None:
    """The thread that publishes cannot be stopped, so it keeps its folder."""
    async with publishing(tmp_path) as (slow, stage):
        stage.watcher.sees("newer")
        await passes(0.1)
        assert stage.reloader.rollouts.pending is not None
        slow.go.set()
        while not (tmp_path / "newer.yaml").exists():
            await passes(0.01)
    assert (tmp_path / "newer.yaml").read_text() == "newer"


@pytest.mark.looptime(False)
async def test_a_stop_leaves_what_is_being_published_alone(tmp_path: Path) -> None:
    async with publishing(tmp_path) as (slow, stage):
        stage.ctx.stop.request("test")
    slow.go.set()
    assert await asyncio.to_thread(slow.over.wait, PATIENCE_SECONDS)
    assert (tmp_path / "start.yaml").read_text() == "start"
