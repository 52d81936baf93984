"""How contents are told, with scripted outcomes on virtual time: newest wins, back-off, splay, by hand."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from sidecars.config_reloader.core.advance import Value
from sidecars.config_reloader.core.plan import HANGS_SECONDS, Verdict
from sidecars.config_reloader.core.steps import Confirm, Validate
from sidecars.config_reloader.delivery import Delivery
from sidecars.config_reloader.mailbox import Order
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.config_reloader.notifying.notifier import Notifier
from sidecars.config_reloader.settings import ConfigReloaderSettings
from sidecars.config_reloader.standing import Standing
from sidecars.config_reloader.state import StateFile
from sidecars.config_reloader.surroundings import Surroundings
from sidecars.config_reloader.watching.detection import Detection
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import Exec, StepOptions
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Context
from sidecars.runtime.clock import monotonic
from tests.support.context import context, passes

pytestmark = pytest.mark.looptime

DOWN = Outcome(Result.UNREACHABLE, "nobody listens")
HOOK = {"webhook": {"url": "http://a"}}
OTHER = {"webhook": {"url": "http://b"}}


class Scripted(Notifier):
    """Answers by a script: `answer(step, change)` gives the outcome, after `takes` seconds."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.answer: Callable[[StepOptions, Change], Outcome] = lambda _step, _change: OK
        self.takes: Callable[[StepOptions], float] = lambda _step: 0.0
        self.is_ready = True

    async def act(self, step: StepOptions, change: Change, tasks: asyncio.TaskGroup) -> Outcome:
        del tasks
        self.told.append((monotonic(), f"{getattr(step, 'url', type(step).__name__)} {change.hash}"))
        await passes(self.takes(step))
        return self.answer(step, change)

    async def ready(self, step: StepOptions) -> bool:
        del step
        return self.is_ready

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
        self.told.append((monotonic(), f"{step.url} {change.hash}"))
        await passes(self.takes(step))
        return self.answer(step, change)

    @property
    def contents(self) -> list[str]:
        return [text for _, text in self.told]


class OnADisk(StateFile):
    """Writes nothing, which takes as long as it is told."""

    takes_seconds = 0.0
    noted_at = -1.0

    async def telling(self, applied: str | None, digest: str) -> None:
        del applied, digest
        await passes(self.takes_seconds)
        self.noted_at = monotonic()


class Stage:
    """A delivery that runs, and orders for it."""

    def __init__(self, *steps: dict[str, Any], **settings: object) -> None:
        self.ctx: Context = context(name="config-reloader")
        self.settings = msgspec.convert({"watch": ["/config"], "steps": steps, **settings}, ConfigReloaderSettings)
        metrics = ReloaderMetrics(self.ctx.metrics)
        detection = Detection(self.settings, self.ctx, metrics)
        self.telling = Scripted()
        self.shared = Surroundings(self.ctx, metrics, detection, self.telling, None)
        self.standing = Standing(self.ctx, metrics, unready_when_rejected=False)
        self.state = OnADisk("", self.ctx, metrics)
        self.delivery = Delivery(self.shared, self.settings.all_steps, self.standing, self.state)

    def order(self, digest: str, *, when_ready: bool = False, forced: bool = False) -> Order:
        order = Order(digest, monotonic(), monotonic(), when_ready=when_ready, forced=forced)
        self.delivery.put(order)
        return order

    @asynccontextmanager
    async def running(self) -> Any:
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self.delivery.run())
            yield self
            work.cancel()


async def test_while_a_target_is_down_the_change_stays_pending_and_is_told_when_it_comes() -> None:
    async with Stage(HOOK).running() as stage:
        stage.telling.answer = lambda _step, _change: DOWN if monotonic() < 60 else OK
        order = stage.order("a")
        await passes(59)
        assert stage.standing.shown(stage.delivery.plan)["pending"]["waiting_for"] == "webhook: nobody listens"
        assert (await order.ended).verdict is Verdict.APPLIED
        assert 60 <= stage.telling.told[-1][0] <= 64
        assert stage.standing.applied == "a"


async def test_nobody_is_told_before_that_is_written_down() -> None:
    """Killed in between, nobody would know of it."""
    async with Stage(HOOK, OTHER).running() as stage:
        stage.state.takes_seconds = 0.1
        assert (await stage.order("a").ended).verdict is Verdict.APPLIED
        assert [told_at >= stage.state.noted_at == 0.1 for told_at, _ in stage.telling.told] == [True, True]


async def test_a_disk_that_hangs_delays_the_app_by_a_moment_only() -> None:
    async with Stage(HOOK, OTHER).running() as stage:
        stage.state.takes_seconds = 60
        assert (await stage.order("a").ended).verdict is Verdict.APPLIED
        assert [told_at for told_at, _ in stage.telling.told] == [0.25, 0.25]


