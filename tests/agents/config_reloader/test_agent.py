"""The loop, with fake watching and fake notifiers on virtual time: what the machine asks for is done, in order."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecars.config_reloader.core.messages import Remembered
from sidecars.kit.generations import Generations
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Permanent, Transient
from sidecars.runtime.clock import monotonic
from tests.agents.config_reloader.stage import HOOK, OTHER, VALIDATE, A, Stage, snapshot
from tests.support.context import passes
from tests.support.waiting import PATIENCE_SECONDS, until_async

pytestmark = pytest.mark.looptime

DOWN = Outcome(Result.UNREACHABLE, "nobody listens")
SIGNAL = {"signal": {"process": "app"}}
CONFIRM = {"confirm": {"url": "http://c", "metric": "m"}}


async def test_a_change_is_told_counted_remembered_logged_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage(HOOK).running() as stage:
        await stage.sees("a")
        content = snapshot("a").hash
        assert stage.told == [A]
        assert stage.disk.saved[1] == Remembered(content)  # type: ignore[attr-defined]
        assert (stage.shown["applied"]["hash"], stage.shown["pending"], stage.shown["refused"]) == (content, None, None)
        assert stage.metric("reloads_total", result="applied") == stage.metric("changes_total") == 1
        assert stage.metric("applied_info", hash=content) == 1
        assert stage.metric("applied_info", hash=snapshot("start").hash) is None
        await stage.sees("b")
    said = [message for message in caplog.messages if message.startswith("the content changed")]
    assert said == ["the content changed: a.yaml, start.yaml", "the content changed: a.yaml, b.yaml"]


async def test_the_quiet_period_the_longest_wait_and_the_splay_are_those_of_the_settings() -> None:
    settings: dict[str, Any] = {"quiet_seconds": 2, "max_wait_seconds": 5, "splay_seconds": 10, "pod_name": "web-3"}
    async with Stage(HOOK, **settings).running() as stage:
        await stage.sees("a", 1.9)
        await stage.sees("start", 10)
        assert (stage.metric("changes_total"), stage.told) == (0, []), "it was taken back"
        began = monotonic()
        for number in range(4):
            await stage.sees(f"b{number}", 1.5)
        assert stage.metric("changes_total") == 1, "it never rests"
        await passes(30)
        ((at, _),) = stage.notifier.told
        assert 5 < at - began < 5 + 10


async def test_what_could_not_be_read_in_time_is_looked_at_again_soon_without_an_event() -> None:
    async with Stage(HOOK).running() as stage:
        await stage.sees("?")
        stage.watcher.content = "a"  # type: ignore[attr-defined]
        await passes(1)
        assert stage.told == [A]


@pytest.mark.parametrize(("takes_seconds", "told_after"), [(0.1, 0.1), (60.0, 0.25)])
async def test_it_is_written_down_before_somebody_is_told_unless_the_disk_hangs(
    takes_seconds: float, told_after: float
) -> None:
    """Killed in between, nobody would know of it; but the app waits a moment only."""
    async with Stage(HOOK, OTHER).running() as stage:
        stage.disk.takes_seconds = takes_seconds  # type: ignore[attr-defined]
        began = monotonic()
        await stage.sees("a", 1.0)
        assert [round(at - began, 6) for at, _ in stage.notifier.told] == [told_after] * 2
        assert stage.shown["pending"] is None
        await passes(200)
        assert stage.disk.saved[1] == Remembered(snapshot("a").hash)  # type: ignore[attr-defined]


async def test_pending_content_is_shown_with_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage(HOOK).running() as stage:
        stage.notifier.answer = lambda _step, _change: DOWN
        await stage.sees("a", 50)
        assert stage.shown["pending"]["waiting_for"] == stage.reason("reload") == "webhook: nobody listens"
        assert stage.metric("pending") == 1
        assert 1 <= caplog.messages.count("cannot webhook: nobody listens") <= 2 < len(stage.told), "not each attempt"
        stage.notifier.answer = lambda _step, _change: OK
        await passes(5)
        assert stage.reason("reload") == ""
        assert stage.metric("pending_since_timestamp_seconds") == 0


async def test_a_request_that_hangs_is_cut_when_newer_content_waits() -> None:
    async with Stage(HOOK).running() as stage:
        stage.notifier.takes = lambda _step: 10.0 if len(stage.told) == 1 else 0.0
        await stage.sees("a", 1.0)
        await stage.sees("b", 1.5)
        assert stage.told == [A, A]
        assert stage.metric("attempts_total", step="webhook", outcome="superseded") == 1
        assert stage.shown["applied"]["hash"] == snapshot("b").hash


async def test_a_confirmation_that_does_not_come_ends_when_newer_content_comes() -> None:
    async with Stage(HOOK, CONFIRM).running() as stage:
        stage.notifier.takes = lambda _step: 600.0 if stage.told == [A, "http://c"] else 0.0
        await stage.sees("a", 60)
        await stage.sees("b")
        assert stage.told == [A, "http://c"] * 2
        assert stage.shown["applied"]["hash"] == snapshot("b").hash


async def test_refused_content_is_shown_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage(VALIDATE, HOOK, unready_when_rejected=True).running() as stage:
        stage.notifier.answer = lambda _step, _change: Outcome(Result.REJECTED, "line 3: unknown directive")
        await stage.sees("b", 3600)
        refused = stage.shown["refused"]
        assert (refused["hash"], refused["verdict"]) == (snapshot("b").hash, "rejected")
        assert refused["reason"] == "validate: line 3: unknown directive"
        assert not stage.ctx.health.ready
        assert set(stage.told) == {"Validate"}
        assert stage.metric("reloads_total", result="rejected") == 1
        assert stage.metric("rejections_total", reason="validate") == 1
        assert (stage.metric("content_rejected"), stage.metric("last_reload_successful")) == (1, 0)
    assert sum("not in force" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([SIGNAL], "the app was notified of the new content"),
        ([HOOK, CONFIRM], "the app has the new content"),
    ],
)
async def test_only_what_was_confirmed_is_said_to_be_with_the_app(
    steps: list[dict[str, Any]], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Stage(*steps).running() as stage:
        await stage.sees("a")
    assert said in caplog.messages


async def test_a_doubt_about_what_was_told_is_said_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage(SIGNAL).running() as stage:
        stage.notifier.answer = lambda _step, _change: Outcome(Result.OK, "SIGHUP to 7 (java)", "it may exit")
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
    async with Stage(VALIDATE, HOOK).running() as stage:
        assert await stage.asks() == {"hash": snapshot("start").hash, "result": "applied"}
        stage.watcher.content = ""  # type: ignore[attr-defined]
        with pytest.raises(Transient, match="cannot read /config: a part of the content is not rolled out"):
            await stage.asks()
        stage.watcher.content = "b"  # type: ignore[attr-defined]
        stage.notifier.answer = lambda _step, _change: DOWN
        with pytest.raises(Transient, match="still pending: validate: nobody listens; it is tried again"):
            await stage.asks()
        stage.notifier.answer = lambda _step, _change: Outcome(Result.REJECTED, "line 3")
        with pytest.raises(Permanent, match="rejected: validate: line 3"):
            await stage.asks()


STEPS = {
    "validate": VALIDATE,
    "webhook": HOOK,
    "signal": SIGNAL,
    "exec": {"exec": {"command": ["x"]}},
    "confirm": CONFIRM,
}


@pytest.mark.parametrize("hangs", STEPS)
async def test_a_stop_ends_it_at_once_whatever_hangs_and_answers_who_asks(hangs: str) -> None:
    steps = [HOOK, CONFIRM] if hangs == "confirm" else [STEPS[hangs]]
    async with Stage(*steps).running() as stage:
        stage.notifier.takes = lambda step: 0.0 if hangs == "confirm" and getattr(step, "url", "") == A else 100.0
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
    async with Stage(generations=slow, render={"output": str(folder)}, state_file="").running() as stage:
        assert await asyncio.to_thread(slow.begun.wait, PATIENCE_SECONDS)
        yield slow, stage


@pytest.mark.looptime(False)
async def test_newer_content_waits_for_what_is_being_published(tmp_path: Path) -> None:
    """The thread that publishes cannot be stopped, so it keeps its folder."""
    async with publishing(tmp_path) as (slow, stage):
        await stage.sees("newer")
        assert stage.reloader.rollouts.pending is not None
        slow.go.set()
        await until_async((tmp_path / "newer.yaml").exists, "the newer content")


@pytest.mark.looptime(False)
async def test_a_stop_leaves_what_is_being_published_alone(tmp_path: Path) -> None:
    async with publishing(tmp_path) as (slow, stage):
        stage.ctx.stop.request("test")
    slow.go.set()
    assert await asyncio.to_thread(slow.over.wait, PATIENCE_SECONDS)
    assert (tmp_path / "start.yaml").read_text() == "start"
