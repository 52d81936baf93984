"""The whole shipper in one process, on virtual time: real files, and a backend that is a dictionary."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecars.log_shipper.agent import Shipper
from sidecars.log_shipper.core.batch import Payload, records_of
from sidecars.log_shipper.core.bulk import Answer
from sidecars.log_shipper.core.checkpoint import load
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.sending.outputs import PlainTransport
from sidecars.runtime import Context, State
from tests.support.context import condition, context, metric, passes, settings
from tests.support.reading import write

pytestmark = pytest.mark.looptime

DOWN = Answer(503)
FOREVER = 1e6


class Memory(PlainTransport):
    """Keeps documents by their id. While it is `down` it refuses, while it `hangs` it never answers; `busy` says which
    messages are refused with a 429 for now, and `spoilt` which for good.
    """

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.down = False
        self.hangs = False
        self.busy: Callable[[str], bool] = lambda _: False
        self.spoilt: Callable[[str], bool] = lambda _: False
        self.requests = 0
        self.before_answer: Callable[[Payload], None] = lambda _: None
        self.closed = False

    async def send(self, payload: Payload) -> Answer:
        self.requests += 1
        self.before_answer(payload)
        await passes(FOREVER if self.hangs else 0.01)
        if self.down:
            return DOWN
        return Answer(200, json.dumps({"items": [self._take(record) for record in self.records(payload)]}).encode())

    async def close(self) -> None:
        self.closed = True

    @property
    def messages(self) -> list[str]:
        return sorted(self.documents.values())

    @staticmethod
    def records(payload: Payload) -> list[tuple[str, str]]:
        pairs = [record.split(b"\n") for record in records_of(payload.body, lines_each=2)]
        return [(json.loads(action)["create"]["_id"], json.loads(text)["message"]) for action, text, _ in pairs]

    def _take(self, record: tuple[str, str]) -> dict[str, Any]:
        name, message = record
        if self.busy(message):
            return {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "busy"}}}
        if self.spoilt(message):
            return {"create": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}}
        status = 409 if name in self.documents else 201
        self.documents[name] = message
        return {"create": {"status": status}}


class Stage:
    """A folder with one log, the backend, and the shipper's log lines."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.folder, self.backend, self._caplog = folder, Memory(), caplog
        self.log = folder / "logs" / "app.log"
        self.log.parent.mkdir()
        self.lines: list[str] = []
        self.ctx: Context = context()

    def write(self, count: int) -> None:
        more = [f"line {number:06d}" for number in range(len(self.lines), len(self.lines) + count)]
        write(self.log, *more)
        self.lines += more

    @asynccontextmanager
    async def running(self, grace_seconds: float = 30.0, **given: object) -> AsyncIterator[Context]:
        """One life of a shipper; whoever leaves the block has asked it to stop, and it ends by itself."""
        self.ctx = ctx = context(grace_seconds)
        usual = {"paths": (f"{self.log.parent}/*.log",), "state_dir": str(self.folder / "state"), "pod_uid": "4ba0ee8d"}
        metrics = ShipperMetrics(ctx.metrics)
        shipper = Shipper(settings(**{**usual, **given}), ctx, metrics, self.backend)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(shipper.run())
            yield ctx
            self.ctx.stop.request("SIGTERM")

    def said(self, action: str) -> list[dict[str, Any]]:
        """The fields of the log lines with this action, in all lives."""
        lines = [line for line in self._caplog.records if getattr(line, "action", "") == action]
        return [line.fields for line in lines]  # type: ignore[attr-defined]

    def assert_all_arrived(self) -> None:
        assert self.backend.messages == sorted(self.lines)


@pytest.fixture
def stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Stage:
    return Stage(tmp_path, caplog)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_lines_are_delivered_as_they_are_written_and_once_over_restarts(stage: Stage) -> None:
    for _ in range(3):
        async with stage.running() as ctx:
            stage.write(100)
            await passes(1)
            stage.write(100)
            await passes(1)
            stage.assert_all_arrived()
            assert ctx.health.started
    assert stage.backend.closed
    assert metric(stage.ctx, "read_bytes_total") == metric(stage.ctx, "acknowledged_bytes_total") == 200 * 12


async def test_who_a_file_is_stands_in_the_checkpoint_before_its_first_line_is_sent(stage: Stage) -> None:
    """Ids begin with it: should the file be copied, truncated and the shipper killed, its lines are found again."""
    begun: list[bool] = []

    def look(payload: Payload) -> None:
        known = load((stage.folder / "state" / "checkpoint.json").read_bytes()).checkpoint.positions
        first, _ = Memory.records(payload)[0]
        begun.append(any(each.identity.prefix and first.startswith(each.identity.prefix) for each in known))

    async with stage.running(batch_seconds=0):
        await passes(3)
        stage.backend.before_answer = look
        stage.write(10)
        await passes(3)
    assert begun == [True]