async def test_newer_content_ends_the_back_off_of_the_older_at_once() -> None:
    async with Stage(HOOK).running() as stage:
        stage.telling.answer = lambda _step, change: DOWN if change.hash == "bad" else OK
        bad = stage.order("bad")
        await passes(30)
        good = stage.order("good")
        put_at = monotonic()
        assert (await bad.ended).verdict is Verdict.SUPERSEDED
        assert (await good.ended).verdict is Verdict.APPLIED
        assert stage.telling.told[-1] == (put_at, "http://a good")


A, B = "http://a", "http://b"


def hanging(stage: Stage, url: str = A, seconds: float = 10.0) -> None:
    """This target does not answer within its time-out."""

    def hangs(step: StepOptions) -> bool:
        return getattr(step, "url", "") == url and monotonic() < 1000

    stage.telling.takes = lambda step: seconds if hangs(step) else 0.0
    stage.telling.answer = lambda step, _change: Outcome(Result.TIMEOUT) if hangs(step) else OK


async def test_a_target_that_hangs_holds_up_no_change_of_another() -> None:
    """The first is told a second later, since the steps have an order; by then it is known who hangs."""
    async with Stage(HOOK, OTHER).running() as stage:
        hanging(stage)
        for number in range(20):
            stage.order(str(number))
            await passes(4.9)
        heard = [(at, text) for at, text in stage.telling.told if text.startswith(B)]
        assert [text for _, text in heard] == [f"{B} {number}" for number in range(20)]
        assert [round(at - 4.9 * number, 6) for number, (at, _) in enumerate(heard)] == [1.0] + [0.0] * 19


async def test_a_request_that_hangs_gives_way_to_newer_content() -> None:
    async with Stage(HOOK).running() as stage:
        stage.telling.takes = lambda _step: 10.0 if len(stage.telling.told) == 1 else 0.0
        bad = stage.order("bad")
        await passes(0.5)
        fix = stage.order("fix")
        assert (await fix.ended).verdict is Verdict.APPLIED
        assert (await bad.ended).verdict is Verdict.SUPERSEDED
        assert stage.telling.told == [(0.0, f"{A} bad"), (HANGS_SECONDS, f"{A} fix")]
        await passes(60)
        assert stage.standing.applied == "fix"
        name, labels = "sidecar_config_reloader_attempts_total", {"step": "webhook", "outcome": "superseded"}
        assert stage.ctx.metrics.registry.get_sample_value(name, labels) == 1


async def test_a_request_that_hung_for_long_gives_way_at_once() -> None:
    async with Stage(HOOK).running() as stage:
        stage.telling.takes = lambda _step: 10.0 if len(stage.telling.told) == 1 else 0.0
        stage.order("bad")
        await passes(7)
        await stage.order("fix").ended
        assert stage.telling.told[-1] == (7.0, f"{A} fix")


async def test_what_comes_while_a_target_hangs_is_one_more_request_with_the_newest() -> None:
    async with Stage(HOOK).running() as stage:
        hanging(stage)
        for digest in "12345":
            stage.order(digest)
            await passes(0.3)
        await passes(5)
        assert stage.telling.told == [(0.0, f"{A} 1"), (HANGS_SECONDS, f"{A} 5")]


async def test_newer_content_that_is_refused_takes_nothing_from_who_is_being_told() -> None:
    """What was told last is in force, and is not forgotten."""
    async with Stage({"validate": {"command": ["check"]}}, HOOK).running() as stage:
        stage.telling.takes = lambda step: 5.0 if getattr(step, "url", "") == A else 0.0
        stage.telling.answer = lambda step, change: (
            Outcome(Result.REJECTED, "no") if isinstance(step, Validate) and change.hash == "bad" else OK
        )
        good = stage.order("good")
        await passes(1)
        assert (await stage.order("bad").ended).verdict is Verdict.REJECTED
        assert (await good.ended).verdict is Verdict.APPLIED
        assert stage.standing.applied == "good"
        assert not stage.shared.touched
        assert stage.standing.refused is not None
        assert stage.standing.refused.hash == "bad", "and the newest content is still refused"


async def test_a_command_is_run_to_its_end_though_newer_content_waits() -> None:
    """Half a command could leave half a reload; who stands before it hears at once."""
    async with Stage(HOOK, {"exec": {"command": ["reload"]}}).running() as stage:
        stage.telling.takes = lambda step: 6.0 if isinstance(step, Exec) else 0.0
        stage.order("1")
        await passes(3)
        await stage.order("2").ended
        assert stage.telling.told == [(0.0, f"{A} 1"), (0.0, "Exec 1"), (3.0, f"{A} 2"), (6.0, "Exec 2")]


