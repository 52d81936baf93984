"""The stop on virtual time: each step ends in time whatever the others do, and the log says how far it got."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecars.log_shipper.core.diagnosis import of_failure
from sidecars.log_shipper.core.grace import StopStep
from sidecars.log_shipper.stopping import DeliveryProgress, Stopping
from sidecars.runtime import Context
from tests.support.context import context, passes, settings

pytestmark = pytest.mark.looptime


def clock() -> float:
    return asyncio.get_running_loop().time()


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
