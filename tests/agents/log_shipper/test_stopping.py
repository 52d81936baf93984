"""The stop on virtual time: each step ends in time whatever the others do, the log says how far it got, and a whole
shipper delivers what there is.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecars.log_shipper.core.diagnosis import of_failure
from sidecars.log_shipper.core.grace import StopStep
from sidecars.log_shipper.stopping import DeliveryProgress, Stopping
from sidecars.runtime import Context
from tests.support.context import context, passes, settings
from tests.support.reading import write
from tests.support.whole_shipper import WholeShipper, clock

pytestmark = pytest.mark.looptime


class Work:
    """Steps that take so many seconds; `began` says when each did."""

    def __init__(self, **seconds: float) -> None:
        self._seconds = seconds
        self.began: dict[StopStep, float] = {}

    def __getitem__(self, step: StopStep) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            self.began[step] = clock()
            await passes(self._seconds.get(step.value, 0.0))

        return run


async def stop_of(lifecycle: str, grace_seconds: float, **seconds: float) -> tuple[list[StopStep], float, Work]:
    """The steps that were cut, how long all of it took, and the work."""
    ctx, work, began = context(grace_seconds), Work(**seconds), clock()
    ctx.stop.request("SIGTERM")
    stopping = Stopping(settings(lifecycle=lifecycle), ctx, lambda: DeliveryProgress({}, None, 0))
    cut = await stopping.run({step: work[step] for step in StopStep})
    return cut, clock() - began, work


@pytest.mark.parametrize(
    ("seconds", "cut", "took"),
    [
        ({}, [], 0.0),
        ({"drain": 5}, [], 5.0),
        ({"drain": 90}, [StopStep.DRAIN], 28.0),
        ({"save": 90}, [StopStep.SAVE], 29.5),
        ({"drain": 90, "hang_up": 90, "save": 90}, [StopStep.DRAIN, StopStep.HANG_UP, StopStep.SAVE], 29.5),
        ({"quiet": 10, "drain": 5}, [], 15.0),
        ({"quiet": 90, "drain": 0.2}, [StopStep.QUIET], 27.2),
        ({"quiet": 90, "drain": 90}, [StopStep.QUIET, StopStep.DRAIN], 28.0),
    ],
)
async def test_a_step_that_takes_too_long_is_cut_and_the_next_ones_have_their_time(
    seconds: dict[str, float], cut: list[StopStep], took: float
) -> None:
    found, took_seconds, work = await stop_of("ordinary", 30, **seconds)
    assert (found, round(took_seconds, 3)) == (cut, took)
    assert list(work.began) == list(StopStep)


@pytest.mark.parametrize("grace_seconds", [0.5, 2.0, 5.0])
async def test_the_stop_ends_within_a_short_grace_too(grace_seconds: float) -> None:
    cut, took_seconds, work = await stop_of("native", grace_seconds, drain=90, hang_up=90, save=90)
    assert took_seconds < grace_seconds
    assert list(work.began) == [StopStep.DRAIN, StopStep.HANG_UP, StopStep.SAVE] == cut


class Told:
    """What a stop of so many seconds says while it delivers nothing."""

    def __init__(self, caplog: pytest.LogCaptureFixture, **given: object) -> None:
        self._caplog = caplog
        self.ctx: Context = context(30)
        self.progress = DeliveryProgress({}, None, 0)
        self.stopping = Stopping(settings(**given), self.ctx, lambda: self.progress)
        self.ctx.stop.request("SIGTERM")

    async def run(self, seconds: float) -> None:
        work = Work(drain=seconds)
        await self.stopping.run({step: work[step] for step in StopStep})

    def lines(self) -> list[dict[str, object]]:
        """The lines since the last look: their fields, with action, level and message."""
        found = [
            {"action": line.action, "level": line.levelname.lower(), "message": line.getMessage(), **line.fields}  # type: ignore[attr-defined]
            for line in self._caplog.records
        ]
        self._caplog.clear()
        return found


BEHIND = {"/logs/b.log": 70, "/logs/a.log": 30}
NO_ANSWER = of_failure("timeout", "http://es:9200: no answer")


async def test_what_is_undelivered_is_said_at_once_and_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    told.progress = DeliveryProgress(BEHIND, None, 0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(told.run(20))
        await passes(0.01)
        (line,) = told.lines()
        assert line["action"] == "stop.undelivered_so_far"
        assert (line["level"], line["undelivered_bytes"], line["left_seconds"]) == ("info", 100, 30.0)
        assert line["files"] == {"/logs/a.log": 30, "/logs/b.log": 70}
        told.progress = DeliveryProgress(BEHIND, NO_ANSWER, 0)
        await passes(10)
        told.progress = DeliveryProgress({}, None, 0)
    lines = told.lines()
    assert [line["left_seconds"] for line in lines] == [27.0, 24.0, 21.0]
    assert {line["level"] for line in lines} == {"warning"}
    assert all("no answer" in str(line["message"]) for line in lines)


async def test_an_ordinary_sidecar_beside_an_app_that_writes_on_does_not_warn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(caplog, lifecycle="ordinary")
    told.progress = DeliveryProgress(BEHIND, None, 0)
    await told.run(10)
    assert {line["level"] for line in told.lines()} == {"info"}


async def test_the_last_word_names_what_is_left_why_and_which_steps_were_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(caplog)
    told.progress = DeliveryProgress({"/logs/a.log": 30}, NO_ANSWER, 2)
    told.stopping.conclude([StopStep.DRAIN])
    (line,) = told.lines()
    assert (line["action"], line["level"], line["undelivered_bytes"]) == ("stop.undelivered", "error", 30)
    assert (line["cut_steps"], line["refused_records"]) == (["drain"], 2)
    assert "no answer" in str(line["message"])
    assert "Nothing is lost" not in str(line["message"])
    assert "emptyDir" in str(line["message"])


@pytest.mark.parametrize(
    ("lifecycle", "cut", "said", "unsaid"),
    [
        ("native", [], "everything is delivered", "more"),
        (
            "ordinary",
            [],
            "nothing came for 3 s (quiet_seconds), and should the app write more, it is not",
            "everything",
        ),
        ("ordinary", [StopStep.QUIET], "the grace is over", "everything"),
    ],
)
async def test_who_cannot_know_that_the_app_has_ended_does_not_say_that_everything_is_delivered(
    caplog: pytest.LogCaptureFixture, lifecycle: str, cut: list[StopStep], said: str, unsaid: str
) -> None:
    told = Told(caplog, lifecycle=lifecycle)
    told.stopping.conclude(cut)
    (line,) = told.lines()
    assert (line["action"], line["undelivered_bytes"]) == ("stop.drained", 0)
    assert said in str(line["message"])
    assert unsaid not in str(line["message"])


async def test_the_last_words_arrive_half_a_line_and_a_new_file_too(stage: WholeShipper) -> None:
    async with stage.running():
        stage.write(10)
        await passes(1)
        stage.write(5000)
        stage.append("half a line", end="")
        write(stage.log.parent / "late.log", "late")
        stage.lines.append("late")
    stage.assert_all_arrived()
    assert stage.said("stop.drained")[0]["undelivered_bytes"] == 0
    async with stage.running():
        stage.append(", and its rest")
        await passes(1)
    stage.assert_all_arrived()


async def test_a_last_backlog_larger_than_what_may_be_in_flight_is_drained(stage: WholeShipper) -> None:
    stage.backend.busy = lambda message: message.endswith("7") and clock() < 3
    async with stage.running(in_flight_bytes=64 << 10, batch_bytes=16 << 10):
        await passes(1)
        stage.write(10_000)
    stage.assert_all_arrived()
    assert clock() >= 3, "the busy ones were waited for"


async def test_an_ordinary_sidecar_tails_on_until_the_files_are_quiet(stage: WholeShipper) -> None:
    """SIGTERM comes together with the app's, and the app has more to say."""
    async with asyncio.TaskGroup() as tasks, stage.running(lifecycle="ordinary", quiet_seconds=3) as ctx:
        ctx.stop.request("SIGTERM")
        began = clock()

        async def last_words() -> None:
            for _ in range(10):
                stage.write(10)
                await passes(1)

        tasks.create_task(last_words())
    assert 12 <= clock() - began < 13
    stage.assert_all_arrived()