async def test_newer_content_does_not_wait_for_a_confirmation_that_does_not_come() -> None:
    confirm = {"confirm": {"url": "http://a/metrics", "metric": "m", "timeout_seconds": 600}}
    async with Stage(HOOK, confirm, max_wait_seconds=5).running() as stage:
        stage.shared.max_wait_seconds = 5.0
        stage.telling.takes = lambda step: 600.0 if isinstance(step, Confirm) else 0.0
        stage.order("1")
        await passes(100)
        stage.order("2")
        await passes(1)
        assert stage.telling.told[-2:] == [(100.0, f"{A} 2"), (100.0, "http://a/metrics 2")]


async def test_a_change_that_is_taken_back_before_anybody_was_told_is_not_told() -> None:
    validate = {"validate": {"command": ["check"]}}
    async with Stage(validate, HOOK).running() as stage:
        stage.telling.answer = lambda _step, change: Outcome(Result.REJECTED, "no") if change.hash == "b" else OK
        for digest, verdict in (("a", Verdict.APPLIED), ("b", Verdict.REJECTED), ("a", Verdict.APPLIED)):
            assert (await stage.order(digest).ended).verdict is verdict
        assert [text for text in stage.telling.contents if text.startswith("http")] == ["http://a a"]
        assert stage.standing.refused is None


async def test_a_change_that_is_taken_back_after_somebody_was_told_is_told_again() -> None:
    async with Stage(HOOK).running() as stage:
        await stage.order("a").ended
        stage.telling.answer = lambda _step, change: DOWN if change.hash == "b" else OK
        stage.order("b")
        await passes(3)
        assert (await stage.order("a").ended).verdict is Verdict.APPLIED
        assert stage.telling.contents[0] == stage.telling.contents[-1] == "http://a a"


async def test_refused_content_is_refused_once_and_shown() -> None:
    validate = {"validate": {"command": ["check"]}}
    async with Stage(validate, HOOK).running() as stage:
        stage.telling.answer = lambda _step, _change: Outcome(Result.REJECTED, "line 3: unknown directive")
        done = await stage.order("b").ended
        await passes(3600)
        assert set(stage.telling.contents) == {" b"}
        assert done.reason == "validate: line 3: unknown directive"
        shown = stage.standing.shown(None)
        assert (shown["applied"], shown["pending"], shown["refused"]["hash"]) == (None, None, "b")


async def test_a_validator_that_said_no_is_asked_again_slowly_and_may_change_its_mind() -> None:
    """`nginx -t` says no while a name cannot be resolved: that is about the network, not about the content."""
    validate = {"validate": {"command": ["check"]}}
    async with Stage(validate, HOOK).running() as stage:
        no = Outcome(Result.REJECTED, "host not found in upstream")
        stage.telling.answer = lambda _step, _change: no if monotonic() < 1000 else OK
        assert (await stage.order("a").ended).verdict is Verdict.REJECTED
        await passes(999)
        asked_at = [at for at, _ in stage.telling.told]
        pauses = [round(later - earlier) for earlier, later in itertools.pairwise(asked_at)]
        assert pauses == [30, 60, 120, 240, 300]
        assert stage.standing.shown(stage.delivery.plan)["pending"] is None
        await passes(400)
        assert stage.telling.contents[-1] == "http://a a"
        assert (stage.standing.applied, stage.standing.refused) == ("a", None)
        metrics = stage.ctx.metrics.registry
        assert metrics.get_sample_value("sidecar_config_reloader_reloads_total", {"result": "rejected"}) == 1
        assert metrics.get_sample_value("sidecar_config_reloader_rejections_total", {"reason": "validate"}) == 1