async def test_the_last_words_arrive_half_a_line_and_a_new_file_too(stage: Stage) -> None:
    async with stage.running():
        stage.write(10)
        await passes(1)
        stage.write(5000)
        write(stage.log, "half a line", end="")
        write(stage.log.parent / "late.log", "late")
    stage.lines += ["half a line", "late"]
    stage.assert_all_arrived()
    assert stage.said("stop.drained")[0]["undelivered_bytes"] == 0
    async with stage.running():
        write(stage.log, ", and its rest")
        stage.lines.append(", and its rest")
        await passes(1)
    stage.assert_all_arrived()


async def test_a_last_backlog_larger_than_what_may_be_in_flight_is_drained(stage: Stage) -> None:
    stage.backend.busy = lambda message: message.endswith("7") and clock() < 3
    async with stage.running(in_flight_bytes=64 << 10, batch_bytes=16 << 10):
        await passes(1)
        stage.write(20_000)
    stage.assert_all_arrived()
    assert clock() >= 3, "the busy ones were waited for"


async def test_an_ordinary_sidecar_tails_on_until_the_files_are_quiet(stage: Stage) -> None:
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
    stage: Stage, grace_seconds: float
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
            write(stage.log, "half a line", end="")
            stage.lines.append("half a line")
        assert grace_seconds - 3 <= clock() - began < grace_seconds
    stage.assert_all_arrived()


@pytest.mark.parametrize("how", ["down", "hangs"])
async def test_a_dead_backend_does_not_keep_the_pod_and_the_next_life_delivers(stage: Stage, how: str) -> None:
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


async def test_a_backend_that_comes_back_within_the_grace_gets_everything(stage: Stage) -> None:
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


async def test_what_is_acknowledged_beyond_a_gap_is_not_counted_as_undelivered(stage: Stage) -> None:
    stage.backend.busy = lambda message: message.endswith("0")
    async with stage.running(6):
        stage.write(1000)
        await passes(5)
    assert stage.said("stop.undelivered")[0]["undelivered_bytes"] == 100 * 12
    stage.backend.busy = lambda _: False
    async with stage.running():
        await passes(1)
    stage.assert_all_arrived()


async def test_a_refused_record_is_kept_once_and_not_sent_again_by_the_next_life(stage: Stage) -> None:
    stage.backend.spoilt = lambda message: message == "line 000003"
    for _ in range(2):
        async with stage.running():
            stage.write(10)
            await passes(1)
    (kept,) = (stage.folder / "state" / "dead-letter.ndjson").read_text(encoding="utf-8").splitlines()
    assert json.loads(kept)["document"]["message"] == stage.lines.pop(3)
    stage.assert_all_arrived()


async def test_while_nothing_can_be_sent_reading_stops_at_the_limit_and_it_shows(stage: Stage) -> None:
    """Back-pressure is "stop reading, keep the file open"; one more block than the limit may be taken."""
    limit = 128 << 10
    stage.backend.down = True
    async with stage.running(in_flight_bytes=limit, batch_bytes=16 << 10) as ctx:
        stage.write(30_000)
        await passes(30)
        assert limit <= metric(ctx, "in_flight_bytes") < 2 * limit
        assert condition(ctx, "delivery").state is State.DEGRADED
        requests = stage.backend.requests
        await passes(60)
        assert stage.backend.requests - requests < 60, "one at a time, with pauses"
        stage.backend.down = False
        await passes(20)
        assert condition(ctx, "delivery").state is State.OK
        stage.assert_all_arrived()


async def test_a_rotated_and_deleted_file_is_kept_open_through_an_outage(stage: Stage) -> None:
    async with stage.running(in_flight_bytes=64 << 10, batch_bytes=16 << 10) as ctx:
        stage.write(100)
        await passes(1)
        stage.backend.down = True
        stage.write(20_000)
        await passes(10)
        stage.log.unlink()
        stage.write(10)
        await passes(60)
        assert metric(ctx, "pinned_deleted_files") == 1
        stage.backend.down = False
        await passes(20)
        stage.assert_all_arrived()


async def test_a_stop_before_anything_happened_is_a_clean_one(stage: Stage) -> None:
    stage.write(100)
    async with stage.running():
        pass
    stage.assert_all_arrived()
    assert stage.said("stop.drained")