@pytest.mark.parametrize("grace_seconds", [5, 8])
async def test_an_ordinary_sidecar_gives_up_waiting_for_quiet_when_the_grace_runs_out(
    stage: WholeShipper, grace_seconds: float
) -> None:
    """What the app writes until then is delivered, the half line that it dies in too."""
    async with asyncio.TaskGroup() as tasks:

        async def chatter() -> None:
            while True:
                stage.write(10)
                await passes(0.1)

        writing = tasks.create_task(chatter())
        async with stage.running(grace_seconds, lifecycle="ordinary", quiet_seconds=60) as ctx:
            await passes(1)
            ctx.stop.request("SIGTERM")
            began = clock()
            await passes(grace_seconds - 3.5)
            writing.cancel()
            await passes(0.01)
            stage.append("half a line", end="")
        assert grace_seconds - 3 <= clock() - began < grace_seconds
    stage.assert_all_arrived()


@pytest.mark.parametrize("how", ["down", "hangs"])
async def test_a_dead_backend_does_not_keep_the_pod_and_the_next_life_delivers(stage: WholeShipper, how: str) -> None:
    async with stage.running(6):
        stage.write(100)
        await passes(1)
        setattr(stage.backend, how, True)
        stage.write(300)
        await passes(1)
        began = clock()
    assert 4 <= clock() - began < 6, "it tries as long as the grace allows"
    (line,) = stage.said("stop.undelivered")
    assert line["undelivered_bytes"] == 300 * 12
    assert line["files"] == {str(stage.log): 300 * 12}
    assert len(stage.said("stop.undelivered_so_far")) == 2
    setattr(stage.backend, how, False)
    async with stage.running():
        await passes(1)
    stage.assert_all_arrived()