async def test_other_content_is_refused_afresh_and_asked_about_as_soon() -> None:
    validate = {"validate": {"command": ["check"]}}
    async with Stage(validate, HOOK).running() as stage:
        stage.telling.answer = lambda _step, _change: Outcome(Result.REJECTED, "line 3")
        stage.order("a")
        await passes(100)
        await stage.order("b").ended
        await passes(31)
        assert stage.telling.contents == [" a"] * 3 + [" b"] * 2  # a validator has no address


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"signal": {"process": "app"}}], "the app was told of the new content"),
        ([HOOK, {"confirm": {"url": "http://a", "metric": "m"}}], "the app has the new content"),
    ],
)
async def test_only_what_was_confirmed_is_said_to_be_with_the_app(
    steps: list[dict[str, Any]], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Stage(*steps).running() as stage:
        await stage.order("a").ended
    assert said in caplog.messages


async def test_a_doubt_about_what_was_told_is_said_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    async with Stage({"signal": {"process": "app"}}).running() as stage:
        stage.telling.answer = lambda _step, _change: Outcome(Result.OK, "SIGHUP to 7 (java)", "it may exit")
        for digest in "ab":
            assert (await stage.order(digest).ended).verdict is Verdict.APPLIED
    assert caplog.messages.count("it may exit") == 1


async def test_the_splay_delays_what_is_told_and_newer_content_does_not_begin_it_anew() -> None:
    async with Stage(HOOK).running() as stage:
        stage.shared.splay_seconds = 20.0
        began = monotonic()
        stage.order("1")
        await passes(15)
        order = Order("2", monotonic(), began)
        stage.delivery.put(order)
        await order.ended
        assert stage.telling.told == [(began + 20.0, "http://a 2")]


async def test_by_hand_there_is_no_splay_and_known_content_is_told_again() -> None:
    async with Stage(HOOK).running() as stage:
        stage.shared.splay_seconds = 20.0
        for _ in range(2):
            began = monotonic()
            await stage.order("a", forced=True).ended
            assert monotonic() == began
        assert stage.telling.contents == ["http://a a"] * 2


async def test_when_ready_waits_without_attempts() -> None:
    async with Stage(HOOK).running() as stage:
        stage.telling.is_ready = False
        order = stage.order("a", when_ready=True)
        await passes(100)
        assert stage.telling.told == []
        assert stage.ctx.health.started, "the app's start must not wait for the app"
        stage.telling.is_ready = True
        await order.ended
        assert stage.telling.contents == ["http://a a"]


async def test_while_nothing_has_been_tried_the_start_is_not_over() -> None:
    async with Stage({"validate": {"command": ["check"]}}, HOOK).running() as stage:
        stage.telling.takes = lambda _step: 5.0
        stage.order("a")
        await passes(4.9)
        assert not stage.ctx.health.started
        await passes(0.2)
        assert stage.ctx.health.started


async def test_an_unconfirmed_content_is_told_three_times_and_counted_once() -> None:
    confirm = {"confirm": {"url": "http://a/metrics", "metric": "m"}}
    async with Stage(HOOK, confirm).running() as stage:
        stage.telling.answer = lambda step, _change: (
            Outcome(Result.UNCONFIRMED, "m did not advance") if isinstance(step, Confirm) else OK
        )
        assert (await stage.order("a").ended).verdict is Verdict.UNCONFIRMED
        assert stage.telling.contents.count("http://a a") == 3
        registry = stage.ctx.metrics.registry
        name = "sidecar_config_reloader_rejections_total"
        assert registry.get_sample_value(name, {"reason": "unconfirmed"}) == 1


async def test_content_that_comes_faster_than_it_is_validated_does_not_starve_the_app() -> None:
    async with Stage({"validate": {"command": ["check"]}}, HOOK, max_wait_seconds=5).running() as stage:
        stage.shared.max_wait_seconds = 5.0
        stage.telling.takes = lambda step: (
            0.5 if not hasattr(step, "expect_status") or hasattr(step, "command") else 0.0
        )
        for number in range(40):
            stage.order(str(number))
            await passes(0.45)
        told = [at for at, text in stage.telling.told if text.startswith("http://a")]
        assert told, "nothing was told in 18 s"
        assert told[0] <= 6.0


async def test_a_success_that_newer_content_overtakes_counts() -> None:
    async with Stage(HOOK).running() as stage:
        stage.telling.takes = lambda _step: 1.0
        first = stage.order("b")
        await passes(0.5)
        stage.telling.answer = lambda _step, change: DOWN if change.hash == "c" else OK
        stage.order("c")
        assert (await first.ended).verdict is Verdict.APPLIED
        assert stage.standing.applied == "b"


async def test_who_is_being_told_is_told_to_the_end_and_once() -> None:
    """Cutting a request that the app may have taken, to send another, would reload it twice."""
    async with Stage(HOOK).running() as stage:
        stage.telling.takes = lambda _step: 1.8
        stage.order("a")
        for digest in "bcd":
            await passes(0.5)
            last = stage.order(digest)
        await last.ended
        assert stage.telling.told == [(0.0, "http://a a"), (1.8, "http://a d")]


async def test_when_ready_one_of_two_that_is_there_is_told() -> None:
    async with Stage(HOOK, OTHER).running() as stage:
        stage.telling.answer = lambda step, _change: DOWN if getattr(step, "url", "") == "http://a" else OK
        stage.order("a", when_ready=True)
        await passes(1)
        assert "http://b a" in stage.telling.contents