async def test_a_backend_that_comes_back_within_the_grace_gets_everything(stage: WholeShipper) -> None:
    stage.backend.down = True
    tried: list[int] = []
    async with asyncio.TaskGroup() as tasks, stage.running(60) as ctx:
        stage.write(3000)
        await passes(100)
        ctx.stop.request("SIGTERM")

        async def recover() -> None:
            before = stage.backend.requests
            await passes(20)
            tried.append(stage.backend.requests - before)
            stage.backend.down = False

        tasks.create_task(recover())
        began = clock()
    assert tried[0] >= 16, "pauses are short from SIGTERM on"
    assert clock() - began < 30
    stage.assert_all_arrived()
    assert stage.said("stop.drained")


async def test_what_is_acknowledged_beyond_a_gap_is_not_counted_as_undelivered(stage: WholeShipper) -> None:
    stage.backend.busy = lambda message: message.endswith("0")
    async with stage.running(6):
        stage.write(1000)
        await passes(5)
    assert stage.said("stop.undelivered")[0]["undelivered_bytes"] == 100 * 12
    stage.backend.busy = lambda _: False
    async with stage.running():
        await passes(1)
    stage.assert_all_arrived()


async def test_a_stop_before_anything_happened_is_a_clean_one(stage: WholeShipper) -> None:
    stage.write(100)
    async with stage.running():
        pass
    stage.assert_all_arrived()
    assert stage.said("stop.drained")


async def test_zeros_at_the_end_do_not_hold_up_the_exit(stage: WholeShipper) -> None:
    """They hold no line, but they are in the file."""
    async with stage.running():
        stage.append("one")
        with stage.log.open("ab") as file:
            file.write(bytes(1 << 20))
        await passes(1)
        began = clock()
    assert clock() - began < 5
    stage.assert_all_arrived()
